"""Retrieval, shape and drift of a space, each against brute force or a planted answer."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from features.contracts import Floats
from ranker.evaluation.space_drift import aligned_cosine, jaccard, rotation
from ranker.evaluation.space_geometry import (
    mean_cosine,
    measure_geometry,
    participation_ratio,
    skewness,
)
from ranker.evaluation.space_retrieval import K, measure_retrieval
from ranker.evaluation.space_survey import draw_examples, draw_queries
from ranker.evaluation.space_truth import Linked, SharedLabels, shared_labels
from ranker.evaluation.space_vectors import VectorSet, nearest, unit_set


def _unit(rows: np.ndarray) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _random(n: int, d: int, seed: int = 0) -> Floats:
    return _unit(np.random.default_rng(seed).standard_normal((n, d)))


def _set(vectors: Floats) -> VectorSet:
    return VectorSet(np.arange(len(vectors)), vectors, 0, 0)


def _labels(pairs: list[tuple[int, str]], n: int, *, whole: bool = True) -> SharedLabels | None:
    frame = pl.DataFrame(
        {"video_key": [key for key, _ in pairs], "label": [label for _, label in pairs]},
        schema={"video_key": pl.Int64, "label": pl.String},
    )
    return shared_labels("tags", frame, np.arange(n), whole=whole)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 12), st.integers(0, 99))
def test_the_nearest_are_those_of_brute_force_and_never_the_video_itself(
    n: int, d: int, k: int, seed: int
) -> None:
    vectors = _random(n, d, seed)
    vectors[n // 2 :] = vectors[: n - n // 2]  # equal vectors must not bring a video back to itself
    places = np.arange(0, n, 2)
    cosine, found = nearest(vectors, places, k)
    assert found.shape == (len(places), min(k, n - 1))
    for row, place in enumerate(places):
        others = np.sort(np.delete(vectors @ vectors[place], place))[::-1]
        np.testing.assert_allclose(cosine[row], others[:k], atol=1e-5)
        assert place not in found[row]
        assert len(set(found[row])) == found.shape[1]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcdef")), max_size=25), st.integers(0, 99))
def test_shared_labels_count_and_judge_as_sets_do(pairs: list[tuple[int, str]], seed: int) -> None:
    truth = _labels(pairs, 10)
    carried = [{label for key, label in pairs if key == video} for video in range(10)]
    rng = np.random.default_rng(seed)
    among, queries, found = rng.random(10) < 0.7, np.arange(10), rng.integers(10, size=(10, 4))
    belong = [[bool(a & b) for b in carried] for a in carried]
    if truth is None:
        assert not any(belong[a][b] for a, b in combinations(range(10), 2))
        return
    wanted = [sum(belong[a][b] for b in range(10) if b != a and among[b]) for a in range(10)]
    assert truth.count(queries, among).tolist() == wanted
    judged = truth.judge(queries, found)
    for query, place in np.argwhere(found != queries[:, None]):  # the search never gives a video itself
        assert judged[query, place] == belong[query][found[query, place]]


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1), st.integers(0, 99))
def test_links_count_and_judge_as_a_set_of_pairs_does(pairs: set[tuple[int, int]], seed: int) -> None:
    truth = Linked("audience", np.unique([a * 8 + b for a, b in pairs]), 8)
    rng = np.random.default_rng(seed)
    among, queries, found = rng.random(8) < 0.7, np.arange(8), rng.integers(8, size=(8, 5))
    assert truth.count(queries, among).tolist() == [
        sum(a == q and bool(among[b]) for a, b in pairs) for q in queries
    ]
    assert truth.judge(queries, found).tolist() == [[(q, int(i)) in pairs for i in found[q]] for q in queries]


def test_a_label_that_most_videos_carry_says_nothing_and_one_carrier_is_no_pair() -> None:
    common = [(video, "all") for video in range(20)]
    alone = [(video, f"own{video}") for video in range(20)]
    assert _labels(common + alone, 20, whole=False) is None
    truth = _labels([*common, (3, "rare"), (4, "rare")], 20, whole=False)
    assert truth is not None
    assert truth.count(np.array([3, 5]), np.ones(20, bool)).tolist() == [1, 0]


def test_vectors_that_show_the_topic_find_all_of_it_and_random_ones_what_chance_finds() -> None:
    topics = np.arange(300) % 6
    truth = _labels([(video, f"t{topic}") for video, topic in enumerate(topics)], 300)
    assert truth is not None
    for vectors, low, high in ((_unit(np.eye(6)[topics] + 1e-3), 1.0, 1.0), (_random(300, 16), 0.14, 0.19)):
        found = nearest(vectors, np.arange(300), K)[1]
        said = measure_retrieval(_set(vectors), np.arange(300), found, truth, 300, seed=1)
        assert said is not None
        assert low <= said["value"] <= high
        assert said["chance"] == pytest.approx(49 / 299)
        assert said["videos"] == 300
        assert said["low"] <= said["value"] <= said["high"]


def test_a_group_smaller_than_ten_is_found_whole_and_videos_without_a_group_do_not_count() -> None:
    vectors = _random(40, 8)
    vectors[1] = vectors[0]
    truth = _labels([(0, "pair"), (1, "pair"), (7, "alone")], 40)
    assert truth is not None
    found = nearest(vectors, np.arange(40), K)[1]
    said = measure_retrieval(_set(vectors), np.arange(40), found, truth, 40, seed=1)
    assert said is not None
    assert (said["value"], said["videos"]) == (1.0, 2)
    assert said["chance"] == pytest.approx(10 / 39)
    assert measure_retrieval(_set(vectors), np.array([7]), found[[7]], truth, 40, seed=1) is None


def test_effective_dimensions_are_the_number_of_equal_eigenvalues() -> None:
    assert participation_ratio(np.diag([2.0] * 5 + [0.0] * 9)) == pytest.approx(5)
    assert participation_ratio(np.diag([1.0, 1e-9])) == pytest.approx(1)
    assert participation_ratio(np.zeros((3, 3))) == 0.0


@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 99))
def test_the_mean_cosine_is_that_of_all_pairs(n: int, d: int, seed: int) -> None:
    vectors = _random(n, d, seed).astype(np.float64)
    pairs = [float(vectors[a] @ vectors[b]) for a, b in combinations(range(n), 2)]
    assert mean_cosine(vectors.mean(axis=0), n) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_skewness_is_that_of_scipy_and_0_where_all_are_equal() -> None:
    counts = np.random.default_rng(3).poisson(3, 200).astype(np.float64)
    assert skewness(counts) == pytest.approx(stats.skew(counts))
    assert skewness(np.full(9, 4.0)) == 0.0


def test_a_planted_hub_shows_in_the_shape_and_an_even_space_has_none() -> None:
    even = _random(400, 16)
    hubs = _unit(
        np.concatenate([np.eye(16)[np.arange(400) % 16] * 0.5 + even * 0.02 + 1.0, np.ones((4, 16))])
    )
    shapes = [measure_geometry(_set(vectors), np.zeros(4, np.float32), 0) for vectors in (even, hubs)]
    assert shapes[0] is not None
    assert shapes[1] is not None
    assert shapes[0]["effective_dim"] > 14
    assert abs(shapes[0]["mean_cosine"]) < 0.01
    assert shapes[1]["mean_cosine"] > 0.9
    assert measure_geometry(_set(even[:1]), np.zeros(0, np.float32), 0) is None


def test_vectors_without_direction_or_with_nan_are_left_out_and_counted() -> None:
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 0], [0, -2]], np.float32)
    made = unit_set(np.array([2, 5, 6, 8, 9]), rows)
    assert made.rows.tolist() == [2, 9]
    np.testing.assert_allclose(made.vectors, [[0.6, 0.8], [0, -1]], atol=1e-6)
    assert (made.empty, made.broken) == (1, 2)
    assert made.places_of(np.array([1, 2, 3, 9])).tolist() == [0, 1]


def test_a_rotated_space_is_the_same_after_alignment_and_an_unrelated_one_is_not() -> None:
    a = _random(600, 12)
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12)))[0]
    turned = _unit(a @ turn)
    np.testing.assert_allclose(rotation(a, turned), turn, atol=1e-3)
    assert aligned_cosine(a, turned) == pytest.approx(1.0, abs=1e-5)
    assert abs(float(np.einsum("nd,nd->n", a, turned).mean())) < 0.5
    unrelated = aligned_cosine(a, _random(600, 12, seed=9))
    assert unrelated is not None
    assert abs(unrelated) < 0.1


def test_alignment_bears_another_length_and_says_nothing_of_too_few_videos() -> None:
    a = _random(200, 8)
    longer = np.concatenate([a, np.zeros((200, 4), np.float32)], axis=1)
    assert aligned_cosine(a, longer) == pytest.approx(1.0, abs=1e-5)
    assert aligned_cosine(longer, a) == pytest.approx(1.0, abs=1e-5)
    assert aligned_cosine(a[:15], a[:15]) is None
    assert aligned_cosine(a[:0], a[:0]) is None


@given(st.integers(1, 8), st.integers(0, 99))
def test_jaccard_is_that_of_sets(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.stack([rng.permutation(12)[:k] for _ in range(5)]) for _ in range(2))
    wanted = [
        len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert jaccard(a, b).tolist() == pytest.approx(wanted)


def test_all_ask_in_a_small_space_and_a_sorted_sample_in_a_large_one() -> None:
    assert draw_queries(20_000, 7).tolist() == list(range(20_000))
    sample = draw_queries(20_001, 7)
    assert len(sample) == 1_000
    assert (np.diff(sample) > 0).all()
    assert draw_queries(20_001, 8).tolist() != sample.tolist()


def test_another_version_of_a_space_shows_other_videos_and_the_same_one_the_same() -> None:
    joint = _set(_random(200, 4))
    drawn = [draw_examples(joint, version, 7).tolist() for version in ("space-a", "space-a", "space-b")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10
