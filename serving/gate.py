"""What every request passes first: an id, a bound on its body, a clock, and security headers."""

from __future__ import annotations

import secrets
import time
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import REQUEST_SECONDS, REQUESTS, Metrics
from serving.problems import problem

STRICT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of everything, unless a response brings its own."""

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Gate:
    """ASGI middleware; the outermost part of the app."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self._app, self._metrics, self._most = app, metrics, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = request_id = secrets.token_hex(8)
        began, status = time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_ours(message["headers"], request_id)}
            await send(message)

        try:
            await self._serve(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count(REQUESTS, route, str(status))
            self._metrics.observe(REQUEST_SECONDS, time.perf_counter() - began, route)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most:
            answer = problem(
                413, "body-too-large", "The body is too large", self._too_large(), scope["request_id"]
            )
            await answer(scope, receive, send)
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise HTTPException(413, self._too_large())
            return message

        await self._app(scope, receive_bounded, send)

    def _too_large(self) -> str:
        return f"the body has more than {self._most} bytes; send fewer items at once"


def _with_ours(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    ours = [*HEADERS, (b"x-request-id", request_id.encode())]
    if not any(name.lower() == b"content-security-policy" for name, _ in headers):
        ours.append((b"content-security-policy", STRICT_POLICY.encode()))
    return [*headers, *ours]
