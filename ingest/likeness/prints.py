"""Fingerprints of many clips in rows of equal length, to be compared column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import BadInput

MOST_FRAMES: Final = 32
"""Of a clip with more hashes, as many at even steps are compared."""
MOST_MARKS: Final = 1024
LENGTH_RATIO: Final = 1.2
LENGTH_SLACK_S: Final = 1.0
"""Lengths agree when the longer is at most so many times the shorter, plus this."""
STILL: Final = 8.0
"""Mean difference of a clip's frames from the middle one, bits, under which they prove no more than one."""

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints of n clips in rows of equal length."""

    frames: npt.NDArray[np.uint64]
    """Of the whole picture and of its inner part, (n, f, 2); the last one is repeated to the end."""
    frame_counts: Int64s
    """(n,); 0 where nothing is seen."""
    marks: npt.NDArray[np.uint32]
    """Sub-fingerprints of the sound, (n, m); 0 is silence or past the end."""
    lengths_s: Floats
    """(n,); 0 where unknown."""

    seen: Flags
    """Which clips show something, (n,)."""
    heard: Flags
    """Which clips have a sound that says something, (n,)."""
    still: Flags
    """Which clips' frames hardly differ from their middle one, (n,)."""

    @staticmethod
    def of(
        frame_hashes: Sequence[bytes], sound_hashes: Sequence[bytes], lengths_s: Sequence[float]
    ) -> Prints:
        """Rows of hashes from their bytes, b"" where there are none; BadInput for parts of words."""
        frames = _rows(frame_hashes, "<u8", 2, MOST_FRAMES)
        marks = _rows(sound_hashes, "<u4", 1, MOST_MARKS)[:, :, 0]
        counts = np.array([min(MOST_FRAMES, len(one) // 16) for one in frame_hashes], np.int64)
        place = np.minimum(np.arange(frames.shape[1]), np.maximum(0, counts[:, None] - 1))
        frames = np.take_along_axis(frames, place[:, :, None], axis=1)
        heard: Flags = (marks != 0).sum(axis=1) > 0
        return Prints(
            frames, counts, marks, np.array(lengths_s, np.float64), counts > 0, heard, _still(frames, counts)
        )


def lengths_agree(a: Floats, b: Floats) -> npt.NDArray[np.bool_]:
    """True for pairs whose lengths, s, differ by a fifth and a second at most, or are not both known."""
    longer, shorter = np.maximum(a, b), np.minimum(a, b)
    agree: npt.NDArray[np.bool_] = (shorter <= 0) | (longer <= LENGTH_RATIO * shorter + LENGTH_SLACK_S)
    return agree


def column_mean(values: npt.NDArray[Any], where: Flags) -> Floats:
    """Mean over each column's true places, (p,); 0 where it has none."""
    mean: Floats = (values * where).sum(axis=0) / np.maximum(1, where.sum(axis=0))
    return mean


def _still(frames: npt.NDArray[np.uint64], counts: Int64s) -> Flags:
    if not frames.shape[1]:
        return counts > 0
    there = np.arange(frames.shape[1])[:, None] < counts
    middle = frames[np.arange(len(frames)), counts // 2, 0]
    still: Flags = column_mean(np.bitwise_count(frames[:, :, 0].T ^ middle), there) < STILL
    return still


def _rows(hashes: Sequence[bytes], word: str, together: int, most: int) -> npt.NDArray[Any]:
    """Words of each clip as rows, (n, longest, together), thinned to `most` at even steps."""
    size = np.dtype(word).itemsize * together
    if wrong := max((len(one) for one in hashes if len(one) % size), default=0):
        raise BadInput(f"hashes of {wrong} bytes; a multiple of {size} is expected")
    rows = np.zeros((len(hashes), min(most, max(map(len, hashes), default=0) // size), together), word)
    for row, one in zip(rows, hashes, strict=True):
        words = np.frombuffer(one, word).reshape(-1, together)
        if len(words) > most:
            words = words[np.linspace(0, len(words) - 1, most).round().astype(np.int64)]
        row[: len(words)] = words
    return rows
