"""Tiny corpora whose topics are known: each modality shows the topic of its video in its own way."""

from __future__ import annotations

import numpy as np

from features.contracts import Floats, Int64s
from ingest.encoders.projector import unit_rows

TOPICS = 6
SIZES = {"visual": 24, "audio": 20, "text": 16}


def planted(
    n: int = 240, *, related: bool = True, missing: float = 0.1, seed: int = 0
) -> tuple[dict[str, Floats], Int64s]:
    """Three modalities of n videos, and the topics; a share of each modality is missing."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, TOPICS, n)
    vectors = {}
    for modality, size in SIZES.items():
        shown = topics if related else rng.integers(0, TOPICS, n)
        rows = rng.standard_normal((TOPICS, size))[shown] + 0.7 * rng.standard_normal((n, size)) + 1.0
        rows[rng.random(n) < missing] = 0.0
        vectors[modality] = unit_rows(rows.astype(np.float32))
    return vectors, topics


def anchored(n: int = 240, seed: int = 0) -> tuple[dict[str, Floats], Int64s]:
    """As of a model of pictures and words: both in one space, each in its own cone; sounds are elsewhere.

    Where the cones lie says nothing of topics: eight axes are theirs, the other 24 show what is meant.
    """
    rng = np.random.default_rng(seed)
    vectors, topics = planted(n, seed=seed)
    meant = np.arange(32) < 24
    looks = rng.standard_normal((TOPICS, 32)) * meant
    for modality in ("visual", "text"):
        cone = 4.0 * rng.standard_normal(32) * ~meant
        rows = looks[topics] + cone + 0.5 * rng.standard_normal((n, 32))
        rows[~vectors[modality].any(axis=1)] = 0.0
        vectors[modality] = unit_rows(rows.astype(np.float32))
    return vectors, topics


def topic_precision(asked: Floats, shown: Floats, topics: Int64s, k: int = 10) -> float:
    """Share of the k nearest (cosine) in `shown` with the topic of the row that asks, zero rows aside."""
    asks, there = np.flatnonzero(asked.any(axis=1)), np.flatnonzero(shown.any(axis=1))
    cosine = asked[asks] @ shown[there].T
    cosine[asks[:, None] == there[None, :]] = -2.0
    nearest = there[np.argsort(-cosine, axis=1)[:, :k]]
    return float((topics[nearest] == topics[asks][:, None]).mean())
