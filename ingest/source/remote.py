"""What is asked of a remote filesystem, and its errors as ours. Any that fsspec knows: s3, gs, http, memory.

fsspec's filesystems share no class of errors, and each names the facts of a file in its own way.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urljoin

import fsspec

from features.errors import BadInput
from ingest.failures import MediaRefused
from ingest.source.attempts import Passing, unreadable
from ingest.source.locations import HTTP, Access, confine, scheme_of, shown

CHANGED: Final = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "modified", "created")
"""Names of the time of the last change, the surest first; objects that cannot be changed in place have a time
of creation only."""
ETAGS: Final = ("ETag", "etag", "Content-MD5", "md5Hash")
MAX_SAID: Final = 200
"""Characters of a foreign error that are passed on."""


def file_system(url: str, access: Access | None = None) -> Any:
    """The fsspec filesystem of a URL's scheme, without a memory of earlier listings.

    Args:
        url: what is to be read.
        access: what a web server may redirect to; None for anything.

    Raises:
        BadInput: there is none, or the package it needs is not installed.
    """
    scheme = scheme_of(url)
    try:
        guard = {"client_kwargs": _guarded(access)} if access and scheme in HTTP else {}
        return fsspec.filesystem(scheme, use_listings_cache=False, **guard)
    except ImportError as error:
        raise BadInput(f"{scheme}:// needs a package that is not installed: {_said(error)}") from error
    except ValueError as error:
        raise BadInput(f"{scheme}:// is no scheme that can be read: {_said(error)}") from error


@contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Whatever a filesystem raises about a URL, as a refusal that names no credentials.

    Raises:
        Passing: it may answer in a moment.
        MediaRefused: it will not.
    """
    try:
        yield
    except MediaRefused:
        raise
    except BadInput as refusal:
        raise unreadable(str(refusal)) from refusal
    except Exception as error:  # the edge to foreign code: an S3 client, aiohttp and Google share no base
        raise _judged(_cause(error), shown(url)) from error


def size_of(info: Mapping[str, Any]) -> int | None:
    """Bytes of a file; None where the server does not say."""
    size = info.get("size")
    return None if size is None else int(size)


def modified_ns_of(info: Mapping[str, Any]) -> int | None:
    """Time of the last change, ns since the epoch; None where the filesystem does not say."""
    for name in CHANGED:
        if (value := info.get(name)) is not None:
            return _ns(value)
    return None


def etag_of(info: Mapping[str, Any]) -> str | None:
    """What the filesystem calls these bytes, without quotes; None where it has no name for them."""
    return next((str(info[name]).strip('"') for name in ETAGS if info.get(name)), None)


@functools.cache
def _guarded(access: Access) -> dict[str, Any]:
    """Settings of a web client that goes nowhere that the source may not read, whoever sends it there."""
    import aiohttp

    async def follow(session: Any, context: Any, redirect: Any) -> None:
        to = redirect.response.headers.get("Location") or redirect.response.headers.get("URI", "")
        confine(urljoin(str(redirect.url), to), access)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(follow)
    return {"trace_configs": [tracing]}


def _ns(value: Any) -> int | None:
    if isinstance(value, str):
        value = _moment(value)
    if isinstance(value, datetime):
        known = value if value.tzinfo else value.replace(tzinfo=UTC)
        since = known - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    return round(value * 1e9) if isinstance(value, int | float) else None


def _moment(text: str) -> datetime | None:
    """A time as JSON (ISO 8601) or HTTP (RFC 5322) writes it."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _cause(error: Exception) -> BaseException:
    """fsspec's HTTP says "not found" of whatever failed; what it met is the cause."""
    cause = error.__cause__
    told = isinstance(cause, OSError | MediaRefused) or hasattr(cause, "status")
    return cause if cause and told and isinstance(error, FileNotFoundError) else error


def _judged(error: BaseException, name: str) -> MediaRefused:
    if isinstance(error, MediaRefused):
        return error
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return unreadable(f"{name} is not there")
    if isinstance(error, PermissionError) or status in (401, 403):
        return unreadable(f"{name} may not be read; check the credentials and their rights")
    if "Credentials" in type(error).__name__:
        return unreadable(f"{name} may not be read: {_said(error)}; set the credentials of its store")
    if isinstance(error, OSError) and error.errno == errno.EBUSY:
        return unreadable(f"{name} changed while it was read; it is tried again next time")
    if isinstance(error, TypeError | ValueError | NotImplementedError | IsADirectoryError):
        return unreadable(f"{name} cannot be read: {_said(error)}")
    return Passing(f"{name} could not be read: {_said(error)}")


def _said(error: BaseException) -> str:
    lines = shown(str(error)).splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:MAX_SAID] if lines else type(error).__name__
