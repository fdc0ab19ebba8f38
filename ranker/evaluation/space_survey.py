"""One pass over joint, visual, audio and text: retrieval, shape and examples, one in memory at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.contracts import Int64s
from ranker.evaluation.space_geometry import EXACT, measure_geometry
from ranker.evaluation.space_retrieval import K, measure_retrieval
from ranker.evaluation.space_truth import Truth
from ranker.evaluation.space_vectors import VectorSet, nearest

QUERIES: Final = 1_000
"""Of more than `EXACT` videos, this many ask."""
EXAMPLES: Final = 10
SHOWN: Final = 5
"""Neighbours of an example."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one space or modality is worth."""

    retrieval: dict[str, dict[str, Any] | None]
    """By truth; None where nobody who asks has anything to find."""
    geometry: dict[str, Any] | None
    """None under two vectors."""
    lost: dict[str, int]
    """Vectors that were left out: `empty` ones of no length, `broken` ones with NaN or infinity."""
    neighbours: dict[int, list[dict[str, Any]]]
    """`video_key` and `cosine` of the nearest of each example, by its key; absent where it has no vector."""


def draw_queries(n: int, seed: int) -> Int64s:
    """Rows that ask: all of at most `EXACT` videos, else a sample; increasing."""
    if n <= EXACT:
        return np.arange(n, dtype=np.int64)
    drawn = np.random.default_rng(seed).choice(n, QUERIES, replace=False)
    return np.sort(drawn).astype(np.int64)


def draw_examples(joint: VectorSet, space_version: str, seed: int) -> Int64s:
    """Rows of a few videos with a joint vector, others for each version of the space."""
    said = hashlib.blake2b(f"{seed} {space_version}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(said, "big"))
    drawn = rng.choice(len(joint), min(EXAMPLES, len(joint)), replace=False)
    return np.sort(joint.rows[drawn])


def survey(
    held: VectorSet, keys: Int64s, queries: Int64s, examples: Int64s, truths: list[Truth], seed: int
) -> Survey:
    """Retrieval against each truth, shape, and the neighbours of the examples.

    Args:
        held: vectors of a space or modality.
        keys: of all videos, int64, (n,), strictly increasing.
        queries: rows that ask; those without a vector here are passed over.
        examples: rows whose neighbours are shown.
        truths: what belongs together.
        seed: of samples and resamples.
    """
    places = held.places_of(queries)
    cosine, found = nearest(held.vectors, places, K)
    asks = bool(found.size)
    return Survey(
        {
            truth.name: measure_retrieval(held, places, found, truth, len(keys), seed) if asks else None
            for truth in truths
        },
        measure_geometry(held, cosine[:, 0] if asks else np.zeros(0, np.float32), seed),
        {"empty": held.empty, "broken": held.broken},
        _neighbours(held, keys, held.places_of(examples)),
    )


def _neighbours(held: VectorSet, keys: Int64s, places: Int64s) -> dict[int, list[dict[str, Any]]]:
    cosine, found = nearest(held.vectors, places, SHOWN)
    return {
        int(keys[held.rows[place]]): [
            {"video_key": int(keys[held.rows[at]]), "cosine": round(float(value), 6)}
            for at, value in zip(found[i], cosine[i], strict=True)
        ]
        for i, place in enumerate(places)
    }
