"""One video in a worker: decode in the child, judge, picture, raw descriptors. Knows nothing of Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from features.contracts import Floats
from features.errors import BadInput
from ingest.decode import Clip, DecodeSettings
from ingest.decoder_child import ChildLimits
from ingest.encoders.protocol import Encoder
from ingest.failures import DecodeFailure
from ingest.isolation import DecoderChild
from ingest.listing import path_of
from ingest.probe import Limits
from ingest.quality import quality_columns
from ingest.thumbnails import encode_thumbnail


@dataclass(frozen=True, slots=True)
class Task:
    """Bytes to be described once, whatever names they go by."""

    content_hash: str
    uri: str


@dataclass(frozen=True, slots=True)
class Described:
    """What a worker makes of a video."""

    content_hash: str
    descriptors: dict[str, Floats]
    """Raw, float32, (D,), by modality; a missing modality is left out."""
    duration_s: float
    rung: str
    quality: dict[str, float | int | None]
    """The QUALITY columns."""
    thumbnail: bytes
    """WebP."""


@dataclass(frozen=True, slots=True)
class NotDescribed:
    """Why a worker made nothing of a video."""

    content_hash: str
    failure: DecodeFailure
    elapsed_ms: float


Outcome = Described | NotDescribed


class Describer:
    """Holds one decoder child and one encoder; a context manager."""

    def __init__(
        self, encoder: Encoder, settings: DecodeSettings, limits: ChildLimits, media: Limits | None = None
    ) -> None:
        self._encoder, self._settings = encoder, settings
        self._child = DecoderChild(limits, media)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._child.close()

    def describe(self, task: Task) -> Outcome:
        """Descriptors, quality and thumbnail, or why there are none."""
        started = time.monotonic()
        outcome = self._describe(task)
        if isinstance(outcome, Described):
            return outcome
        return NotDescribed(task.content_hash, outcome, (time.monotonic() - started) * 1e3)

    def _describe(self, task: Task) -> Described | DecodeFailure:
        clip = self._child.decode(path_of(task.uri), self._settings)
        if isinstance(clip, DecodeFailure):
            return clip
        try:
            descriptors = self._encoder.describe(clip)
        except BadInput as refusal:
            return DecodeFailure("embed", "corrupt", str(refusal))
        return _described(task, clip, descriptors)


def _described(task: Task, clip: Clip, descriptors: dict[str, Floats]) -> Described:
    return Described(
        content_hash=task.content_hash,
        descriptors=descriptors,
        duration_s=clip.duration_s,
        rung=clip.rung,
        quality=quality_columns(clip),
        thumbnail=encode_thumbnail(clip.poster),
    )
