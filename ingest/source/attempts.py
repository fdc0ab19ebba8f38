"""What cannot be read now, and a few attempts where it may pass: a disk or a network that gave no answer."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ingest.failures import DecodeFailure, MediaRefused

T = TypeVar("T")

ATTEMPTS: Final = 3
BACKOFF_S: Final = 0.2
"""Wait before the second attempt, s; four times as long before the third."""

SETTLED: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
    | {errno.ENXIO, errno.EINVAL}
)
"""Errors of a local path that no second look changes; others, as of a network mount, may pass."""


class Passing(MediaRefused):
    """A refusal that may be gone in a moment."""

    def __init__(self, message: str) -> None:
        super().__init__("list", "unreadable", message)


def tried(ask: Callable[[], T]) -> T | DecodeFailure:
    """The answer, or the last refusal: three attempts where it is `Passing`, else one."""
    attempt = 1
    while True:
        try:
            return ask()
        except MediaRefused as refusal:
            if attempt == ATTEMPTS or not isinstance(refusal, Passing):
                return DecodeFailure(refusal.stage, refusal.reason, str(refusal), attempts=attempt)
        time.sleep(BACKOFF_S * 4 ** (attempt - 1))
        attempt += 1


def on_disk(look: Callable[[str], T], path: str) -> T:
    """What is found at a local path; the system's errors as refusals."""
    try:
        return look(path)
    except OSError as error:
        message = f"it cannot be read: {error.strerror or error}"
        raise (unreadable(message) if error.errno in SETTLED else Passing(message)) from error


def unreadable(message: str) -> MediaRefused:
    """A refusal that only another run may find changed."""
    return MediaRefused("list", "unreadable", message)
