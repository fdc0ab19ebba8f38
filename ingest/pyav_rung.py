"""Second rung: PyAV, packet by packet, so that damage costs frames and not the file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from ingest.failures import MediaRefused
from ingest.pictures import Frames, Pictures, Size, midpoints
from ingest.probe import Probe, best_stream, open_media

SEEK_GAP_S: Final = 4.0
"""Seeks where the next wanted frame is further away than this; key frames are usually 2 to 10 s apart."""
MAX_DAMAGED: Final = 2_000
"""Packets passed over before a file counts as unreadable."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """One track, mixed to mono."""

    samples: Samples
    """Full scale is 1.0, float32, (n,), n >= 1, finite."""
    sample_rate_hz: int
    rung: str
    damaged: int = 0
    """Packets passed over."""

    @staticmethod
    def mixed(channels: Samples, rate_hz: int, max_s: float, rung: str, damaged: int = 0) -> Sound:
        """The mean of the channels (c, n), its first `max_s` seconds; MediaRefused where there is none."""
        if not channels.size or rate_hz <= 0:
            raise MediaRefused("decode", "corrupt", "no sample of sound")
        kept = channels[:, : max(1, int(max_s * rate_hz))]
        mono = np.nan_to_num(kept.mean(axis=0, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
        return Sound(mono, rate_hz, rung, damaged)


@dataclass(slots=True)
class _Damage:
    """Counts what was passed over while a stream is read."""

    packets: int = 0

    def add(self, error: Exception) -> None:
        self.packets += 1
        if self.packets > MAX_DAMAGED:
            raise MediaRefused("decode", "corrupt", f"more than {MAX_DAMAGED} damaged packets") from error


def read_frames(path: Path, found: Probe, wanted: int, size: Size) -> Pictures:
    """Frames shown at the midpoints of `wanted` equal parts; fewer where the file is damaged or short.

    Raises:
        MediaRefused: not one frame can be decoded.
    """
    with open_media(path, "decode") as container:
        stream = _single_threaded(best_stream(container, "video"))
        start_s, end_s = _measure(container, stream)
    damage = _Damage()
    with open_media(path, "decode") as container:
        stream = _single_threaded(best_stream(container, "video"))
        shown = list(_shown_at(container, stream, midpoints(wanted, start_s, end_s), size, damage))
    if not shown:
        raise MediaRefused("decode", "corrupt", f"no frame in {damage.packets} damaged packet(s)")
    at = np.array([instant for instant, _ in shown]) - start_s
    frames = np.stack([frame for _, frame in shown])
    return Pictures(frames, at, max(0.0, end_s - start_s), "pyav", damage.packets)


def read_sound(path: Path, found: Probe, max_s: float) -> Sound:
    """At most `max_s` seconds from the middle of the track, mono, at its native rate.

    Raises:
        MediaRefused: not one sample can be decoded.
    """
    damage = _Damage()
    parts: list[npt.NDArray[np.float32]] = []
    rate = 0
    with open_media(path, "decode") as container:
        stream = _single_threaded(best_stream(container, "audio"))
        _seek(container, stream, max(0.0, (found.duration_s - max_s) / 2))
        for frame in _decoded(container, stream, damage):
            rate = rate or frame.sample_rate
            if frame.sample_rate != rate or (parts and frame.layout.nb_channels != len(parts[0])):
                break  # another programme starts here
            parts.append(_as_float(frame))
            if sum(part.shape[1] for part in parts) >= max_s * rate:
                break
    if not parts:
        raise MediaRefused("decode", "corrupt", f"no sample of sound in {damage.packets} damaged packet(s)")
    return Sound.mixed(np.concatenate(parts, axis=1), rate, max_s, "pyav", damage.packets)


def _single_threaded(stream: Any) -> Any:
    stream.codec_context.thread_count = 1  # a worker is given one core
    return stream


def _measure(container: Any, stream: Any) -> tuple[float, float]:
    """Start and end of what is shown, s, from the packets themselves: headers may be absent or wrong."""
    start, end = np.inf, -np.inf
    base = float(stream.time_base)
    for packet in _packets(container, stream):
        if packet.pts is not None and not packet.is_discard:
            start = min(start, packet.pts * base)
            end = max(end, (packet.pts + (packet.duration or 0)) * base)
    return (start, end) if start <= end else (0.0, 0.0)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """All packets up to the end of the file or of what can be read of it."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except av.error.MemoryError:
            raise MemoryError("a packet asks for more memory than the decoder may use") from None
        except (av.error.FFmpegError, ValueError):
            return


def _decoded(container: Any, stream: Any, damage: _Damage) -> Iterator[Any]:
    """All frames that can be decoded, in the decoder's order."""
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except av.error.MemoryError:
            raise MemoryError("a frame asks for more memory than the decoder may use") from None
        except (av.error.FFmpegError, ValueError) as error:
            damage.add(error)
            continue
        yield from frames


def _seek(container: Any, stream: Any, instant_s: float) -> bool:
    """Moves to the last key frame before an instant; False where the file cannot seek."""
    if instant_s <= 0:
        return True
    try:
        container.seek(int(instant_s / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def _shown_at(
    container: Any, stream: Any, targets: npt.NDArray[np.float64], size: Size, damage: _Damage
) -> Iterator[tuple[float, Frames]]:
    """(instant, picture) of the frame shown at each target, each frame once.

    A frame is shown until the next one comes, so a target is settled by the first frame after it.
    """
    waiting = deque(targets.tolist())
    given, sought = -np.inf, -np.inf
    latest: tuple[float, Any] | None = None
    frames = _timed(container, stream, damage)
    while waiting:
        entry = next(frames, None)
        if entry is not None and (latest is None or entry[0] <= waiting[0]):
            latest = entry
        elif latest is not None:  # `latest` is what is shown at the first target
            if latest[0] > given:
                given = latest[0]
                yield given, _picture(latest[1], size)
            end = np.inf if entry is None else entry[0]
            while waiting and waiting[0] < end:
                waiting.popleft()
            latest = entry
        if entry is None:
            return
        if waiting and waiting[0] - entry[0] > SEEK_GAP_S and sought < waiting[0]:
            sought = waiting[0] if _seek(container, stream, waiting[0]) else np.inf
            frames = _timed(container, stream, damage)


def _timed(container: Any, stream: Any, damage: _Damage) -> Iterator[tuple[float, Any]]:
    """(instant, frame); a frame without a time comes one frame after its neighbour."""
    step = 1.0 / float(stream.average_rate or 25)
    instant = -step
    for frame in _decoded(container, stream, damage):
        instant = instant + step if frame.time is None else float(frame.time)
        yield instant, frame


def _picture(frame: Any, size: Size) -> Frames:
    """RGB at this size, turned upright, uint8, (h, w, 3)."""
    turns = int(frame.rotation) // 90 % 4
    stored = size.turned if turns % 2 else size
    try:
        rgb = frame.to_ndarray(format="rgb24", width=stored.width, height=stored.height)
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaRefused("decode", "corrupt", f"pixels {frame.format.name} cannot be converted") from error
    return np.ascontiguousarray(np.rot90(rgb, turns))


def _as_float(frame: Any) -> npt.NDArray[np.float32]:
    """Samples by channel, full scale 1.0, float32, (c, n)."""
    raw: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    samples = raw.astype(np.float32)
    if raw.dtype.kind == "f":
        return samples
    if raw.dtype == np.uint8:
        return (samples - np.float32(128.0)) / np.float32(128.0)
    return samples / np.float32(-float(np.iinfo(raw.dtype).min))
