"""One pass over the packets of a file: when each frame is shown, and the sound, decoded as it comes by.

Both rungs then know which frames to decode. Packets tell the truth where headers do not; to read them costs
little beside decoding, and a second pass for the sound is saved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.failures import MediaRefused
from ingest.media.packets import packets, single_threaded
from ingest.media.pictures import Sound
from ingest.media.probe import Media, best_stream
from ingest.media.sampling import Timeline
from ingest.media.sound_track import Listener, late_start_s

Ints = npt.NDArray[np.int64]
Row = tuple[int | None, int, bool, bool]
"""Of a packet: time, length, whether it can be decoded alone, whether it is hidden."""


@dataclass(frozen=True, slots=True)
class Index:
    """The frames of a track by the times of their packets."""

    track: Timeline
    """Of the frames that are shown."""
    pts: Ints | None
    """In the stream's time base, (n,), strictly increasing; None where packets lack times or share one."""
    doors: Ints
    """Times of all packets that can be decoded alone, hidden ones too, increasing."""
    plain: bool
    """No frame is hidden, and none that is shown before a key frame is stored after it (open groups)."""


def scan(media: Media, max_audio_s: float) -> tuple[Index, Sound | None]:
    """The index of the picture and the middle of the sound; None without sound.

    Raises:
        MediaRefused: no frame is shown.
    """
    found = media.found
    rows: list[Row] = []
    with media.container() as container:
        video, audio = single_threaded(best_stream(container, "video")), best_stream(container, "audio")
        streams = [video, audio] if audio else [video]
        listener = Listener(audio, late_start_s(found, max_audio_s), max_audio_s) if audio else None
        for packet in packets(container, streams):
            if packet.stream_index != video.index:
                if listener:
                    listener.hear(packet)
            elif packet.size:
                rows.append((packet.pts, packet.duration or 0, packet.is_keyframe, packet.is_discard))
        index = _index(rows, float(video.time_base), float(video.average_rate or 25))
    return index, listener.sound() if listener else None


def _index(rows: list[Row], base: float, rate_hz: float) -> Index:
    none = np.zeros(0, np.int64)
    if not rows or any(row[0] is None for row in rows):  # a bare stream: its frames come at its rate
        starts = np.arange(max(1, len(rows))) / rate_hz
        return Index(Timeline(starts, float(starts[-1]) + 1 / rate_hz, none), None, none, False)
    pts, lengths, key, hidden = (np.array(column) for column in zip(*rows, strict=True))
    doors = np.sort(pts[key])
    pts, lengths, key = pts[~hidden], lengths[~hidden], key[~hidden]
    if not len(pts):
        raise MediaRefused("decode", "corrupt", "its edit list hides every frame")
    order = np.argsort(pts, kind="stable")
    shown = pts[order]
    end = int((pts + lengths).max()) if lengths[order[-1]] else int(shown[-1]) + _usual_step(shown)
    track = Timeline(shown * base, end * base, np.flatnonzero(key[order]))
    distinct = bool((np.diff(shown) > 0).all())
    plain = not hidden.any() and np.array_equal(np.flatnonzero(key), track.keys)
    return Index(track, shown if distinct else None, doors, plain)


def _usual_step(pts: Ints) -> int:
    """How long the last frame is shown where its packet does not say: as long as most."""
    return int(np.median(np.diff(pts))) if len(pts) > 1 else 0
