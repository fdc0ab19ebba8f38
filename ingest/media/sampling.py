"""Which frames of a picture track are taken: at midpoints, key frames near them, or some of every shot.

Each choice gets the track's times, as read from its packets, and gives the places of the frames to decode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.media.pictures import midpoints

MAX_SHOTS: Final = 256
"""Frames of so many shots are taken at most; of a video with more, the longest."""

Float64s = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the frames of a track are shown."""

    starts_s: Float64s
    """Container time at which each frame appears, s, (n,), n >= 1, not decreasing."""
    end_s: float
    """Container time at which the last frame disappears, s."""
    keys: Places
    """Places of the frames that can be decoded alone, increasing; may be empty where nobody knows."""

    @property
    def duration_s(self) -> float:
        return max(0.0, self.end_s - float(self.starts_s[0]))

    def shown_at(self, instants_s: Float64s) -> Places:
        """Place of the frame that is shown at each instant (container time), each once, increasing."""
        places = np.searchsorted(self.starts_s, instants_s, side="right") - 1
        return np.unique(np.clip(places, 0, len(self.starts_s) - 1))


Sampler = Callable[[Timeline], Places]


def at_midpoints(wanted: int) -> Sampler:
    """The frames shown at the midpoints of so many equal parts; fewer where the track has fewer."""
    return lambda track: track.shown_at(_midpoints(track, wanted))


def near_midpoints(wanted: int) -> Sampler:
    """The key frames nearest to the midpoints, each once; the first frame where no key frame is known."""

    def nearest(track: Timeline) -> Places:
        keys = track.keys if len(track.keys) else np.zeros(1, np.int64)
        away = np.abs(track.starts_s[keys][None] - _midpoints(track, wanted)[:, None])  # (wanted, keys)
        return np.unique(keys[away.argmin(axis=1)])

    return nearest


def in_every_shot(cuts_s: Float64s, wanted: int) -> Sampler:
    """At least one frame of every shot, of MAX_SHOTS shots at most, and `wanted` where there are fewer shots.

    Args:
        cuts_s: where a new shot starts, s from the start of the picture, increasing; the first shot left out.
        wanted: spread over the shots by their length, > 0.
    """

    def spread(track: Timeline) -> Places:
        edges = np.concatenate([[0.0], cuts_s, [max([track.duration_s, *cuts_s[-1:]])]])
        starts, lengths = edges[:-1] + track.starts_s[0], np.diff(edges)
        kept = np.sort(np.argsort(-lengths, kind="stable")[:MAX_SHOTS])
        shares = share_out(lengths[kept], max(wanted, len(kept)))
        parts = [
            midpoints(n, start, start + length)
            for n, start, length in zip(shares, starts[kept], lengths[kept], strict=True)
        ]
        return track.shown_at(np.concatenate(parts))

    return spread


def share_out(lengths: Float64s, total: int) -> Places:
    """How many of `total` frames each shot gets: one, and the rest to whoever's parts are longest.

    Example:
        >>> share_out(np.array([8.0, 1.0, 3.0]), 6).tolist()
        [3, 1, 2]
    """
    shares = np.ones(len(lengths), np.int64)
    for _ in range(total - len(lengths)):
        shares[np.argmax(lengths / shares)] += 1
    return shares


def _midpoints(track: Timeline, wanted: int) -> Float64s:
    return midpoints(wanted, float(track.starts_s[0]), track.end_s)
