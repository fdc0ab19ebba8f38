"""Tiny pictures of a stretch of video, and how two of them differ: colours and, motion aside, brightness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

LEVELS: Final = 4
"""Of each colour channel in a histogram."""
SHIFTS: Final = tuple((y, x) for y in (-1, 0, 1) for x in (-2, -1, 0, 1, 2))
"""Cells by which a picture may move and still be the same."""
FULL_LUMA: Final = 0.25
"""Mean difference of brightness, of 1, that counts as entirely different."""
DARK: Final = 24.0
FLAT: Final = 8.0
"""Mean and deviation of luma, of 255, under which a picture is nothing but black."""
ALIKE: Final = 0.6
"""Correlation over which two pictures show the same thing."""
LEAST_STEP: Final = 0.08
"""By so much the share of the second picture grows from quarter to quarter of a gradual transition."""
LEFT_OVER: Final = 0.35
"""Share of a frame's change that no mixture explains; more, and something moves."""
LUMA: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""ITU-R BT.709."""

Float64s = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Miniatures:
    """Tiny pictures in order of time."""

    instants_s: Float64s
    """(n,), strictly increasing."""
    rgb: Picture
    """uint8, (n, h, w, 3)."""

    @staticmethod
    def of(rows: Sequence[tuple[float, Picture]]) -> Miniatures:
        return Miniatures(np.array([instant for instant, _ in rows]), np.stack([rgb for _, rgb in rows]))

    def __len__(self) -> int:
        return len(self.instants_s)

    def shown_at(self, instants_s: Float64s) -> Ints:
        """Place of the picture that is shown at each instant."""
        places = np.searchsorted(self.instants_s, instants_s, side="right") - 1
        return np.clip(places, 0, len(self) - 1)

    @cached_property
    def luma(self) -> npt.NDArray[np.float32]:
        """(n, h, w), 0 to 255."""
        luma: npt.NDArray[np.float32] = self.rgb.astype(np.float32) @ LUMA
        return luma

    @cached_property
    def colours(self) -> npt.NDArray[np.float32]:
        """Shares of the pixels by colour, (n, LEVELS ** 3)."""
        level = self.rgb // (256 // LEVELS)
        code = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
        bins, pixels = LEVELS**3, code[0].size
        flat = code.reshape(len(self), -1).astype(np.int64) + bins * np.arange(len(self))[:, None]
        counted = np.bincount(flat.ravel(), minlength=bins * len(self)).reshape(len(self), bins)
        shares: npt.NDArray[np.float32] = (counted / pixels).astype(np.float32)
        return shares

    def is_black(self) -> npt.NDArray[np.bool_]:
        """(n,)."""
        black: npt.NDArray[np.bool_] = (self.luma.mean((1, 2)) < DARK) & (self.luma.std((1, 2)) < FLAT)
        return black


def difference(minis: Miniatures, a: Ints, b: Ints) -> Float64s:
    """Of the pictures at places a and b, (k,) each: the geometric mean of colours and brightness, [0, 1].

    A change counts where both change: the colours forgive motion, the brightness forgives light that spills
    from one colour bin into the next.
    """
    colours = np.abs(minis.colours[a] - minis.colours[b]).sum(axis=1) / 2
    brightness = np.minimum(1.0, _moved(minis.luma[a], minis.luma[b]) / 255.0 / FULL_LUMA)
    mean: Float64s = np.sqrt(colours.astype(np.float64) * brightness)
    return mean


def is_mixture(minis: Miniatures, middle_s: float, span_s: float) -> float:
    """How well the frames between two instants are a growing mixture of those there; 0 not at all, to 1."""
    places = minis.shown_at(middle_s + span_s * np.array([-0.5, -0.25, 0.0, 0.25, 0.5]))
    first, *between, last = minis.rgb[places].reshape(5, -1).astype(np.float64)
    way = last - first
    size = float(way @ way)
    if size == 0 or is_alike(minis.rgb[places[0]], minis.rgb[places[-1]]):
        return 0.0
    shares = np.array([(frame - first) @ way / size for frame in between])
    rests = [np.linalg.norm(f - first - s * way) for f, s in zip(between, shares, strict=True)]
    left = float(max(rests) / np.sqrt(size))
    grows = bool((np.diff([0.0, *shares, 1.0]) >= LEAST_STEP).all())
    return 1.0 - left if grows and left <= LEFT_OVER else 0.0


def _moved(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Least mean absolute difference over small shifts of b, (k,)."""
    height, width = a.shape[1:]
    inner = a[:, 1 : height - 1, 2 : width - 2]
    least = np.full(len(a), np.inf, np.float32)
    for y, x in SHIFTS:
        shifted = b[:, 1 + y : height - 1 + y, 2 + x : width - 2 + x]
        least = np.minimum(least, np.abs(inner - shifted).mean(axis=(1, 2)))
    return least


def is_alike(a: Picture, b: Picture) -> bool:
    """Whether two pictures, neither of them flat, show the same thing, be it brighter or darker."""
    first, second = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    if min(first.std(), second.std()) < FLAT / 4:
        return False
    return bool(np.corrcoef(first, second)[0, 1] > ALIKE)
