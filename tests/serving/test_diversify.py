"""Diversity: one knob from "best scores only" to "unlike each other", and a cap on creators that never starves a slate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import VideoTable
from serving.diversify import diversify
from serving.score import Scored


def table(joint, creators=None):
    n = len(joint)
    return VideoTable(
        keys=np.arange(n, dtype=np.int64), ids=tuple(f"v{i}" for i in range(n)), vectors={},
        joint=np.asarray(joint, np.float32), mask=np.ones(n, np.uint8), agreement=np.full(n, np.nan, np.float32),
        duration_s=np.full(n, np.nan, np.float32), published_ms=np.zeros(n, np.int64),
        creators=np.full(n, -1, np.int32) if creators is None else np.asarray(creators, np.int32), tags=((),) * n,
    )  # fmt: skip


def scored(values):
    rows = np.arange(len(values), dtype=np.int32)
    return Scored(rows, np.asarray(values, np.float32), (("popular",),) * len(values))


def random_table(rng, n):
    vectors = rng.normal(size=(n, 8))
    return table(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rng.integers(-1, 4, n))


def test_weight_zero_keeps_the_order_of_the_scores():
    videos = random_table(np.random.default_rng(1), 40)
    picked = diversify(scored(np.linspace(5, 1, 40)), videos, 10, 0.0, creator_cap=100)
    assert picked.rows.tolist() == list(range(10))


def test_a_twin_of_the_first_gives_way_to_something_else():
    videos = table([[1, 0], [1, 0], [0, 1]])
    assert diversify(scored([1.0, 0.95, 0.8]), videos, 2, 0.0, 9).rows.tolist() == [0, 1]
    assert diversify(scored([1.0, 0.95, 0.1]), videos, 2, 0.6, 9).rows.tolist() == [0, 2]


def test_more_weight_never_makes_the_slate_more_alike():
    rng = np.random.default_rng(3)
    videos = random_table(rng, 60)
    alike = []
    for weight in (0.0, 0.3, 0.8):
        rows = diversify(scored(np.sort(rng.normal(size=60))[::-1]), videos, 10, weight, 99).rows
        cosines = videos.joint[rows] @ videos.joint[rows].T
        alike.append(cosines[np.triu_indices(10, 1)].mean())
    assert alike[0] >= alike[1] >= alike[2]


def test_a_creator_is_capped_while_others_are_left():
    videos = table(np.eye(6), creators=[0, 0, 0, 0, 1, -1])
    picked = diversify(scored([6, 5, 4, 3, 2, 1]), videos, 4, 0.0, creator_cap=2)
    assert picked.rows.tolist() == [0, 1, 4, 5]


def test_the_cap_gives_way_before_the_slate_stays_short():
    videos = table(np.eye(4), creators=[0, 0, 0, 0])
    picked = diversify(scored([4, 3, 2, 1]), videos, 4, 0.0, creator_cap=1)
    assert sorted(picked.rows.tolist()) == [0, 1, 2, 3]


@given(n=st.integers(0, 90), k=st.integers(1, 40), weight=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_slate_is_full_unique_and_of_the_candidates(n, k, weight, seed):
    rng = np.random.default_rng(seed)
    picked = diversify(
        scored(np.sort(rng.normal(size=n))[::-1]), random_table(rng, n), k, weight, creator_cap=2
    )
    assert len(picked.rows) == len(picked.scores) == len(picked.sources) == min(n, k)
    assert len(set(picked.rows.tolist())) == len(picked.rows)
    assert set(picked.rows.tolist()) <= set(range(n))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_videos_without_any_vector_are_served_too(weight):
    picked = diversify(scored([3, 2, 1]), table(np.zeros((3, 0))), 3, weight, 9)
    assert sorted(picked.rows.tolist()) == [0, 1, 2]
