"""Pairs of clips worth comparing: those that share part of a hash. Never all pairs.

Some bits of each hash, drawn once, are its key; clips under one key are pairs. Keys are as long as the
number of hashes asks for, so that a key has about one by chance and the work grows with the clips, not with
their square. So it does where many clips share a hash (an intro, a title card, a thousand copies of one
video): there each clip is paired with a few neighbours in length and with one that stands for all of them.

Source:
    Indyk and Motwani 1998, Approximate nearest neighbors, section 4.1: hashes that differ in d of b bits
    share a key of k bits with chance (1 - d / b)^k; several tables of other bits make it likely.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ingest.likeness.prints import Prints, lengths_agree

TABLES: Final = 6
MIN_KEY_BITS, MAX_KEY_BITS = 16, 30
SEED: Final = 64
FULL: Final = 16
"""Sharers of a key up to which each is paired with each."""
NEIGHBOURS: Final = 2
"""Where more share a key, clips next in length with which each is paired."""
MARKS: Final = 128
"""Of a longer sound, about so many marks are looked up: those whose own bits say so, in every copy."""
Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Pairs = tuple[Int64s, Int64s]


def alike_frames(prints: Prints) -> Pairs:
    """Pairs of clips, (p,) and (p,), that share a key of a frame and agree in length; each once.

    Args:
        prints: of clips in order of their length.
    """
    there = np.arange(prints.frames.shape[1]) < prints.frame_counts[:, None]
    clips, places = np.nonzero(there)
    hashes = prints.frames[clips, places].ravel()  # of the picture and of its inner part
    found = np.zeros(0, np.int64)
    for keys in _tables(hashes, bits=64):
        found = _once(np.concatenate([found, _sharers(keys, np.repeat(clips, 2), prints)]))
    return _decode(found)


def alike_sounds(prints: Prints) -> Pairs:
    """Pairs of clips without a picture, (p,) and (p,), that share a key in two tables and agree in length."""
    silent_film = np.flatnonzero(~prints.seen)
    marks = prints.marks[silent_film]
    clips, places = np.nonzero(marks)
    words = marks[clips, places].astype(np.uint64)
    chosen = _thinned(words, np.bincount(clips, minlength=len(marks))[clips])
    words, clips = words[chosen], silent_film[clips[chosen]]
    once, twice = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for keys in _tables(words, bits=32):
        fresh = _sharers(keys, clips, prints)
        twice = _once(np.concatenate([twice, np.intersect1d(once, fresh, assume_unique=True)]))
        once = _once(np.concatenate([once, fresh]))
    return _decode(_once(twice))


def _tables(hashes: npt.NDArray[Any], bits: int) -> Iterator[Words]:
    """The keys of all hashes, table by table: drawn bits, side by side."""
    length = min(MAX_KEY_BITS, max(MIN_KEY_BITS, len(hashes).bit_length()))
    random = np.random.default_rng(SEED)
    for _ in range(TABLES):
        keys = np.zeros(len(hashes), np.uint64)
        for place, bit in enumerate(np.sort(random.choice(bits, length, replace=False))):
            keys |= ((hashes >> np.uint64(bit)) & np.uint64(1)) << np.uint64(place)
        yield keys


def _thinned(words: Words, counts: Int64s) -> npt.NDArray[np.bool_]:
    """Which sub-fingerprints are looked up: of a clip that has `counts`, one in a power of two, at random."""
    one_in = np.maximum(0, np.ceil(np.log2(np.maximum(counts, 1) / MARKS))).astype(np.uint64)
    mixed = (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)  # Fibonacci hashing
    chosen: npt.NDArray[np.bool_] = mixed & ((np.uint64(1) << one_in) - np.uint64(1)) == 0
    return chosen


def _sharers(keys: Words, clips: Int64s, prints: Prints) -> Int64s:
    """Pairs of different clips under one key, each once, as first << 32 | second with first < second."""
    entries = _once(keys << np.uint64(32) | clips.astype(np.uint64))  # by key, then by length
    keys, clips = entries >> np.uint64(32), (entries & np.uint64(0xFFFFFFFF)).astype(np.int64)
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] + np.uint64(1)))
    sizes = np.diff(starts, append=len(keys))
    first_of, size_of = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    place = np.arange(len(clips))
    reach = np.where(size_of <= FULL, FULL, NEIGHBOURS)
    codes = [_agreeing(*_heads(clips, first_of, size_of, prints), prints)]
    for step in range(1, FULL):
        at = np.flatnonzero((place + step < first_of + size_of) & (step <= reach))
        codes.append(_agreeing(clips[at], clips[at + step], prints))
    return _once(np.concatenate(codes))


def _heads(clips: Int64s, first_of: Int64s, size_of: Int64s, prints: Prints) -> Pairs:
    """Under a crowded key, each clip with the first one of its class of length, which stands for it."""
    classes = np.floor(np.log(np.maximum(prints.lengths_s[clips], 0.1)) / np.log(1.1)).astype(np.int64)
    fresh = (np.diff(first_of, prepend=-1) != 0) | (np.diff(classes, prepend=-1000) != 0)
    heads = np.maximum.accumulate(np.where(fresh, np.arange(len(clips)), 0))
    at = np.flatnonzero((size_of > FULL) & ~fresh)
    return clips[heads[at]], clips[at]


def _agreeing(first: Int64s, second: Int64s, prints: Prints) -> Int64s:
    kept = lengths_agree(prints.lengths_s[first], prints.lengths_s[second])
    return first[kept] << 32 | second[kept]


def _once(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The codes in order, each once; a plain sort, as NumPy's own `unique` goes through a hash table."""
    ordered = np.sort(codes)
    once: npt.NDArray[Any] = ordered[np.diff(ordered, prepend=ordered[:1] + ordered.dtype.type(1)) != 0]
    return once


def _decode(codes: Int64s) -> Pairs:
    return codes >> 32, codes & 0xFFFFFFFF
