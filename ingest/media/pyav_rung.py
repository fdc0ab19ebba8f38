"""First rung: PyAV, packet by packet, so that damage costs frames and not the file.

Only what the wanted frames need is decoded: from the key frame before each, without the frames to which no
other refers. Where that does not give every wanted frame, the file is damaged or its times are not to be
trusted: it is read in order, and what is shown at an instant is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ingest.failures import MediaRefused
from ingest.media.packets import Damage, decoded, flushed, frames_of, packets, seek, single_threaded
from ingest.media.painter import Painter
from ingest.media.pictures import TIME_ERROR_S, Frames, Pictures, Size
from ingest.media.probe import Media, best_stream
from ingest.media.sampling import Places
from ingest.media.scan import Index, Ints

SEEK_GAP_S: Final = 4.0
"""When reading in order, seeks where the next wanted frame is further away than this."""
SKIPPING: Final = frozenset({"h264", "hevc"})
"""Decoders that can leave out frames to which no other refers, and give the others unchanged."""


def read_frames(media: Media, index: Index, places: Places, size: Size) -> Pictures:
    """The frames at these places of the track; fewer where the file is damaged.

    Raises:
        MediaRefused: not one frame can be decoded.
    """
    starts = index.track.starts_s
    damage = Damage()
    shown = _pick(media, index, places, size, damage)
    if len(shown) < len(places) or damage.packets:
        damage = Damage()
        shown = _read_on(media, starts[places] + TIME_ERROR_S, size, damage)
    if not shown:
        raise MediaRefused("decode", "corrupt", f"no frame in {damage.packets} damaged packet(s)")
    at = np.array([instant for instant, _ in shown]) - starts[0]
    frames = np.stack([frame for _, frame in shown])
    return Pictures(frames, at, index.track.duration_s, "pyav", damage.packets)


def _pick(
    media: Media, index: Index, places: Places, size: Size, damage: Damage
) -> list[tuple[float, Frames]]:
    """(instant, picture) of those frames that come as their packets promise, in order of time."""
    if index.pts is None or not len(index.doors):
        return []
    wanted = set(index.pts[places].tolist())
    found: dict[int, Frames] = {}
    painter = Painter(size)
    decode = _alone if wanted <= set(index.doors.tolist()) else _decoded_for
    with media.container(read=True) as container:
        stream = single_threaded(best_stream(container, "video"))
        before = -1
        while len(found) > before and (left := wanted - found.keys()):
            before = len(found)
            if seek(container, stream, _door(index.doors, min(left))):
                for frame in decode(container, stream, wanted, found, index.doors, damage):
                    found[frame.pts] = painter.of(frame)
        base = float(stream.time_base)
    return [(pts * base, found[pts]) for pts in sorted(found)]


def _decoded_for(
    container: Any, stream: Any, wanted: set[int], found: dict[int, Frames], doors: Ints, damage: Damage
) -> Iterator[Any]:
    """Wanted frames from here on, until none is left or the next is better reached from a later key frame."""
    skip = stream.codec_context.name in SKIPPING
    for packet in packets(container, stream):
        if skip:
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        for frame in frames_of(packet, damage):
            if frame.pts not in wanted or frame.pts in found:
                continue
            yield frame
            left = wanted - found.keys()
            if not left or (packet.pts is not None and _door(doors, min(left)) > packet.pts):
                return


def _alone(
    container: Any, stream: Any, wanted: set[int], found: dict[int, Frames], doors: Ints, damage: Damage
) -> Iterator[Any]:
    """The next wanted frame, where all are key frames: its packet alone; the decoder has to give it."""
    pts = min(wanted - found.keys())
    for packet in packets(container, stream):
        if packet.pts == pts:
            yield from [frame for frame in frames_of(packet, damage) + flushed(stream) if frame.pts == pts]
            return


def _door(doors: Ints, pts: int) -> int:
    """The last key frame at or before a time; the first one where there is none."""
    return int(doors[max(0, int(np.searchsorted(doors, pts, side="right")) - 1)])


def _read_on(
    media: Media, targets: npt.NDArray[np.float64], size: Size, damage: Damage
) -> list[tuple[float, Frames]]:
    """What is shown at each instant (container time, s), read in order."""
    with media.container() as container:
        stream = single_threaded(best_stream(container, "video"))
        return list(_shown_at(container, stream, targets, size, damage))


def _shown_at(
    container: Any, stream: Any, targets: npt.NDArray[np.float64], size: Size, damage: Damage
) -> Iterator[tuple[float, Frames]]:
    """(instant, picture) of the frame shown at each target, each frame once.

    A frame is shown until the next one comes, so a target is settled by the first frame after it.
    """
    waiting = deque(targets.tolist())
    given, sought = -np.inf, -np.inf
    painter = Painter(size)
    latest: tuple[float, Any] | None = None
    frames = _timed(container, stream, damage)
    while waiting:
        entry = next(frames, None)
        if entry is not None and (latest is None or entry[0] <= waiting[0]):
            latest = entry
        elif latest is not None:  # `latest` is what is shown at the first target
            if latest[0] > given:
                given = latest[0]
                yield given, painter.of(latest[1])
            end = np.inf if entry is None else entry[0]
            while waiting and waiting[0] < end:
                waiting.popleft()
            latest = entry
        if entry is None:
            return
        if waiting and waiting[0] - entry[0] > SEEK_GAP_S and sought < waiting[0]:
            reached = seek(container, stream, int(waiting[0] / stream.time_base))
            sought = waiting[0] if reached else np.inf
            frames = _timed(container, stream, damage)


def _timed(container: Any, stream: Any, damage: Damage) -> Iterator[tuple[float, Any]]:
    """(instant, frame); a frame without a time comes one frame after its neighbour."""
    step = 1.0 / float(stream.average_rate or 25)
    instant = -step
    for frame in decoded(container, stream, damage):
        instant = instant + step if frame.time is None else float(frame.time)
        yield instant, frame
