"""One video in a worker: fetch, decode in the child, judge, picture, raw descriptors. Knows nothing of Ray.

A video is opened first, which tells what its bytes are, and described only where somebody still has to: the
driver knows which contents are settled. What was opened lies in the worker until it is described or dropped.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from features.contracts import MEDIA, Floats
from features.errors import BadInput
from ingest.decode import Clip, DecodeSettings
from ingest.decoder_child import ChildLimits
from ingest.encoders.protocol import Encoder
from ingest.failures import DecodeFailure
from ingest.fingerprint import Fingerprint, fingerprint
from ingest.isolation import DecoderChild
from ingest.probe import Limits
from ingest.quality import quality_columns
from ingest.source.files import Fetched, fetch, still_the_same
from ingest.source.locations import Access
from ingest.source.stamps import Stamp
from ingest.thumbnails import encode_preview, encode_thumbnail

log = logging.getLogger(__name__)

EMBED_S: Final = 120.0
"""Longest that encoders may take over one video, s, and `EMBED_S_PER_S` more for every second of media."""
EMBED_S_PER_S: Final = 1.0
HUNG: Final = 70
"""Exit code of a worker whose encoder hung."""


@dataclass(frozen=True, slots=True)
class Task:
    """A listed video whose bytes may have to be described."""

    number: int
    """Its row in the listing."""
    uri: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What a listed file turned out to hold."""

    number: int
    content_hash: str
    stamp: Stamp
    fetch_ms: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What one content took, ms; the parts of the wall, then processor time."""

    decode_ms: float
    embed_ms: float
    extras_ms: float
    worker_cpu_ms: float
    child_cpu_ms: float


@dataclass(frozen=True, slots=True)
class Extras:
    """What is told of a clip beside its descriptors."""

    quality: dict[str, Any]
    """The QUALITY columns."""
    prints: Fingerprint
    thumbnail: bytes
    """WebP."""
    preview: bytes | None
    """Animated WebP; None where nothing moves."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a worker makes of a content."""

    number: int
    content_hash: str
    descriptors: dict[str, Floats]
    """Raw, float32, (D,), by modality; a missing modality is left out."""
    duration_s: float
    rung: str
    media: dict[str, Any]
    """The MEDIA columns."""
    extras: Extras | None
    """None where they were not asked for."""
    costs: Costs


@dataclass(frozen=True, slots=True)
class NotDescribed:
    """Why a worker made nothing of a video."""

    number: int
    content_hash: str | None
    """None where the file failed and not its content: another file of these bytes may pass."""
    failure: DecodeFailure
    elapsed_ms: float


Outcome = Described | NotDescribed
Event = Opened | Outcome


@dataclass(frozen=True, slots=True)
class Children:
    """What became of a worker's decoder children so far."""

    started: int = 0
    recycled: int = 0
    timeouts: int = 0
    crashes: int = 0


class Describer:
    """Holds one decoder child, one encoder and the files at hand; a context manager."""

    def __init__(
        self,
        encoder: Encoder,
        settings: DecodeSettings,
        access: Access,
        limits: ChildLimits | None = None,
        media: Limits | None = None,
        *,
        extras: bool = True,
    ) -> None:
        """Starts nothing yet.

        Args:
            encoder: describes the clips.
            settings: what to take of a file.
            access: which files may be read.
            limits: of the decoder child.
            media: of a file.
            extras: also quality columns, fingerprints, thumbnails and previews.
        """
        self._encoder, self._settings, self._access = encoder, settings, access
        self._child = DecoderChild(limits, media)
        self._extras = extras
        self._scratch = Path(tempfile.mkdtemp(prefix="reelrank-"))
        self._files: dict[int, Fetched] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._child.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def children(self) -> Children:
        child = self._child
        return Children(child.started, child.recycled, child.timeouts, child.crashes)

    def open(self, task: Task) -> Opened | NotDescribed:
        """What the file's bytes are; they stay at hand until `describe` or `drop`."""
        started = time.monotonic()
        fetched = fetch(task.uri, self._access, self._scratch)
        elapsed_ms = (time.monotonic() - started) * 1e3
        if isinstance(fetched, DecodeFailure):
            return NotDescribed(task.number, None, fetched, elapsed_ms)
        self._files[task.number] = fetched
        return Opened(task.number, fetched.content_hash, fetched.stamp, elapsed_ms)

    def drop(self, number: int) -> None:
        """Lets go of an opened file."""
        fetched = self._files.pop(number, None)
        if fetched and fetched.is_copy:
            fetched.path.unlink(missing_ok=True)

    def describe(self, numbers: Sequence[int]) -> list[Outcome]:
        """Descriptors and all that is told of each opened file, or why there is nothing."""
        return [self._describe_one(number) for number in numbers]

    def _describe_one(self, number: int) -> Outcome:
        started = time.monotonic()
        fetched = self._files[number]
        try:
            outcome = self._describe(number, fetched)
        finally:
            changed = not still_the_same(fetched)
            self.drop(number)
        if changed:
            outcome = DecodeFailure("list", "unreadable", "it changed while it was read; run again")
        if isinstance(outcome, Described):
            return outcome
        content = None if changed else fetched.content_hash
        return NotDescribed(number, content, outcome, (time.monotonic() - started) * 1e3)

    def _describe(self, number: int, fetched: Fetched) -> Described | DecodeFailure:
        began, cpu = time.monotonic(), time.thread_time()
        clip = self._child.decode(fetched.path, self._settings)
        if isinstance(clip, DecodeFailure):
            return clip
        decoded = time.monotonic()
        try:
            with _ends_when_hung(EMBED_S + EMBED_S_PER_S * clip.duration_s):
                descriptors = self._encoder.describe(clip)
                embedded = time.monotonic()
                extras = _extras(clip) if self._extras else None
        except BadInput as refusal:
            return DecodeFailure("embed", "corrupt", str(refusal), rung=clip.rung)
        costs = Costs(
            decode_ms=(decoded - began) * 1e3,
            embed_ms=(embedded - decoded) * 1e3,
            extras_ms=(time.monotonic() - embedded) * 1e3,
            worker_cpu_ms=(time.thread_time() - cpu) * 1e3,
            child_cpu_ms=self._child.last_cpu_s * 1e3,
        )
        return _described(number, fetched.content_hash, clip, descriptors, extras, costs)


def _extras(clip: Clip) -> Extras:
    thumbnail, preview = encode_thumbnail(clip.poster), encode_preview(clip)
    return Extras(quality_columns(clip), fingerprint(clip), thumbnail, preview)


def _described(
    number: int,
    content_hash: str,
    clip: Clip,
    descriptors: dict[str, Floats],
    extras: Extras | None,
    costs: Costs,
) -> Described:
    return Described(
        number=number,
        content_hash=content_hash,
        descriptors=descriptors,
        duration_s=clip.duration_s,
        rung=clip.rung,
        media=_media_columns(clip),
        extras=extras,
        costs=costs,
    )


def _media_columns(clip: Clip) -> dict[str, Any]:
    """The MEDIA columns; null where there is no picture, or the header does not say."""
    found = asdict(clip.found)
    found |= {"sampling": clip.sampling if clip.found.has_video else None}
    found |= {"frame_times_s": clip.timestamps_s.tolist() if len(clip.timestamps_s) else None}
    if not clip.found.has_video:
        found |= dict.fromkeys(("width", "height", "rotation", "sample_aspect", "trimmed"))
    return {column.name: found[column.name] for column in MEDIA} | {"frame_rate": found["frame_rate"] or None}


@contextmanager
def _ends_when_hung(allowed_s: float) -> Iterator[None]:
    """Ends this process where the block takes longer: no exception can reach a thread inside a kernel."""
    timer = threading.Timer(allowed_s, os._exit, (HUNG,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
