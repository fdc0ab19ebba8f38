"""Frames and sound as decoders give them, and what is made of frames: squares for encoders, one poster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

LONGEST: Final = 3
"""A decoded frame is at most this many times as long as it is short; longer pictures are squeezed."""

TIME_ERROR_S: Final = 1e-3

Frames = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Size:
    """Of a picture, pixels."""

    width: int
    height: int

    @property
    def turned(self) -> Size:
        return Size(self.height, self.width)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Frames of one file at a common size, upright."""

    frames: Frames
    """RGB, uint8, (t, h, w, 3), t >= 1, in order of time."""
    timestamps_s: Float64s
    """Instant at which each is shown, s from the start of the picture, (t,), strictly increasing."""
    duration_s: float
    """Of the picture track, s."""
    rung: str
    damaged: int = 0
    """Packets passed over."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One track, mixed to mono."""

    samples: Samples
    """Mean of the channels, full scale is 1.0, float32, (n,), n >= 1, finite."""
    sample_rate_hz: int
    track_s: float
    """Length of the whole track, s; 0 where only a part of it was read."""
    damaged: int = 0
    """Packets passed over."""


def decode_size(shown: Size, short_side: int) -> Size:
    """The size to decode at: proportions kept, the short side as given, sides even, the long side bounded.

    Example:
        >>> decode_size(Size(1280, 720), 224)
        Size(width=398, height=224)
    """
    scale = short_side / max(1, min(shown.width, shown.height))

    def side(pixels: int) -> int:
        return min(LONGEST * short_side, max(short_side, round(pixels * scale / 2) * 2))

    return Size(side(shown.width), side(shown.height))


def midpoints(n: int, start_s: float, end_s: float) -> Float64s:
    """The middles of n equal parts of a stretch of time, s, (n,); late by what times are off at most.

    decord gives times in single precision: of two frames that meet at a middle, both rungs take the second.
    """
    return start_s + (np.arange(n) + 0.5) / n * max(0.0, end_s - start_s) + TIME_ERROR_S


def squeeze(frames: Frames, size: Size) -> Frames:
    """Every frame as a whole at exactly this size, uint8, (t, height, width, 3)."""
    if frames.shape[1:3] == (size.height, size.width):
        return frames
    fitted = [_resize(frame, size) for frame in frames]
    return np.stack(fitted)


def pick_poster(frames: Frames) -> Frames:
    """The frame with the strongest contrast, and of equals the one nearest to the middle."""
    contrast = frames[:, ::8, ::8].reshape(len(frames), -1).std(axis=1).round(1)
    off_middle = np.abs(np.arange(len(frames)) - (len(frames) - 1) / 2)
    poster: Frames = frames[np.lexsort((off_middle, -contrast))[0]]
    return poster


def _resize(frame: Frames, size: Size) -> Frames:
    image = Image.fromarray(frame).resize((size.width, size.height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8)
