"""Diversity: a knob from "best scores only" to "unlike each other", and a cap that starves no slate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.diversify import diversify
from serving.score import Scored


def videos(vectors, creators=None):
    """Vectors and creators of a catalogue; nobody made a video unless creators are given."""
    given = np.full(len(vectors), -1) if creators is None else creators
    return np.asarray(vectors, np.float32), np.asarray(given, np.int32)


def scored(values):
    rows = np.arange(len(values), dtype=np.int32)
    return Scored(rows, np.asarray(values, np.float32), (("popular",),) * len(values))


def random_videos(rng, n):
    vectors = rng.normal(size=(n, 8))
    return videos(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rng.integers(-1, 4, n))


def test_weight_zero_keeps_the_order_of_the_scores():
    some = random_videos(np.random.default_rng(1), 40)
    picked = diversify(scored(np.linspace(5, 1, 40)), *some, 10, 0.0, creator_cap=100)
    assert picked.rows.tolist() == list(range(10))


def test_a_twin_of_the_first_gives_way_to_something_else():
    some = videos([[1, 0], [1, 0], [0, 1]])
    assert diversify(scored([1.0, 0.95, 0.8]), *some, 2, 0.0, 9).rows.tolist() == [0, 1]
    assert diversify(scored([1.0, 0.95, 0.1]), *some, 2, 0.6, 9).rows.tolist() == [0, 2]


def test_more_weight_never_makes_the_slate_more_alike():
    rng = np.random.default_rng(3)
    some = random_videos(rng, 60)
    alike = []
    for weight in (0.0, 0.3, 0.8):
        rows = diversify(scored(np.sort(rng.normal(size=60))[::-1]), *some, 10, weight, 99).rows
        cosines = some[0][rows] @ some[0][rows].T
        alike.append(cosines[np.triu_indices(10, 1)].mean())
    assert alike[0] >= alike[1] >= alike[2]


def test_a_creator_is_capped_while_others_are_left():
    some = videos(np.eye(6), creators=[0, 0, 0, 0, 1, -1])
    picked = diversify(scored([6, 5, 4, 3, 2, 1]), *some, 4, 0.0, creator_cap=2)
    assert picked.rows.tolist() == [0, 1, 4, 5]


def test_the_cap_gives_way_before_the_slate_stays_short():
    some = videos(np.eye(4), creators=[0, 0, 0, 0])
    picked = diversify(scored([4, 3, 2, 1]), *some, 4, 0.0, creator_cap=1)
    assert sorted(picked.rows.tolist()) == [0, 1, 2, 3]


@given(n=st.integers(0, 90), k=st.integers(1, 40), weight=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_slate_is_full_unique_and_of_the_candidates(n, k, weight, seed):
    rng = np.random.default_rng(seed)
    picked = diversify(
        scored(np.sort(rng.normal(size=n))[::-1]), *random_videos(rng, n), k, weight, creator_cap=2
    )
    assert len(picked.rows) == len(picked.scores) == len(picked.sources) == min(n, k)
    assert len(set(picked.rows.tolist())) == len(picked.rows)
    assert set(picked.rows.tolist()) <= set(range(n))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_videos_without_any_vector_are_served_too(weight):
    picked = diversify(scored([3, 2, 1]), *videos(np.zeros((3, 0))), 3, weight, 9)
    assert sorted(picked.rows.tolist()) == [0, 1, 2]
