"""How far two clips are apart: their frames at any place, their sound at the best shift."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.likeness.prints import Floats, Int64s, Prints, column_mean
from ingest.likeness.sound_hash import HOP_S

SAME_FRAME: Final = 16
"""Of 64 bits: two frames that differ in no more are one picture; of different ones, 1 in 200 does not."""
SHIFT_S: Final = 1.0
"""Sounds are shifted by this much, and by the difference of their lengths, when they are compared."""
TRIED: Final = 32
"""Marks on which every shift is tried."""
FEWEST: Final = 8
"""Marks that have to be compared."""
OVERLAP: Final = 0.6
"""Of the shorter sound, that has to be compared at a shift for it to count."""
FEW_PAIRS: Final = 1024
"""Sounds that are compared together; bounds the memory."""

Bits = npt.NDArray[np.uint8]
Marks = npt.NDArray[np.uint32]


def picture_distance(prints: Prints, first: Int64s, second: Int64s) -> tuple[Floats, Floats]:
    """Mean bits by which frames differ from the nearest of the other clip, and share found there, (p,) each.

    The whole pictures are compared, and the whole one of each clip with the inner part of the other; what is
    most alike counts. Of the two clips the one that is found less decides the share.
    """
    place = np.arange(prints.frames.shape[1])[:, None]
    in_a, in_b = place < prints.frame_counts[first], place < prints.frame_counts[second]  # (f, p)
    best, share = np.full(len(first), 64.0), np.zeros(len(first))
    for of_a, of_b in ((0, 0), (0, 1), (1, 0)):
        a, b = prints.frames[first, :, of_a].T.copy(), prints.frames[second, :, of_b].T.copy()
        to_b, to_a = _nearest_bits(a, b)
        mean = (column_mean(to_b, in_a) + column_mean(to_a, in_b)) / 2
        found = np.minimum(column_mean(to_b <= SAME_FRAME, in_a), column_mean(to_a <= SAME_FRAME, in_b))
        best, share = np.minimum(best, mean), np.where(mean < best, found, share)
    return best, share


def _nearest_bits(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> tuple[Bits, Bits]:
    """Bits from each hash of `a` to the nearest of `b`, and the reverse, (f, p) each; a pair is a column."""
    to_b, to_a = np.full(a.shape, 64, np.uint8), np.full(b.shape, 64, np.uint8)
    for row, hashes in enumerate(a):
        bits = np.bitwise_count(hashes ^ b)  # (f, p)
        to_b[row] = bits.min(axis=0)
        np.minimum(to_a, bits, out=to_a)
    return to_b, to_a


def sound_distance(prints: Prints, first: Int64s, second: Int64s) -> Floats:
    """Share of differing bits at the best shift, (p,); 0.5 where too little can be compared."""
    errors = np.full(len(first), 0.5)
    heard = np.flatnonzero(prints.heard[first] & prints.heard[second])
    for at in range(0, len(heard), FEW_PAIRS):
        part = heard[at : at + FEW_PAIRS]
        errors[part] = _best_shift(prints, first[part], second[part])
    return errors


def _best_shift(prints: Prints, first: Int64s, second: Int64s) -> Floats:
    """As `sound_distance`: every shift is tried on some of the marks, the best of them on all."""
    a, b = prints.marks[first], prints.marks[second]
    apart_s = np.abs(prints.lengths_s[first] - prints.lengths_s[second])
    reach = np.ceil((np.minimum(apart_s, 10.0) + SHIFT_S) / HOP_S).astype(np.int64)
    needed = np.maximum(FEWEST, OVERLAP * np.minimum((a != 0).sum(axis=1), (b != 0).sum(axis=1)))
    lowest, shift = np.full(len(first), np.inf), np.zeros(len(first), np.int64)
    some = np.arange(0, a.shape[1], max(1, a.shape[1] // TRIED))
    furthest = int(reach.max(initial=0))
    for tried in range(-furthest, furthest + 1):
        share, count = _differing(a[:, some], _taken(b, (some + tried)[None]))
        usable = (count >= needed * len(some) / a.shape[1]) & (abs(tried) <= reach)
        better = usable & (share < lowest)
        lowest, shift = np.where(better, share, lowest), np.where(better, tried, shift)
    share, count = _differing(a, _taken(b, np.arange(b.shape[1]) + shift[:, None]))
    return np.where((count >= needed) & np.isfinite(lowest), share, 0.5)


def _taken(marks: Marks, place: Int64s) -> Marks:
    """Marks at these places of each row, (p, k); 0 outside.

    Args:
        place: (p, k), or (1, k) for the same places of all rows.
    """
    inside = (place >= 0) & (place < marks.shape[1])
    moved = np.take_along_axis(marks, np.where(inside, place, 0), axis=1)
    return np.where(inside, moved, np.uint32(0))


def _differing(a: Marks, b: Marks) -> tuple[Floats, Int64s]:
    """Share of differing bits where neither is silent, (p,), and number of marks compared, (p,)."""
    both = (a != 0) & (b != 0)
    count = both.sum(axis=1)
    bits = (np.bitwise_count(a ^ b) * both).sum(axis=1)
    return bits / np.maximum(1, 32 * count), count
