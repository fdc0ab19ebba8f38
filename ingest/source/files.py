"""The bytes of a listed file, hashed as they are read.

A local file is read where it lies; a remote one is copied into a scratch directory. A file that changes while
it is read is nobody's content: it fails, and may be whole next time.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ingest.failures import DecodeFailure, MediaRefused
from ingest.source import remote
from ingest.source.attempts import on_disk, tried, unreadable
from ingest.source.locations import HTTP, Access, confine, is_remote, scheme_of
from ingest.source.stamps import Stamp, regular, stamp_of_status, stamp_of_url

CHUNK: Final = 1 << 20
REMOTE_CHUNK: Final = 8 << 20
"""Bytes a request: where a store answers in 30 ms, enough to keep a fast line busy."""

Add = Callable[[memoryview | bytes], int]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of a file at a place where a decoder can read them."""

    path: Path
    """Real path, without links."""
    content_hash: str
    """BLAKE2b-128 of the bytes, hex."""
    stamp: Stamp
    """As it was before and after the bytes were read."""
    is_copy: bool
    """True for a copy in the scratch directory, which is the caller's to remove."""


def fetch(uri: str, access: Access, scratch: Path) -> Fetched | DecodeFailure:
    """The file's bytes, hashed: a local file where it lies, a remote one as a copy in `scratch`.

    Args:
        uri: as listed.
        access: what may be read, and how much of it.
        scratch: an existing directory for copies; nothing is left in it on failure.

    Failures are those of `stamps`, `limit` for more than `access.max_bytes`, and `unreadable` for a file that
    grows, shrinks or vanishes while it is read.
    """

    def read() -> Fetched:
        place = confine(uri, access)
        if is_remote(place):
            return _copied(place, access, scratch)
        return on_disk(lambda path: _hashed(path, access), place)

    return tried(read)


def still_the_same(fetched: Fetched) -> bool:
    """True where the bytes at `fetched.path` are, as far as its stamp tells, those that were hashed."""
    try:
        status = os.lstat(fetched.path)
        return fetched.is_copy or stamp_of_status(regular(status)) == fetched.stamp
    except (OSError, MediaRefused):
        return False


def _hashed(path: str, access: Access) -> Fetched:
    """The file where it lies."""
    before = regular(os.lstat(path))
    _check_size(before.st_size, access)
    digest = hashlib.blake2b(digest_size=16)
    grown = _changed(before.st_size, before.st_size + 1)
    with _opened(path, before) as handle:
        size = sum(map(_adder(digest, before.st_size, grown), _chunks(handle)))
    try:
        after = os.lstat(path)
    except FileNotFoundError:
        raise unreadable("it vanished while it was read; it is looked for again next time") from None
    if _identity(after) != _identity(before) or size != before.st_size:
        raise _changed(before.st_size, after.st_size)
    return Fetched(Path(path), digest.hexdigest(), stamp_of_status(before), is_copy=False)


@contextmanager
def _opened(path: str, expected: os.stat_result) -> Iterator[int]:
    """A handle of the very file that was looked at, not of a link or a pipe that took its name meanwhile."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if (found.st_dev, found.st_ino) != (expected.st_dev, expected.st_ino):
            raise _changed(expected.st_size, found.st_size)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield handle
    finally:
        os.close(handle)


def _chunks(handle: int) -> Iterator[memoryview]:
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while size := os.readv(handle, [buffer]):
        yield view[:size]


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _copied(url: str, access: Access, scratch: Path) -> Fetched:
    """A copy of a remote file in the scratch directory."""
    before = stamp_of_url(url, access)
    _check_size(before.size_bytes, access)
    with _new_file(scratch, url) as (handle, path):
        content_hash, size = _pour(url, handle, access)
        after = stamp_of_url(url, access)
        if after != before or before.size_bytes not in (None, size):
            raise _changed(before.size_bytes, size if after == before else after.size_bytes)
        return Fetched(path, content_hash, before, is_copy=True)


@contextmanager
def _new_file(scratch: Path, url: str) -> Iterator[tuple[int, Path]]:
    """A new file that is gone again where the block fails; some demuxers go by the ending of its name."""
    ending = re.search(r"\.[A-Za-z0-9]{1,8}$", re.split(r"[?#]", url)[0])
    try:
        handle, name = tempfile.mkstemp(dir=scratch, suffix=ending[0] if ending else "")
    except OSError as error:
        raise _no_room(error) from error
    try:
        yield handle, Path(os.path.realpath(name))
    except BaseException:
        os.unlink(name)
        raise
    finally:
        os.close(handle)


def _pour(url: str, handle: int, access: Access) -> tuple[str, int]:
    """Content hash and size of what was copied from the URL to the handle."""
    digest = hashlib.blake2b(digest_size=16)
    add = _adder(digest, access.max_bytes, _too_large(access.max_bytes + 1, access))
    size = 0
    with remote.errors_of(url), _stream(url, access) as stream:
        while chunk := stream.read(REMOTE_CHUNK):
            size += add(chunk)
            _write(handle, chunk)
    return digest.hexdigest(), size


def _stream(url: str, access: Access) -> Any:
    """A web server sends a file in one answer; a store gives it range by range, each asked for once."""
    how = {"block_size": 0} if scheme_of(url) in HTTP else {"block_size": REMOTE_CHUNK, "cache_type": "none"}
    return remote.file_system(url, access).open(url, "rb", **how)


def _write(handle: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[os.write(handle, view) :]
    except OSError as error:
        raise _no_room(error) from error


def _adder(digest: Any, at_most: int, refusal: MediaRefused) -> Add:
    """Adds a chunk to the digest and gives its size; raises the refusal at the chunk that goes too far."""
    total = 0

    def add(chunk: memoryview | bytes) -> int:
        nonlocal total
        total += len(chunk)
        if total > at_most:
            raise refusal
        digest.update(chunk)
        return len(chunk)

    return add


def _check_size(size: int | None, access: Access) -> None:
    if size is not None and size > access.max_bytes:
        raise _too_large(size, access)


def _too_large(size: int, access: Access) -> MediaRefused:
    return MediaRefused("list", "limit", f"it has {size} bytes or more; {access.max_bytes} are allowed")


def _changed(before: int | None, after: int | None) -> MediaRefused:
    sizes = f"{before} bytes, then {after}"
    return unreadable(f"it changed while it was read ({sizes}); it is tried again next time")


def _no_room(error: OSError) -> MediaRefused:
    return unreadable(f"no copy can be made: {error.strerror}; make room in the scratch directory")
