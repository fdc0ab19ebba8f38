"""Many modalities, one vector: a weighted mean of those present, whatever is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from features.contracts import Floats, modality_bits
from features.errors import BadInput
from ingest.encoders.heads import Heads
from ingest.encoders.projector import unit_rows

Flags = npt.NDArray[np.bool_]
FusionKind = Literal["mean", "gated"]
KINDS: Final[tuple[FusionKind, ...]] = ("mean", "gated")
IMPUTED_WEIGHT: Final = 0.25
"""Of a modality that was filled in from neighbours, beside 1 of one that is there."""
PORTION: Final = 65_536
"""Videos fused at once: unaligned modalities side by side are long, and each has a vector of that length."""
LEAST_TRUST: Final = 0.05
"""Weight of a modality that contradicts the others, beside 1 of the one that is trusted most."""

Levels = Mapping[str, tuple[float, float]]
"""Mean cosine of modalities of different videos, and of one video, by pair ("visual+audio")."""


@dataclass(frozen=True, slots=True)
class Fused:
    """Joint vectors of n videos."""

    joint: Floats
    """Unit rows, float32, (n, d); zero rows where no modality is present or filled in."""
    mask: npt.NDArray[np.uint8]
    """Modalities present: visual 1, audio 2, text 4; uint8, (n,)."""
    agreement: Floats
    """Mean cosine between modalities, float32, (n,), [-1, 1]; NaN where no two of them can be compared."""
    imputed: npt.NDArray[np.uint8]
    """Modalities that were filled in from neighbours, bits as in `mask`, uint8, (n,)."""


def fuse(
    vectors: dict[str, Floats],
    heads: Heads,
    kind: FusionKind = "mean",
    imputed: Mapping[str, Flags] | None = None,
    levels: Levels | None = None,
) -> Fused:
    """Joint vectors, masks and agreement.

    Args:
        vectors: unit rows (n, d_in) by modality, zero rows where it is missing; the same n for all.
        heads: of the space; a modality without a head is in the mask and nowhere else.
        kind: "mean": all that are present count the same; "gated": the better one fits the others, the more
            it counts. With two modalities, or none to compare, both are the same.
        imputed: by modality, (n,): True where the row was filled in from neighbours and counts less.
        levels: of "gated": what `measure_levels` gave for the catalogue; None measures these videos.

    Raises:
        BadInput: vectors of another length than the space was built on, or an unknown kind.
    """
    if kind not in KINDS:
        raise BadInput(f"fusion {kind!r} is not one of {', '.join(KINDS)}")
    filled = _filled(vectors, imputed or {})
    gated = kind == "gated" and sum(m in heads.comparable for m in vectors) > 2
    known_levels = (levels or measure_levels(vectors, heads, imputed)) if gated else None
    n = len(next(iter(vectors.values())))
    joint, agreement = np.zeros((n, heads.dim), np.float32), np.zeros(n, np.float32)
    for start in range(0, n, PORTION):
        part = slice(start, start + PORTION)
        some = {m: rows[part] for m, rows in vectors.items()}
        lent = {m: flags[part] for m, flags in filled.items()}
        joint[part], agreement[part] = _fuse(some, lent, heads, known_levels)
    present = {m: rows.any(axis=1) & ~filled[m] for m, rows in vectors.items()}
    return Fused(joint, modality_bits(present, n), agreement, modality_bits(filled, n))


def _fuse(
    vectors: Mapping[str, Floats], filled: Mapping[str, Flags], heads: Heads, levels: Levels | None
) -> tuple[Floats, Floats]:
    """Joint vectors (n, d) and agreement (n,) of some videos; gated where there are levels."""
    seen = {m: heads.by_modality[m].apply(rows) for m, rows in vectors.items() if m in heads.by_modality}
    known = {m: rows.any(axis=1) & ~filled[m] for m, rows in seen.items()}
    weights = {m: np.where(filled[m], np.float32(IMPUTED_WEIGHT), np.float32(1.0)) for m in seen}
    met = {m: rows for m, rows in seen.items() if m in heads.comparable}
    if levels is not None:
        trust = _trust(met, known, levels)
        weights |= {m: weights[m] * trust[m] for m in met}
    n = len(next(iter(vectors.values())))
    total = np.zeros((n, heads.dim), np.float32)
    for m, rows in seen.items():
        total += rows * weights[m][:, None]
    return unit_rows(total), _mean_of(_cosines(met, known).values(), n)


def measure_levels(
    vectors: dict[str, Floats], heads: Heads, imputed: Mapping[str, Flags] | None = None
) -> Levels:
    """What cosines mean in this space: in some spaces all pictures are far from all words.

    Args:
        vectors: of the catalogue, or of a large sample of it.
        heads: of the space.
        imputed: by modality, True where the row was filled in; such rows are left out.
    """
    filled = _filled(vectors, imputed or {})
    seen = {m: heads.by_modality[m].apply(vectors[m]) for m in heads.comparable if m in vectors}
    return _levels(seen, {m: rows.any(axis=1) & ~filled[m] for m, rows in seen.items()})


def _filled(vectors: dict[str, Floats], imputed: Mapping[str, Flags]) -> dict[str, Flags]:
    """True where a modality was filled in, for every modality."""
    absent = {m: np.zeros(len(rows), np.bool_) for m, rows in vectors.items()}
    return {m: imputed.get(m, absent[m]) & rows.any(axis=1) for m, rows in vectors.items()}


def _cosines(seen: Mapping[str, Floats], known: Mapping[str, Flags]) -> dict[tuple[str, str], Floats]:
    """Cosine of every two modalities, (n,); NaN where one of them is missing or filled in."""
    return {
        (a, b): np.where(known[a] & known[b], np.einsum("nd,nd->n", seen[a], seen[b]), np.float32(np.nan))
        for a, b in combinations(seen, 2)
    }


def _mean_of(columns: Iterable[Floats], n: int) -> Floats:
    """Mean over columns where they are known, float32, (n,); NaN where none is."""
    total, count = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for column in columns:
        there = ~np.isnan(column)
        total += np.where(there, column, 0.0)
        count += there
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan).astype(np.float32)


def _levels(seen: Mapping[str, Floats], known: Mapping[str, Flags]) -> Levels:
    means = {
        m: rows[known[m]].mean(axis=0) if known[m].any() else rows[:0].sum(axis=0) for m, rows in seen.items()
    }
    found = {}
    for (a, b), cosine in _cosines(seen, known).items():
        there = ~np.isnan(cosine)
        if there.any():
            # The mean over all pairs of different videos is the product of the mean vectors.
            found[f"{a}+{b}"] = (float(means[a] @ means[b]), float(cosine[there].mean()))
    return found


def _trust(seen: Mapping[str, Floats], known: Mapping[str, Flags], levels: Levels) -> dict[str, Floats]:
    """How well each modality fits the others, over the best of the video, (n,), [LEAST_TRUST, 1].

    A cosine counts from 0, as of different videos, to 1, as of one video on average. What was filled in
    is judged by what is there, and judges nothing.
    """
    n = len(next(iter(seen.values())))
    fits: dict[str, list[Floats]] = {m: [] for m in seen}
    for a, b in combinations(seen, 2):
        apart, one = levels.get(f"{a}+{b}", (0.0, 1.0))
        fit = (np.einsum("nd,nd->n", seen[a], seen[b]) - apart) / max(one - apart, 1e-3)
        fits[a] += [np.where(known[b] & seen[a].any(axis=1), fit, np.nan)]
        fits[b] += [np.where(known[a] & seen[b].any(axis=1), fit, np.nan)]
    trust = {m: _mean_of(columns, n) for m, columns in fits.items()}
    best = np.fmax.reduce(list(trust.values()))
    scale = np.maximum(np.nan_to_num(best, nan=1.0), LEAST_TRUST)
    shares = {m: np.clip(rows / scale, LEAST_TRUST, 1.0) for m, rows in trust.items()}
    return {
        m: np.where(np.isnan(share), np.float32(1.0), share).astype(np.float32) for m, share in shares.items()
    }
