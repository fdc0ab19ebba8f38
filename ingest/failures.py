"""Why a file gave nothing: the classes of failure, and which of them are worth another try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.errors import BadInput

RETRYABLE: Final = frozenset({"unreadable", "timeout", "crash"})
"""Reasons that may pass although the bytes are the same: disk or net, the machine's load, a worker's end."""

REASONS: Final = (
    "empty",
    "unreadable",
    "corrupt",
    "limit",
    "timeout",
    "crash",
    "forbidden",
    "lethal",
)
"""`forbidden`: outside the source's root, or a scheme that is not allowed; `lethal`: it ended the workers, or
whole runs, that read it, and is not tried again."""


class MediaRefused(BadInput):
    """This file cannot be embedded; becomes a quarantine row."""

    def __init__(self, stage: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.reason = stage, reason

    def __reduce__(self) -> tuple[type[MediaRefused], tuple[str, str, str]]:
        return type(self), (self.stage, self.reason, str(self))


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """Why a file gave no clip."""

    stage: str
    """list, probe, decode or embed."""
    reason: str
    """One of REASONS."""
    message: str
    """One sentence."""
    attempts: int = 1
    rung: str | None = None
    """Last decoder that was asked."""

    @property
    def retryable(self) -> bool:
        """The same bytes may pass next time."""
        return self.reason in RETRYABLE
