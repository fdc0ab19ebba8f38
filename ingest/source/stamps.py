"""What tells one state of a file from another without reading it: size, time of change, ETag."""

from __future__ import annotations

import functools
import os
import stat as modes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ingest.failures import DecodeFailure
from ingest.source import remote
from ingest.source.attempts import on_disk, tried, unreadable
from ingest.source.locations import Access, confine, is_below, is_remote, is_utf8, real_root, resolve

STAMPING_THREADS: Final = 16
"""A store answers in tens of milliseconds, and many questions at a time."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One state of a file."""

    size_bytes: int | None
    """None where a server does not say."""
    modified_ns: int | None
    """Time of the last change, ns since the epoch; None where a filesystem does not say."""
    etag: str | None = None
    """What an object store or a web server calls these bytes; None for local files."""


def stamp(uri: str, access: Access) -> Stamp | DecodeFailure:
    """The stamp of one file, see `stamps`."""
    return stamps([uri], access)[0]


def stamps(uris: Sequence[str], access: Access) -> list[Stamp | DecodeFailure]:
    """The stamp of each file, or why it cannot be had; no byte is read.

    Failures are of the stage `list`: `forbidden` outside the source's root or in a scheme that is not
    allowed, `unreadable` for what is missing, no regular file, not permitted or, after three attempts, not
    answering.
    """
    look = _looker(access)
    found: list[Stamp | DecodeFailure | None] = [None if is_remote(uri) else look(uri) for uri in uris]
    far = [uri for uri, known in zip(uris, found, strict=True) if known is None]
    with ThreadPoolExecutor(STAMPING_THREADS) as threads:
        answers = threads.map(lambda uri: tried(lambda: stamp_of_url(confine(uri, access), access)), far)
        return [next(answers) if known is None else known for known in found]


def stamp_of_status(status: os.stat_result) -> Stamp:
    """The stamp of a local file."""
    return Stamp(status.st_size, status.st_mtime_ns)


def stamp_of_url(url: str, access: Access) -> Stamp:
    """The stamp of a remote file.

    Raises:
        MediaRefused: it is not there, may not be read, does not answer, or is a folder.
    """
    with remote.errors_of(url):
        info = remote.file_system(url, access).info(url)
    if info.get("type") == "directory":
        raise unreadable("it is a folder of a store, not a file")
    return Stamp(remote.size_of(info), remote.modified_ns_of(info), remote.etag_of(info))


def regular(status: os.stat_result) -> os.stat_result:
    """The status, if it is that of a regular file."""
    if not modes.S_ISREG(status.st_mode):
        raise unreadable("it is not a regular file or may not be read")
    return status


def _looker(access: Access) -> Callable[[str], Stamp | DecodeFailure]:
    """Stamps of local files; the links of a directory are followed once for all its files."""
    root = real_root(access.root)
    real_folder = functools.cache(_real_or_none)

    def look(uri: str) -> Stamp:
        folder, name = os.path.split(uri)
        plain = uri.startswith("/") and name not in ("", ".", "..") and "\0" not in uri and is_utf8(uri)
        real = real_folder(folder) if plain else None
        if real is None or root is None or not is_below(real, root):
            return stamp_of_status(regular(os.lstat(confine(uri, access))))
        status = os.lstat(os.path.join(real, name))
        if modes.S_ISLNK(status.st_mode):
            status = os.lstat(confine(uri, access))
        return stamp_of_status(regular(status))

    return lambda uri: tried(lambda: on_disk(look, uri))


def _real_or_none(folder: str) -> str | None:
    try:
        return resolve(folder)
    except OSError:
        return None
