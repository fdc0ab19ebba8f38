"""Does the sound fit the picture, does the title fit both: ranks among the catalogue, and who is the odd one.

A cosine between two modalities says little by itself: in some spaces all pictures are far from all words. Its
rank among other videos says what a person would: nine of ten other titles would fit this video worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import MODALITIES, Floats, Int64s
from ingest.encoders.heads import Heads
from ingest.encoders.projector import unit_rows

Flags = npt.NDArray[np.bool_]
CHUNK: Final = 8192
"""Videos compared at once: 33 MB a comparison with 1,000 others."""
NONE: Final = -1


@dataclass(frozen=True, slots=True)
class AgreeSettings:
    """With how many others a video is compared."""

    others: int = 1000
    """Sounds, titles and pictures, drawn once from the catalogue: a rank is then known to 0.016."""
    fewest: int = 20
    """Others to compare with, below which nothing is said."""
    same: float = 0.95
    """Others nearer than this (cosine, in the joint space) say the same and are not counted."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the modalities of n videos fit each other.

    A fit of 0.9: nine of ten sounds of other videos fit the rest of this video worse than its own. Sounds of
    one topic compete with each other: where a tenth of the videos show rain, a fitting sound of rain has a
    fit from 0.9 to 1, wherever between. Sounds that say the same are not counted, so they do not lower it.
    """

    sound_fit: Floats
    """Share of other sounds that fit the rest of the video worse, float32, (n,), [0, 1]; NaN: unknown."""
    text_fit: Floats
    """The same of titles."""
    conflict: Floats
    """Share of others that would fit better, in the pair of modalities that fits worst, float32, (n,),
    [0, 1]; large where something does not belong. NaN where no two modalities can be compared."""
    odd: npt.NDArray[np.int8]
    """Place in MODALITIES of the one outside the pair that fits best, int8, (n,); it is the wrong one where
    `conflict` is large. -1 without three modalities: of two that differ either may be wrong."""


def judge_agreement(
    vectors: dict[str, Floats],
    heads: Heads,
    imputed: Mapping[str, Flags] | None = None,
    settings: AgreeSettings | None = None,
) -> Agreement:
    """Ranks of every video's modalities among those of a sample of the catalogue.

    Memory is bounded by `CHUNK`, time is linear in the videos.

    Args:
        vectors: unit rows (n, d_in) by modality, zero rows where it is missing; the same n for all.
        heads: of the space; only its comparable modalities are judged.
        imputed: by modality, (n,): True where the row was filled in from neighbours; it is not judged.
        settings: with how many others.
    """
    settings = settings or AgreeSettings()
    n = len(next(iter(vectors.values()), ()))
    names: list[str] = [m for m in MODALITIES if m in heads.comparable and m in vectors]
    others = {m: _draw(vectors, heads, m, imputed or {}, settings) for m in names}
    parts = []
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        seen = {m: _seen(vectors, heads, m, imputed or {}, rows) for m in names}
        parts.append(_judge(rows, seen, others, settings))
    return _join(parts)


@dataclass(frozen=True, slots=True)
class _Others:
    """A sample of one modality."""

    rows: Int64s
    vectors: Floats


def _seen(
    vectors: dict[str, Floats], heads: Heads, modality: str, imputed: Mapping[str, Flags], rows: Int64s
) -> Floats:
    """Joint vectors of one modality, (m, d); zero rows where it is missing or filled in."""
    held = heads.by_modality[modality].apply(vectors[modality][rows])
    return np.where(imputed[modality][rows, None], np.float32(0.0), held) if modality in imputed else held


def _draw(
    vectors: dict[str, Floats],
    heads: Heads,
    modality: str,
    imputed: Mapping[str, Flags],
    settings: AgreeSettings,
) -> _Others:
    present = vectors[modality].any(axis=1)
    if modality in imputed:
        present &= ~imputed[modality]
    rng = np.random.default_rng([settings.seed, MODALITIES.index(modality)])
    rows = np.sort(rng.permutation(np.flatnonzero(present))[: settings.others])
    return _Others(rows, _seen(vectors, heads, modality, imputed, rows))


def _judge(
    rows: Int64s, seen: dict[str, Floats], others: dict[str, _Others], settings: AgreeSettings
) -> Agreement:
    counted = {m: _counted(rows, seen[m], others[m], settings.same) for m in seen}

    def rank(asking: Floats, m: str) -> Floats:
        return _rank(asking, seen[m], others[m].vectors, counted[m], settings.fewest)

    pairs = {(a, b): (rank(seen[a], b) + rank(seen[b], a)) / 2.0 for a, b in combinations(seen, 2)}
    fits = {m: rank(_rest(seen, m), m) for m in ("audio", "text") if m in seen}
    unknown = np.full(len(rows), np.nan, np.float32)
    worst = np.fmin.reduce([unknown, *pairs.values()])
    return Agreement(
        fits.get("audio", unknown), fits.get("text", unknown), 1.0 - worst, _odd(pairs, len(rows))
    )


def _rest(seen: dict[str, Floats], modality: str) -> Floats:
    return unit_rows(
        np.sum([rows for m, rows in seen.items() if m != modality] or [0.0 * seen[modality]], axis=0)
    )


def _counted(rows: Int64s, own: Floats, others: _Others, same: float) -> Flags:
    """Which others a video's own vector is compared with, (m, s): neither itself nor what says the same."""
    apart = np.less(own @ others.vectors.T, same)
    return np.asarray(apart & (rows[:, None] != others.rows[None, :]))


def _rank(asking: Floats, own: Floats, others: Floats, counted: Flags, fewest: int) -> Floats:
    """Share of others further from `asking` than its own is, float32, (m,); equal ones count half."""
    near = np.einsum("nd,nd->n", asking, own)[:, None]
    cosine = asking @ others.T  # (m, s)
    number = counted.sum(axis=1)
    below = ((cosine < near) & counted).sum(axis=1) + 0.5 * ((cosine == near) & counted).sum(axis=1)
    said = asking.any(axis=1) & own.any(axis=1) & (number >= fewest)
    return np.where(said, below / np.maximum(number, 1), np.nan).astype(np.float32)


def _odd(pairs: dict[tuple[str, str], Floats], n: int) -> npt.NDArray[np.int8]:
    """The modality outside the best pair, where all three pairs are known."""
    if len(pairs) < 3:
        return np.full(n, NONE, np.int8)
    outside = np.array([3 - MODALITIES.index(a) - MODALITIES.index(b) for a, b in pairs], np.int8)
    ranks = np.stack(list(pairs.values()))  # (3, n)
    known = ~np.isnan(ranks).any(axis=0)
    return np.where(known, outside[np.nan_to_num(ranks, nan=-1.0).argmax(axis=0)], NONE).astype(np.int8)


def _join(parts: list[Agreement]) -> Agreement:
    def column(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0, np.float32)])

    odd = np.concatenate([part.odd for part in parts] or [np.zeros(0, np.int8)])
    return Agreement(column("sound_fit"), column("text_fit"), column("conflict"), odd)
