"""Every failure as problem+json: what is wrong, which field, what to do next, and which request it was.

Source: RFC 9457. `type` is a stable name, `errors` an extension with one entry a field.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from features.errors import BadInput, Erased, NotFound, RecError, StoreUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

RETRY_AFTER_S: Final = 1


class Overloaded(RecError):
    """More requests wait than the server may hold: HTTP 503 with Retry-After."""

    retryable = True


class FieldError(BadInput):
    """One field of a request is well-formed but cannot be used: HTTP 422 that names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def problem(
    status: int,
    name: str,
    title: str,
    detail: str,
    request_id: str,
    errors: Sequence[dict[str, str]] = (),
) -> JSONResponse:
    """One problem as a response.

    Args:
        status: HTTP status.
        name: stable name of the kind of problem, with hyphens.
        title: the kind in words, the same for each occurrence.
        detail: this occurrence in one sentence.
        request_id: of the request, for the logs.
        errors: `field` and `message` of each wrong field.
    """
    detail = _writable(detail)
    body: dict[str, Any] = {
        "type": f"urn:reelrank:problem:{name}", "title": title, "status": status, "detail": detail,
        "request_id": request_id,
    }  # fmt: skip
    if errors:
        body["errors"] = [{name: _writable(text) for name, text in error.items()} for error in errors]
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def _writable(text: str) -> str:
    """The text, fit for UTF-8: what a caller sent may hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def install_problems(app: FastAPI) -> None:
    """Makes every error of the app a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RecError, _ours)
    app.add_exception_handler(Exception, _unexpected)


def request_id_of(request: Request) -> str:
    """The id that the gate gave to this request."""
    return str(request.scope.get("request_id", ""))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"field": _field(e["loc"]) or "body", "message": str(e["msg"])} for e in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:5])
    return problem(
        422, "invalid-request", "The request does not fit the schema", detail, request_id_of(request), errors
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        detail = f"there is nothing at {request.method} {request.url.path}; /docs lists what there is"
        return problem(404, "no-such-page", "Not found", detail, request_id_of(request))
    answer = problem(error.status_code, "http", str(error.detail), str(error.detail), request_id_of(request))
    answer.headers.update(error.headers or {})
    return answer


async def _ours(request: Request, error: Exception) -> JSONResponse:
    request_id, detail = request_id_of(request), str(error)
    match error:
        case FieldError():
            errors = [{"field": error.field, "message": detail}]
            return problem(
                422,
                "unusable-field",
                "A field cannot be used",
                f"{error.field}: {detail}",
                request_id,
                errors,
            )
        case Erased():
            return problem(410, "erased", "The user was deleted", detail, request_id)
        case NotFound():
            return problem(404, "not-found", "Not found", detail, request_id)
        case BadInput():
            return problem(400, "bad-input", "The request cannot be served", detail, request_id)
        case Overloaded():
            return problem(503, "overloaded", "Too many requests at once", detail, request_id)
        case StoreUnavailable():
            return problem(503, "store-unavailable", "The store does not answer", detail, request_id)
    log.error("request failed request_id=%s error=%s", request_id, detail, exc_info=error)
    return problem(500, "internal", "Internal error", detail, request_id)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    detail = "the request met a fault in the server; its log has the trace under this request_id"
    return problem(500, "internal", "Internal error", detail, request_id_of(request))


def _field(place: Sequence[int | str]) -> str:
    """`("body", "events", 2, "ts")` as `events[2].ts`; the name alone for a path or query parameter."""
    parts = [p for i, p in enumerate(place) if not (i == 0 and p in ("body", "query", "path", "header"))]
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).removeprefix(".")
