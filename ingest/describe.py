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
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from features.contracts import MEDIA, Floats
from features.errors import BadInput
from ingest.decoder_child import ChildLimits, deadline_s
from ingest.encoders.protocol import Encoder
from ingest.failures import DecodeFailure
from ingest.isolation import DecoderChild
from ingest.likeness.fingerprint import Fingerprint, fingerprint
from ingest.media.decode import Clip, DecodeSettings
from ingest.media.probe import Limits
from ingest.quality import quality_columns
from ingest.read_clip import ClipReader, on_host
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
class _Read:
    """A decoded file on its way to the encoder."""

    number: int
    content_hash: str
    clip: Clip
    decode_ms: float
    child_cpu_ms: float


@dataclass(frozen=True, slots=True)
class Children:
    """What became of a worker's decoder children so far."""

    started: int = 0
    recycled: int = 0
    timeouts: int = 0
    crashes: int = 0

    def __add__(self, other: Children) -> Children:
        return Children(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


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
        engine: str | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            encoder: describes the clips.
            settings: what to take of a file.
            access: which files may be read.
            limits: of the decoder child.
            media: of a file.
            extras: also quality columns, fingerprints, thumbnails and previews.
            engine: torch device whose video engine gives frames; None for the child alone.
        """
        self._encoder, self._access = encoder, access
        self._child = DecoderChild(limits, media)
        self._reader = ClipReader(self._child, settings, engine)
        longest_s = (media or Limits()).max_seconds
        self._engine_s = 2 * deadline_s(limits or ChildLimits(), longest_s) if engine else None
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

    def describe(self, numbers: Sequence[int], *, isolated: bool = False) -> list[Outcome]:
        """Descriptors and all that is told of each opened file, or why there is nothing.

        Args:
            numbers: of opened files, which are let go of.
            isolated: nothing is decoded in this process, also where it has a video engine.
        """
        read = [self._read(number, isolated=isolated) for number in numbers]
        embedded = iter(self._embed([one for one in read if isinstance(one, _Read)]))
        outcomes = [next(embedded) if isinstance(one, _Read) else one for one in read]
        return [self._let_go(outcome) for outcome in outcomes]

    def _read(self, number: int, *, isolated: bool) -> _Read | NotDescribed:
        began, fetched = time.monotonic(), self._files[number]
        with _ends_when_hung(None if isolated else self._engine_s):
            clip = self._reader.read(fetched.path, isolated=isolated)
        elapsed_ms = (time.monotonic() - began) * 1e3
        if isinstance(clip, DecodeFailure):
            return NotDescribed(number, fetched.content_hash, clip, elapsed_ms)
        return _Read(number, fetched.content_hash, clip, elapsed_ms, self._reader.child_cpu_s * 1e3)

    def _embed(self, read: Sequence[_Read]) -> list[Outcome]:
        if not read:
            return []
        began, cpu = time.monotonic(), time.thread_time()
        try:
            with _ends_when_hung(sum(EMBED_S + EMBED_S_PER_S * one.clip.duration_s for one in read)):
                found = self._encoder.describe_many([one.clip for one in read])
                embed_ms = (time.monotonic() - began) * 1e3
                extras = [_extras(one.clip) if self._extras else None for one in read]
        except BadInput as refusal:
            if len(read) > 1:  # one clip is to blame: each by itself
                return [outcome for one in read for outcome in self._embed([one])]
            failure = DecodeFailure("embed", "corrupt", str(refusal), rung=read[0].clip.rung)
            return [NotDescribed(read[0].number, read[0].content_hash, failure, read[0].decode_ms)]
        whole_ms, cpu_ms = (time.monotonic() - began) * 1e3, (time.thread_time() - cpu) * 1e3
        shares = (embed_ms / len(read), (whole_ms - embed_ms) / len(read), cpu_ms / len(read))
        return [_described(*parts, shares) for parts in zip(read, found, extras, strict=True)]

    def _let_go(self, outcome: Outcome) -> Outcome:
        """The outcome, unless the file is no longer what it was when it was opened."""
        same = still_the_same(self._files[outcome.number])
        self.drop(outcome.number)
        if same:
            return outcome
        failure = DecodeFailure("list", "unreadable", "it changed while it was read; run again")
        return NotDescribed(outcome.number, None, failure, 0.0)


def _extras(clip: Clip) -> Extras:
    clip = on_host(clip)
    thumbnail, preview = encode_thumbnail(clip.poster), encode_preview(clip)
    return Extras(quality_columns(clip), fingerprint(clip), thumbnail, preview)


def _described(
    read: _Read, descriptors: dict[str, Floats], extras: Extras | None, shares: tuple[float, float, float]
) -> Described:
    embed_ms, extras_ms, cpu_ms = shares
    return Described(
        number=read.number,
        content_hash=read.content_hash,
        descriptors=descriptors,
        duration_s=read.clip.duration_s,
        rung=read.clip.rung,
        media=_media_columns(read.clip),
        extras=extras,
        costs=Costs(read.decode_ms, embed_ms, extras_ms, cpu_ms, read.child_cpu_ms),
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
def _ends_when_hung(allowed_s: float | None) -> Iterator[None]:
    """Ends this process where the block takes longer: no exception can reach a thread inside a kernel."""
    if allowed_s is None:
        yield
        return
    timer = threading.Timer(allowed_s, os._exit, (HUNG,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
