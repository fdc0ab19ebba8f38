"""What a file claims to be, and whether it stays within our limits: before a frame is decoded.

Runs in the decoder child. Playlists and other containers that open further files or URLs are not read at all.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import av

from ingest.failures import MediaRefused
from ingest.media.matroska_header import read_roll
from ingest.media.movie_header import read_movie_header

FOLLOWS_LINKS: Final = frozenset(
    {"hls", "applehttp", "concat", "concatf", "dash", "imf", "image2", "lavfi", "rtsp", "rtp", "sdp", "sap"}
    | {"tty"}
)
"""Demuxers that open what the file names, or take any text for a picture."""

PATTERN_SIGNS: Final = frozenset("%*?{[")
"""In a file's name these make FFmpeg's image reader look for other files."""

ATTACHED_PICTURE: Final = 1024
"""AV_DISPOSITION_ATTACHED_PIC: cover art is no video."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask of us at most."""

    max_bytes: int = 16 << 30
    max_seconds: float = 6 * 3600.0
    max_pixels: int = 8192 * 4352
    max_streams: int = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """What the container claims; frames may tell otherwise."""

    container: str
    """Name of the demuxer."""
    duration_s: float
    """Seconds; 0 where the container does not say."""
    has_video: bool
    """A moving or still picture that is not cover art."""
    has_audio: bool
    codec: str
    """Of the picture, else of the sound."""
    width: int
    """Of the picture as displayed: turned and with square pixels; 0 without picture."""
    height: int
    sample_aspect: float
    """Width of a stored pixel over its height; 1.0 is square, also where unknown or without picture."""
    rotation: int
    """Clockwise turn before display, degrees: 0, 90, 180 or 270; 0 where not MP4, MOV or Matroska."""
    video_s: float
    """Length of the picture, s; that of the container where unknown, 0 without picture."""
    frame_rate: float
    """Mean frames per second; 0 where unknown."""
    trimmed: bool
    """Its edit list shows less than the file holds."""
    sample_rate_hz: int
    """As the header says; the decoder may find another."""
    channels: int
    audio_s: float
    """Length of the sound, s; that of the container where unknown, 0 without sound."""
    audio_tracks: int


def probe(path: Path, limits: Limits) -> Probe:
    """What the container claims.

    Raises:
        MediaRefused: empty, unreadable, corrupt, or over a limit, with the value and the bound.
    """
    with opened(path, limits) as media:
        return media.found


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Media]:
    """The probed file, still open: to open one costs as much as to decode several of its frames.

    Raises:
        MediaRefused: as `probe`.
    """
    _check_file(path, limits)
    with open_media(path, "probe") as container:
        yield Media(path, _checked(container, path, limits), container)


class Media:
    """A probed file, and its container for the first who reads it."""

    def __init__(self, name: Path, found: Probe, container: Any) -> None:
        self.name, self.found = name, found
        self._container, self._unread = container, True

    @contextmanager
    def container(self, read: bool = False) -> Iterator[Any]:
        """The PyAV container at its start, or where `read`, wherever it is: for who seeks.

        Raises:
            MediaRefused: it cannot be opened again.
        """
        if self._unread or read:
            self._unread = False
            yield self._container
            return
        with open_media(self.name, "decode") as again:
            yield again


def _checked(container: Any, path: Path, limits: Limits) -> Probe:
    if (streams := len(container.streams)) > limits.max_streams:
        said = f"it has {streams} streams; {limits.max_streams} are allowed"
        raise MediaRefused("probe", "limit", said)
    found = _describe(container, path)
    if not found.has_video and not found.has_audio:
        raise MediaRefused("probe", "corrupt", f"container {found.container} holds neither picture nor sound")
    if found.duration_s > limits.max_seconds:
        said = f"it lasts {found.duration_s:.0f} s; {limits.max_seconds:.0f} s are allowed"
        raise MediaRefused("probe", "limit", said)
    if found.width * found.height > limits.max_pixels:
        said = f"its picture is {found.width} x {found.height}; {limits.max_pixels} pixels are allowed"
        raise MediaRefused("probe", "limit", said)
    return found


@contextmanager
def plain_name(path: Path) -> Iterator[Path]:
    """A name for the file that no decoder takes for a pattern, and that is text.

    FFmpeg reads `%03d.png` as a sequence of files, and decord takes UTF-8 only; these get their handle.
    """
    absolute = os.path.abspath(path)
    if not PATTERN_SIGNS & set(absolute) and _is_text(absolute):
        yield Path(absolute)
        return
    try:
        handle = os.open(absolute, os.O_RDONLY)
    except OSError as error:
        raise MediaRefused("probe", "unreadable", f"it cannot be opened: {error.strerror}") from error
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def open_media(path: Path, stage: str) -> Any:
    """The opened PyAV container; a context manager.

    Raises:
        MediaRefused: it cannot be read, or is not media.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": _containers()}
    try:
        return av.open(os.path.abspath(path), options=options, metadata_errors="replace")
    except (av.error.FileNotFoundError, av.error.PermissionError, av.error.OSError) as error:
        raise MediaRefused(stage, "unreadable", f"it cannot be opened: {error.strerror}") from error
    except av.error.MemoryError as error:
        raise MediaRefused(stage, "limit", "its header asks for more memory than allowed") from error
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaRefused(stage, "corrupt", f"no known container: {_reason(error)}") from error


def best_stream(container: Any, kind: str) -> Any | None:
    """The stream of a kind that a player would choose; cover art does not count."""
    stream = container.streams.best(kind)
    if stream is None or int(stream.disposition) & ATTACHED_PICTURE or stream.codec_context is None:
        return None
    return stream


@cache
def _containers() -> str:
    """Names of the demuxers that read one file and nothing else, with commas."""
    return ",".join(sorted(name for name in av.formats_available if not FOLLOWS_LINKS & set(name.split(","))))


def _check_file(path: Path, limits: Limits) -> None:
    try:
        status = path.stat()
        with open(path, "rb"):
            pass
    except OSError as error:
        raise MediaRefused("probe", "unreadable", f"it cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaRefused("probe", "unreadable", "it is not a regular file")
    if status.st_size == 0:
        raise MediaRefused("probe", "empty", "it has zero bytes")
    if status.st_size > limits.max_bytes:
        raise MediaRefused("probe", "limit", f"it has {status.st_size} bytes; {limits.max_bytes} are allowed")


def _describe(container: Any, path: Path) -> Probe:
    video, audio = best_stream(container, "video"), best_stream(container, "audio")
    header = read_movie_header(path)
    rotation = header.rotation or read_roll(path)
    width, height = _display_size(video, rotation) if video else (0, 0)
    best = video or audio
    return Probe(
        container=container.format.name,
        duration_s=_duration(container, best),
        has_video=video is not None,
        has_audio=audio is not None,
        codec=best.codec.canonical_name if best else "",
        width=width,
        height=height,
        sample_aspect=_sample_aspect(video),
        rotation=rotation,
        video_s=_track_s(container, video),
        frame_rate=float(video.average_rate or 0) if video else 0.0,
        trimmed=header.trimmed,
        sample_rate_hz=int(audio.rate or 0) if audio else 0,
        channels=int(audio.channels or 0) if audio else 0,
        audio_s=_track_s(container, audio),
        audio_tracks=len(container.streams.audio),
    )


def _display_size(video: Any, rotation: int) -> tuple[int, int]:
    width = max(1, round(video.width * _sample_aspect(video)))
    return (video.height, width) if rotation in (90, 270) else (width, video.height)


def _sample_aspect(video: Any | None) -> float:
    """Of nonsense (zero, negative) nothing is believed: pixels are square then."""
    aspect = float(video.sample_aspect_ratio or 1) if video is not None else 1.0
    return aspect if 0 < aspect < math.inf else 1.0


def _track_s(container: Any, stream: Any | None) -> float:
    return 0.0 if stream is None else _length(stream) or _duration(container, stream)


def _duration(container: Any, stream: Any | None) -> float:
    if container.duration:
        return max(0.0, float(container.duration) / 1e6)
    return _length(stream)


def _length(stream: Any | None) -> float:
    """Seconds that the stream's own header gives; 0 where it gives none."""
    if stream is None or not stream.duration or not stream.time_base:
        return 0.0
    return max(0.0, float(stream.duration * stream.time_base))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
