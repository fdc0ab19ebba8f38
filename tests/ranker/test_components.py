"""Each component against a plain oracle of its formula."""

import numpy as np
import pytest
import torch
from scipy import sparse

from features.contracts import Context
from ranker.blend import fit_blend, mean_ndcg, ndcg_by_user, z_scores
from ranker.examples import interaction_matrix, positive_pairs, windows
from ranker.history_rows import NOTHING, history_rows, places
from ranker.index import build_index
from ranker.item_item import fit_covisitation, fit_ease, item_scores
from ranker.pipeline import histories_of, ranking_metrics
from ranker.popularity import freshness, popularity
from ranker.score import TREE_FEATURES
from ranker.trees import Examples, TreeSettings, judge_trees
from ranker.two_tower import TowerSettings, UserTower, VideoTower, train_towers
from ranker.user_vector import less, user_vectors, video_vectors

QUICK = TowerSettings(dim=16, epochs=2, min_steps=30, batch=128, negatives=40, threads=1)


@pytest.fixture
def seen() -> sparse.csr_matrix:
    draw = np.random.default_rng(1)
    return sparse.csr_matrix((draw.random((40, 12)) < 0.3).astype(np.float32))


def test_covisitation_counts_shared_viewers_with_less_weight_for_the_busy(seen: sparse.csr_matrix) -> None:
    graph = fit_covisitation(seen, user_power=1.0, source_norm=0.5).matrix.toarray()
    x = seen.toarray()
    weights = 1 / np.maximum(x.sum(1), 1)
    expected = (x.T * weights) @ x / np.sqrt(x.sum(0))[:, None]
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(graph, expected, rtol=1e-5, atol=1e-7)


def test_ease_is_the_ridge_regression_of_each_video_on_the_others(seen: sparse.csr_matrix) -> None:
    graph = fit_ease(seen, user_power=0.0, l2=3.0, threads=1).matrix.toarray()
    x = seen.toarray().astype(np.float64)
    for target in (0, 5):
        others = np.delete(np.arange(12), target)
        gram = x[:, others].T @ x[:, others] + 3.0 * np.eye(11)
        np.testing.assert_allclose(
            graph[others, target], np.linalg.solve(gram, x[:, others].T @ x[:, target]), rtol=1e-3, atol=1e-5
        )


def test_only_the_strongest_edges_are_kept(seen: sparse.csr_matrix) -> None:
    whole, cut = fit_covisitation(seen), fit_covisitation(seen, top=3)
    for row in range(12):
        strongest = np.sort(whole.neighbours(row)[1])[-3:]
        np.testing.assert_allclose(np.sort(cut.neighbours(row)[1]), strongest)


def test_item_scores_add_the_edges_of_liked_videos_and_fade_the_old(world) -> None:
    features = world()
    pairs = positive_pairs(features)
    graph = fit_covisitation(interaction_matrix(pairs, len(features.log.user_ids), len(features.videos)))
    history = history_rows(features.videos, histories_of(features, np.array([3], np.int64)))
    edges = graph.matrix.toarray()
    expected = sum(
        0.9**place * edges[row]
        for place, (row, liked) in enumerate(zip(history.rows[0], history.positive[0], strict=True))
        if liked
    )
    np.testing.assert_allclose(item_scores(graph, history, 0.9).toarray()[0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("times", [True, False])
def test_a_pairs_history_never_holds_its_target_or_the_future(world, times: bool) -> None:
    features = world(times=times)
    pairs = positive_pairs(features)
    rows, tokens = windows(pairs, np.arange(len(pairs)))
    assert not (rows == pairs.targets[:, None]).any()
    assert ((tokens == NOTHING) == (rows < 0)).all()
    log = features.log
    for pair in range(0, len(pairs), 37):
        part = slice(log.offsets[pairs.users[pair]], pairs.ends[pair])
        target = features.videos.keys[pairs.targets[pair]]
        own = slice(log.offsets[pairs.users[pair]], log.offsets[pairs.users[pair] + 1])
        first = log.ts_ms[own][log.video_keys[own] == target].min()
        assert not times or (log.ts_ms[part] < first).all()
        assert set(rows[pair][rows[pair] >= 0]) <= set(features.videos.rows_of(log.video_keys[own]))


def test_places_double() -> None:
    assert places(9).tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 4]


def test_the_towers_in_numpy_and_in_torch_agree(world) -> None:
    features = world()
    pairs = positive_pairs(features)
    generator = torch.Generator().manual_seed(0)
    video, user = VideoTower(features.videos, 16, generator), UserTower(16, True, generator)
    with torch.no_grad():
        user.place_weights.copy_(torch.linspace(0, -1, len(user.place_weights)))
    from ranker.two_tower import _export, without_padding

    tower = _export(video, user, np.ones(len(features.videos), bool))
    every, one = torch.arange(len(features.videos)), torch.ones(len(features.videos), 1)
    with torch.no_grad():
        wanted = video(every, dict.fromkeys(video.fusion.modalities, one), one)
    vectors = video_vectors(tower, features.videos)
    np.testing.assert_allclose(vectors, wanted.numpy(), atol=1e-5)
    history = history_rows(features.videos, histories_of(features, np.arange(5, dtype=np.int64)))
    with torch.no_grad():
        held = history.rows >= 0
        events = torch.from_numpy(history.rows[held].astype(np.int64))
        users = user(wanted, events, *without_padding(held, history.tokens))
    np.testing.assert_allclose(user_vectors(tower, vectors, history), users.numpy(), atol=1e-5)
    assert pairs.ordered


def test_the_same_seed_gives_the_same_towers_and_learns_the_topics(world) -> None:
    features = world(cold=8)
    pairs = positive_pairs(features)
    one, two = (train_towers(features.videos, pairs, QUICK) for _ in range(2))
    np.testing.assert_array_equal(one.tower.ids, two.tower.ids)
    assert not one.tower.ids[-8:].any()  # never watched: content alone speaks for them
    vectors = video_vectors(one.tower, features.videos)
    close = vectors @ vectors.T
    topic = np.arange(60) % 4
    same = topic[:, None] == topic[None]
    assert close[same].mean() > close[~same].mean() + 0.2
    mute = video_vectors(less(one.tower, frozenset({"visual", "audio"})), features.videos)
    assert not mute[-8:].any()


def test_popularity_counts_each_liker_once_and_halves_with_age(world) -> None:
    features = world(times=False)
    liked = features.interactions.filter(features.interactions["event"] != "skip")
    count = np.bincount(liked.unique(["user_id", "video_id"])["video_key"].to_numpy(), minlength=60)
    np.testing.assert_allclose(popularity(features), np.log1p(count), rtol=1e-6)
    assert (popularity(world()) < np.log1p(count.max()) + 1).all()


def test_what_is_not_out_yet_or_of_unknown_age_is_not_fresh() -> None:
    day = 86_400_000
    got = freshness(np.array([0, 10 * day, 7 * day, 11 * day]), np.array([10 * day] * 4))
    np.testing.assert_allclose(got, [0, 1, 0.5, 0])


def test_z_scores_are_per_user_and_ignore_the_padding() -> None:
    scores = np.array([[[1.0], [3.0], [99.0]], [[5.0], [5.0], [5.0]]], np.float32)
    present = np.array([[True, True, False], [True, True, True]])
    np.testing.assert_allclose(z_scores(scores, present)[:, :, 0], [[-1, 1, 0], [0, 0, 0]])


def test_the_blend_trusts_the_source_that_knows() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(80, 40)).astype(np.float32)
    z = np.stack([truth + draw.normal(0, 0.3, truth.shape), draw.normal(size=truth.shape)], 2).astype(
        np.float32
    )
    labels = (truth > 1.5).astype(np.float32)
    present = np.ones(truth.shape, bool)
    weights = fit_blend(z, labels, present)
    assert weights[0] > 3 * weights[1]
    assert mean_ndcg(z @ weights, labels, present, 20) > 0.8


def test_measures_agree_with_numbers_worked_by_hand() -> None:
    rows = np.array([[3, 1, 2], [0, 1, 2]], np.int32)
    relevant = [np.array([1, 9], np.int32), np.array([5], np.int32)]
    got = ranking_metrics(rows, relevant, 3)
    ideal = 1 + 1 / np.log2(3)
    assert got["recall@3"] == pytest.approx(0.25)
    assert got["ndcg@3"] == pytest.approx(0.5 * (1 / np.log2(3)) / ideal)
    scores = np.array([[0.1, 0.9, 0.5]], np.float32)
    labels = np.array([[0, 0, 1]], np.float32)
    assert ndcg_by_user(scores, labels, np.ones((1, 3), bool), 3)[0] == pytest.approx(1 / np.log2(3))


def test_inverted_lists_find_what_the_exact_search_finds() -> None:
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(20, 16))
    vectors = centres[draw.integers(0, 20, 4000)] + 0.3 * draw.normal(size=(4000, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    index = build_index(vectors, vectors[:50], exact_below=1000, threads=1)
    assert index.recall >= 0.99
    wanted = np.argsort(-(vectors[:20] @ vectors.T), axis=1)[:, :50]
    found = index.search(vectors[:20], 50)[1]
    shared = [len(np.intersect1d(a, b)) / 50 for a, b in zip(wanted, found, strict=True)]
    assert np.mean(shared) >= 0.95


@pytest.mark.parametrize("useful", [True, False])
def test_trees_are_used_only_when_they_prove_better(useful: bool) -> None:
    draw = np.random.default_rng(0)
    hidden = draw.random((200, 30)).astype(np.float32)
    features = draw.random((200, 30, len(TREE_FEATURES))).astype(np.float32)
    if useful:
        features[:, :, 0] = hidden
    labels = (hidden > 0.9).astype(np.float32)
    blend = draw.normal(0, 0.1, hidden.shape).astype(np.float32)
    examples = Examples(features, labels, blend, np.ones(hidden.shape, bool))
    verdict = judge_trees(examples, TreeSettings(rounds=20, threads=1))
    assert (verdict.booster is not None) == useful
    assert verdict.low <= verdict.gain <= verdict.high


def test_contexts_of_a_log_without_times_say_zero() -> None:
    assert Context.at(np.zeros(2, np.int64)).now_ms.tolist() == [0, 0]
