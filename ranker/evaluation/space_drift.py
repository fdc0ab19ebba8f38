"""What changed since another space: did vectors turn, and did videos keep their neighbours?

Two trainings of one space may differ by a rotation that changes no distance, so vectors are compared after
the best rotation, too. It is fitted on one half of the common videos and measured on the other: with few
videos, a rotation fits anything that it has seen.
Source: Schoenemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 1966.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import Floats, Int64s
from features.tables import Table
from ranker.evaluation.metrics import Doubles
from ranker.evaluation.space_retrieval import RESAMPLES, K
from ranker.evaluation.space_vectors import BLOCK, VectorSet, nearest, read_vectors
from ranker.evaluation.statistics import percentile_interval, resample_means

QUERIES: Final = 1_000
"""Common videos whose neighbours are compared, at most."""
RIDGE: Final = 1e-6
"""Pull of the rotation towards none, a video: it settles directions in which nothing lies."""


def measure_drift(now: VectorSet, keys: Int64s, after: Table, before: Table, seed: int) -> dict[str, Any]:
    """How the joint vectors and masks of a space differ from those of another.

    Args:
        now: joint vectors of the space.
        keys: of all its videos, int64, (n,), strictly increasing.
        after: its table.
        before: table of the other space.
        seed: of the sample of videos whose neighbours are compared.

    Returns:
        `videos` in both, `new`, `gone`; `vectors` that both have; `mask_changed` (share of the videos in
        both, None where there are none), `cosine` (mean, None where lengths differ), `aligned_cosine` (None
        where too few vectors fix a rotation), `overlap` (Jaccard of the nearest ten, with interval) and
        `overlap_chance`, both None under three vectors.
    """
    masks = _masks(after).join(_masks(before), on="video_key", suffix="_before")
    gone = len(_masks(before)) - len(masks)
    old = read_vectors(before, "joint", keys)
    ours, theirs = _common(now.rows, old.rows)
    a, b = now.vectors[ours], old.vectors[theirs]
    changed = masks["mask"].to_numpy() != masks["mask_before"].to_numpy()
    return {
        "videos": len(masks),
        "new": len(keys) - len(masks),
        "gone": gone,
        "vectors": len(a),
        "mask_changed": float(changed.mean()) if len(changed) else None,
        "cosine": mean_row_cosine(a, b) if len(a) and a.shape[1] == b.shape[1] else None,
        "aligned_cosine": aligned_cosine(a, b),
        **_overlap(a, b, seed),
    }


def mean_row_cosine(a: Floats, b: Floats) -> float:
    """Mean cosine of the rows of two matrices of unit rows, (m, d), m >= 1."""
    return float(np.einsum("nd,nd->n", a, b).mean(dtype=np.float64))


def aligned_cosine(a: Floats, b: Floats) -> float | None:
    """Mean cosine after the best orthogonal map of a's space on b's, each half rotated by the other's map.

    Args:
        a, b: unit rows of the same videos, (m, d_a) and (m, d_b).

    Returns:
        None where either half has fewer videos than there are dimensions.
    """
    half = len(a) // 2
    if not half or half < max(a.shape[1], b.shape[1]):
        return None
    folds = (slice(None, None, 2), slice(1, None, 2))
    total = 0.0
    for fit, test in (folds, folds[::-1]):
        turned = rotation(a[fit], b[fit]).astype(np.float32)
        for start in range(0, len(a[test]), BLOCK):
            part = slice(start, start + BLOCK)
            total += float(np.einsum("nd,nd->", a[test][part] @ turned, b[test][part], dtype=np.float64))
    return total / len(a)


def rotation(a: Floats, b: Floats) -> Doubles:
    """The matrix (d_a, d_b) with orthonormal rows or columns that brings rows of a nearest to those of b."""
    product = np.zeros((a.shape[1], b.shape[1]))
    for start in range(0, len(a), BLOCK):
        part = slice(start, start + BLOCK)
        product += a[part].astype(np.float64).T @ b[part].astype(np.float64)
    left, _, right = np.linalg.svd(product + RIDGE * len(a) * np.eye(*product.shape), full_matrices=False)
    return np.asarray(left @ right)


def jaccard(a: Int64s, b: Int64s) -> Doubles:
    """Shared over all, by row, of two tables of different numbers each, (q, k): [0, 1]."""
    both = np.sort(np.concatenate([a, b], axis=1), axis=1)
    shared = (np.diff(both, axis=1) == 0).sum(axis=1)
    return np.asarray(shared / np.maximum(both.shape[1] - shared, 1), np.float64)


def _overlap(a: Floats, b: Floats, seed: int) -> dict[str, Any]:
    if len(a) < 3:
        return {"overlap": None, "overlap_chance": None}
    rng = np.random.default_rng(seed)
    places = np.sort(rng.choice(len(a), min(QUERIES, len(a)), replace=False))
    found = nearest(a, places, K)[1]
    shares = jaccard(found, nearest(b, places, K)[1])
    draws = resample_means(shares[:, None], seed, RESAMPLES)[:, 0]
    said = asdict(percentile_interval(float(shares.mean()), draws, len(shares)))
    by_chance = found.shape[1] ** 2 / (len(a) - 1)
    said["videos"] = said.pop("users")
    return {"overlap": said, "overlap_chance": by_chance / (2 * found.shape[1] - by_chance)}


def _masks(table: Table) -> pl.DataFrame:
    return table.read(["video_key", "mask"]).unique("video_key", keep="last", maintain_order=True)


def _common(a: Int64s, b: Int64s) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of what both hold, in each of two strictly increasing lists."""
    return np.intersect1d(a, b, assume_unique=True, return_indices=True)[1:]
