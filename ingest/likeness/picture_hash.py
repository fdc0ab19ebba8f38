"""A frame as 64 bits that a new encoding, another size and a little less of it hardly change."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.media.decode import Frames
from ingest.quality import luma

WAVES: Final = 9
"""Cosines a side, half periods 0 to 9, of which the 64 longest waves are kept."""
BITS: Final = 64
FLAT: Final = 6.0
"""Root mean square of a frame's long waves, of 255, under which its bits would be noise."""
MARGIN: Final = 0.04
"""Of a side, cut off at both ends for the second hash."""
BAR_RANGE: Final = 16
"""Of 255: lines at the edges whose pixels differ by no more, all through the clip, are bars of any colour."""
BAR_SHARE: Final = 0.75
"""Most of a side that bars may take, together, to be cut off; an upright video in a wide one has 0.68."""

Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]


def hash_frames(frames: Frames) -> Hashes:
    """Two hashes for each frame that is not flat, uint64, (at most t, 2): signs of its 64 longest waves.

    The first is of the whole picture, the second of the picture less a margin: a copy that was cropped by
    about as much resembles the second, and need not resemble the first.

    Args:
        frames: RGB, uint8, (t, h, w, 3).

    Source:
        Zauner 2010, Implementation and benchmarking of perceptual image hash functions, section 3.2.1 (the
        DCT hash). The 64 waves nearest to the mean are taken here instead of a square of 8 by 8, signs
        instead of the median, and bars above, below or beside the picture are cut off first.
    """
    grey = luma(frames)
    top, bottom, left, right = _inside(grey)
    whole = _waves(grey[:, top:bottom, left:right])
    down, across = round(MARGIN * (bottom - top)), round(MARGIN * (right - left))
    inner = _waves(grey[:, top + down : bottom - down, left + across : right - across])
    telling = np.sqrt(np.square(whole).sum(axis=1)) >= FLAT
    both = np.stack([whole[telling], inner[telling]], axis=1)  # (t, 2, 64)
    return np.packbits(both > 0, axis=2, bitorder="little").view("<u8")[:, :, 0]


def _inside(grey: Frames) -> tuple[int, int, int, int]:
    """First and last line and column of the picture without bars: top, bottom, left, right."""
    brightest, darkest = grey.max(axis=0), grey.min(axis=0)
    top, bottom = _without_bars(brightest.max(axis=1) - darkest.min(axis=1))
    left, right = _without_bars(brightest.max(axis=0) - darkest.min(axis=0))
    return top, bottom, left, right


def _without_bars(range_of: Frames) -> tuple[int, int]:
    """Where the picture begins and ends along one side, by each line's range of brightness over the clip.

    All of it where too little would be left.
    """
    lively = np.flatnonzero(range_of > BAR_RANGE)
    if not len(lively) or lively[-1] + 1 - lively[0] < (1 - BAR_SHARE) * len(range_of):
        return 0, len(range_of)
    return int(lively[0]), int(lively[-1]) + 1


def _waves(grey: Frames) -> Floats:
    """Strength of the 64 longest waves but the mean, of 255, (t, 64)."""
    t, height, width = grey.shape
    across = grey.reshape(t * height, width).astype(np.float32) @ _cosines(width).T
    waves = _cosines(height) @ across.reshape(t, height, -1)  # (t, waves, waves)
    down, right = _longest()
    strengths: Floats = waves[:, down, right]
    return strengths


@lru_cache(maxsize=256)
def _cosines(length: int) -> Floats:
    """Rows of the orthogonal cosine transform, scaled so that the size of a picture does not matter."""
    k = np.arange(WAVES + 1)[:, None]
    angles = np.pi * k * (np.arange(length) + 0.5) / length
    rows: Floats = (np.cos(angles) * np.sqrt(2.0) / length).astype(np.float32)
    return rows


@lru_cache(maxsize=1)
def _longest() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of the 64 longest waves but the mean."""
    down, across = np.meshgrid(np.arange(WAVES + 1), np.arange(WAVES + 1), indexing="ij")
    order = np.lexsort((down.ravel(), (down**2 + across**2).ravel()))[1 : BITS + 1]
    return down.ravel()[order], across.ravel()[order]
