"""Ranking metrics against a slow reading of their definitions, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import NO_KEY, Int64s
from features.errors import BadInput
from ranker.evaluation import metrics, spread
from ranker.evaluation.metrics import METRICS, KeySets, find_hits, judge, measure

slates = st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True)
truths = st.sets(st.integers(0, 30), min_size=1, max_size=12)


def _slow(name: str, slate: list[int], truth: set[int], k: int) -> float:
    hits = [key in truth for key in slate] + [False] * (k - len(slate))
    if name == "recall":
        return sum(hits) / len(truth)
    if name == "precision":
        return sum(hits) / k
    if name == "hit_rate":
        return float(any(hits))
    if name == "mrr":
        return next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
    if name == "map":
        return sum(sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1) if hit) / len(truth)
    gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits, 1) if hit)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(truth)) + 1))


def _padded(rows: list[list[int]], k: int) -> Int64s:
    return np.array([[*row, *[NO_KEY] * (k - len(row))] for row in rows], np.int64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(slates, truths), min_size=1, max_size=6))
def test_every_metric_equals_its_definition_read_slowly(users: list[tuple[list[int], set[int]]]) -> None:
    ranked = _padded([slate for slate, _ in users], 8)
    found = measure(judge(ranked, KeySets.of([np.array(sorted(truth)) for _, truth in users])))
    wanted = [[_slow(name, slate, truth, 8) for name in METRICS] for slate, truth in users]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-12


def test_a_slate_worked_out_by_hand() -> None:
    judged = judge(np.array([[5, 8, 2, 9]]), KeySets.of([np.array([8, 9, 40])]))
    assert metrics.recall(judged) == pytest.approx([2 / 3])
    assert metrics.precision(judged) == pytest.approx([1 / 2])
    assert metrics.reciprocal_rank(judged) == pytest.approx([1 / 2])
    assert metrics.average_precision(judged) == pytest.approx([(1 / 2 + 2 / 4) / 3])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.ndcg(judged) == pytest.approx([(1 / math.log2(3) + 1 / math.log2(5)) / ideal])


def test_the_best_slate_scores_one_and_users_do_not_leak_into_each_other() -> None:
    judged = judge(np.array([[1, 2], [1, 2]]), KeySets.of([np.array([1, 2]), np.array([3])]))
    assert metrics.ndcg(judged).tolist() == [1.0, 0.0]
    assert metrics.recall(judged).tolist() == [1.0, 0.0]


def test_slates_are_looked_up_alike_in_one_batch_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    ranked = np.argsort(draw.random((50, 40)), axis=1)[:, :7].astype(np.int64)
    sets = KeySets.of(
        [draw.choice(40, draw.integers(0, 9), replace=False).astype(np.int64) for _ in range(50)]
    )
    at_once = find_hits(ranked, sets)
    monkeypatch.setattr(metrics, "BATCH", 7)
    assert (find_hits(ranked, sets) == at_once).all()


def test_a_video_shown_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="show a video twice"):
        judge(np.array([[3, 3]]), KeySets.of([np.array([3])]))


def test_slates_of_other_users_than_the_truth_are_refused() -> None:
    with pytest.raises(BadInput, match=r"expected \(2, k\)"):
        judge(np.array([[3, 4]]), KeySets.of([np.array([3]), np.array([4])]))


def test_only_keeps_the_marked_keys_of_each_user() -> None:
    sets = KeySets.of([np.array([1, 2]), np.array([], np.int64), np.array([3])])
    kept = sets.only(np.array([False, True, True]))
    assert kept.sizes.tolist() == [1, 0, 1]
    assert kept.keys.tolist() == [2, 3]


def test_coverage_and_gini_of_even_and_of_uneven_exposure() -> None:
    even = spread.exposure_counts(np.array([[0, 1], [2, 3]], np.int32), 4)
    assert spread.coverage(even) == 1.0
    assert spread.gini(even) == 0.0
    uneven = spread.exposure_counts(np.array([[0, -1], [0, -1]], np.int32), 4)
    assert spread.coverage(uneven) == 0.25
    assert spread.gini(uneven) == pytest.approx(0.75)
    assert spread.gini(np.zeros(3, np.int64)) == 0.0


def test_diversity_is_the_mean_over_pairs_and_leaves_videos_without_a_vector_out() -> None:
    draw = np.random.default_rng(2)
    vectors = draw.normal(size=(9, 5))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors[8] = 0
    rows = np.array([[0, 3, 5, 8], [2, -1, -1, -1], [7, 1, -1, 8]], np.int32)
    pairs = [(0, 3), (0, 5), (3, 5)]
    found = spread.intra_list_diversity(rows, vectors)
    assert found[0] == pytest.approx(np.mean([1 - vectors[i] @ vectors[j] for i, j in pairs]), abs=1e-6)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(1 - vectors[7] @ vectors[1], abs=1e-6)


def test_novelty_is_the_information_of_a_video_and_larger_for_the_less_known() -> None:
    found = spread.novelty(np.array([[0, -1], [1, -1], [-1, -1]], np.int32), np.array([7, 0]), 7)
    assert found[0] == pytest.approx(0.0)
    assert found[1] == pytest.approx(3.0)
    assert np.isnan(found[2])


def test_creator_concentration_is_the_largest_share_of_one_creator() -> None:
    creators = np.array([4, 4, 5, -1], np.int32)
    found = spread.creator_concentration(np.array([[0, 1, 2, 3], [3, -1, -1, -1]], np.int32), creators)
    assert found[0] == pytest.approx(2 / 3)
    assert np.isnan(found[1])
    assert spread.mean_or_none(found) == pytest.approx(2 / 3)
    assert spread.mean_or_none(found[1:]) is None
