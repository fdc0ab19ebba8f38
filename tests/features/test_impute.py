"""Missing vectors come from neighbours: planted graphs whose answer is known, and what holds for any."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.contracts import Floats
from features.errors import BadInput
from features.impute import neighbour_means
from features.impute_across import impute
from features.neighbours import Neighbours, neighbours_of


def graph(n: int, edges: list[tuple[int, int, float]]) -> Neighbours:
    """Edges (from, to, weight) between n videos whose keys are their rows."""
    sources, targets, weights = (np.array([edge[i] for edge in edges]) for i in range(3))
    keys = np.arange(n, dtype=np.int64)
    return neighbours_of(keys, sources.astype(np.int64), targets.astype(np.int64), weights.astype(np.float32))


def unit(rows: npt.ArrayLike) -> Floats:
    rows = np.asarray(rows, np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Floats, Neighbours]:
    """Vectors, some missing, and a graph between them."""
    n = draw(st.integers(1, 12))
    raw = draw(hnp.arrays(np.float32, (n, 3), elements=st.floats(-1, 1, width=32)))
    raw = np.where(np.linalg.norm(raw, axis=1, keepdims=True) > 0.1, raw, np.float32(0))
    vectors = np.where(raw.any(axis=1, keepdims=True), raw, 0) / np.maximum(
        np.linalg.norm(raw, axis=1, keepdims=True), 0.1
    )
    row = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(row, row, st.floats(0.01, 100)), max_size=30, unique_by=lambda e: e[:2]))
    return vectors.astype(np.float32), graph(n, edges or [(0, 0, 1.0)])


@given(worlds())
def test_present_rows_stay_and_filled_rows_are_unit(world: tuple[Floats, Neighbours]) -> None:
    vectors, neighbours = world
    before = vectors.copy()
    filled, imputed = neighbour_means(vectors, neighbours)
    there = vectors.any(axis=1)
    assert np.array_equal(vectors, before), "the argument is not changed"
    assert np.array_equal(filled[there], vectors[there])
    assert not (imputed & there).any()
    assert np.isfinite(filled).all()
    assert np.linalg.norm(filled[imputed], axis=1) == pytest.approx(1.0, abs=1e-5)
    assert not filled[~there & ~imputed].any()


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_videos_does_not_matter(world: tuple[Floats, Neighbours], random: object) -> None:
    vectors, neighbours = world
    n = len(vectors)
    order = np.array(sorted(range(n), key=lambda _: random.random()))  # type: ignore[attr-defined]
    place = np.argsort(order)
    sources = np.repeat(np.arange(n), np.diff(neighbours.offsets))
    edges = zip(place[sources], place[neighbours.rows], neighbours.weights, strict=True)
    moved = graph(n, [(int(a), int(b), float(w)) for a, b, w in edges] or [(0, 0, 1.0)])
    filled, imputed = neighbour_means(vectors, neighbours)
    again, imputed_again = neighbour_means(vectors[order], moved)
    sure = (
        np.linalg.norm(filled, axis=1) > 0
    )  # a mean that all but cancels may fall on either side of the bound
    assert np.allclose(again[sure[order]], filled[order][sure[order]], atol=2e-2)
    assert (imputed_again == imputed[order]).all() or not sure.all()


@given(st.integers(2, 9), hnp.arrays(np.float32, 4, elements=st.floats(0.25, 1, width=32)))
def test_the_mean_of_identical_neighbours_is_that_vector(count: int, raw: Floats) -> None:
    one = unit(raw)
    elsewhere = unit(np.eye(4) * [1, -1, 1, -1])
    vectors = np.concatenate([np.zeros((1, 4), np.float32), np.repeat(one[None], count, axis=0), elsewhere])
    neighbours = graph(len(vectors), [(0, 1 + i, 0.5 + i) for i in range(count)])
    filled, imputed = neighbour_means(vectors, neighbours)
    assert imputed.tolist() == [True] + [False] * (len(vectors) - 1)
    assert filled[0] == pytest.approx(one, abs=1e-4)


def test_neighbours_that_disagree_are_drawn_towards_what_all_videos_share() -> None:
    rng = np.random.default_rng(3)
    crowd = unit(rng.normal(size=(40, 8)) + 3.0 * np.eye(8)[0])
    centre = unit(crowd.mean(axis=0))
    vectors = np.concatenate([np.zeros((1, 8), np.float32), crowd])
    few = graph(
        41, [(0, 1, 1.0), (0, 2, 1.0), *((i, j, 1.0) for i in range(1, 41) for j in (1, 2, 3, 4) if i != j)]
    )
    plain = unit(crowd[0] + crowd[1])
    filled, _ = neighbour_means(vectors, few)
    assert filled[0] @ centre > plain @ centre + 0.01


def test_a_heavier_edge_counts_for_more() -> None:
    vectors = unit([[1, 0.2, 0], [1, -0.2, 0], [-1, 0, 0.3], [-1, 0, -0.3]])
    vectors = np.concatenate([np.zeros((1, 3), np.float32), vectors])
    filled, _ = neighbour_means(vectors, graph(5, [(0, 1, 3.0), (0, 2, 1.0)]))
    assert filled[0] @ vectors[1] > filled[0] @ vectors[2] > 0.8


def test_a_second_hop_reaches_further_and_no_hop_reaches_nothing() -> None:
    vectors = np.array([[0, 0], [0, 0], [0.6, 0.8], [0, 0]], np.float32)
    chain = graph(4, [(0, 1, 1.0), (1, 2, 1.0)])
    reached = [neighbour_means(vectors, chain, rounds=rounds)[1].tolist() for rounds in (0, 1, 2)]
    assert reached == [[False] * 4, [False, True, False, False], [True, True, False, False]]
    assert neighbour_means(vectors, chain)[0][:2] == pytest.approx(np.array([[0.6, 0.8]] * 2))


def test_a_video_without_a_neighbour_stays_missing() -> None:
    vectors = np.array([[0, 0], [1, 0]], np.float32)
    filled, imputed = neighbour_means(vectors, graph(2, [(1, 0, 1.0)]))
    assert not imputed.any()
    assert np.array_equal(filled, vectors)


def test_neighbours_that_cancel_say_nothing() -> None:
    vectors = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    assert not neighbour_means(vectors, graph(3, [(0, 1, 1.0), (0, 2, 1.0)]))[1].any()


def test_many_edges_are_looked_at_in_portions_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, neighbours, _ = topics(300, 0.5)
    whole = neighbour_means(vectors["audio"], neighbours)
    monkeypatch.setattr("features.impute.PORTION_EDGES", 64)
    parts = neighbour_means(vectors["audio"], neighbours)
    assert np.allclose(whole[0], parts[0], atol=1e-6)
    assert (whole[1] == parts[1]).all()


def test_a_graph_of_other_videos_and_broken_vectors_are_refused() -> None:
    edges = graph(2, [(0, 1, 1.0)])
    with pytest.raises(BadInput, match="3 vectors do not go with neighbours of 2 videos"):
        neighbour_means(np.zeros((3, 2), np.float32), edges)
    with pytest.raises(BadInput, match="NaN or infinity"):
        neighbour_means(np.array([[np.nan, 0], [1, 0]], np.float32), edges)
    with pytest.raises(BadInput, match="at least 0, got -1"):
        neighbour_means(np.zeros((2, 2), np.float32), edges, rounds=-1)
    with pytest.raises(BadInput, match="above 0"):
        graph(2, [(0, 1, 0.0)])


def test_edges_to_videos_that_are_not_in_the_table_are_left_out() -> None:
    found = neighbours_of(
        np.array([10, 20, 30]),
        np.array([30, 10, 10, 99, 20]),
        np.array([10, 30, 20, 10, 7]),
        np.ones(5, np.float32),
    )
    assert found.offsets.tolist() == [0, 2, 2, 3]
    assert found.rows.tolist() == [1, 2, 0]


def topics(
    n: int, missing: float, *, detail: float = 0.8, unwatched: int = 90
) -> tuple[dict[str, Floats], Neighbours, Floats]:
    """Vectors that show a topic, `audio` missing for a share, edges within topics, and the whole `audio`.

    What else a video shows is the same in picture and sound; the last `unwatched` videos have no edge.
    """
    rng = np.random.default_rng(5)
    topic = rng.integers(0, 4, n)
    centres, own = rng.normal(size=(2, 4, 8)), rng.normal(size=(n, 8)) * detail
    visual, audio = unit(centres[0, topic] + own), unit(centres[1, topic] + own)
    edges = []
    for row in range(n - unwatched):
        same = np.flatnonzero(topic[: n - unwatched] == topic[row])
        edges += [(row, int(other), 1.0) for other in rng.choice(same, 6, replace=False)]
    gone = rng.random(n) < missing
    held = {"visual": visual, "audio": np.where(gone[:, None], 0, audio).astype(np.float32)}
    return {**held, "text": np.zeros((n, 0), np.float32)}, graph(n, edges), audio


def test_the_other_modalities_are_asked_where_they_say_more_than_neighbours() -> None:
    vectors, neighbours, audio = topics(900, 0.5)
    found = impute(vectors, neighbours)
    gone = ~vectors["audio"].any(axis=1)
    said = found.said["audio"]
    assert said["method"] == "across"
    assert said["cosine_across"] > said["cosine_rival"]
    assert (found.imputed == np.where(gone, 2, 0)).all(), "videos without neighbours are filled in too"
    alone, reached = neighbour_means(vectors["audio"], neighbours)
    gain = (found.vectors["audio"] * audio).sum(axis=1) - (alone * audio).sum(axis=1)
    assert gain[reached].mean() > 0.02
    assert found.vectors["visual"] is vectors["visual"]
    assert list(found.said) == ["audio"]


def test_neighbours_stand_where_the_other_modalities_say_no_more() -> None:
    vectors, neighbours, _ = topics(900, 0.5, detail=0.0, unwatched=0)
    noise = unit(np.random.default_rng(6).normal(size=(900, 8)))
    found = impute({**vectors, "visual": noise}, neighbours)
    assert found.said["audio"]["method"] == "neighbours"
    expected, reached = neighbour_means(vectors["audio"], neighbours)
    assert np.array_equal(found.vectors["audio"], expected)
    assert ((found.imputed & 2) > 0).tolist() == reached.tolist()


def test_a_catalogue_that_lacks_nothing_or_everything_is_left_alone() -> None:
    vectors, neighbours, audio = topics(60, 0.5, unwatched=6)
    whole = impute({"visual": vectors["visual"], "audio": audio, "text": vectors["text"]}, neighbours)
    assert not whole.imputed.any()
    assert whole.said == {}
    assert whole.vectors["audio"] is audio
    nothing = impute({name: np.zeros((60, 0), np.float32) for name in vectors}, neighbours)
    assert not nothing.imputed.any()


def test_without_a_graph_the_other_modalities_alone_are_asked() -> None:
    vectors, _, audio = topics(900, 0.5)
    found = impute(vectors, None)
    gone = ~vectors["audio"].any(axis=1)
    assert found.said["audio"]["method"] == "across"
    assert (found.imputed == np.where(gone, 2, 0)).all()
    assert (found.vectors["audio"] * audio).sum(axis=1)[gone].mean() > 0.8
    noise = unit(np.random.default_rng(6).normal(size=(900, 8)))
    nothing = impute({**vectors, "visual": noise}, None)
    assert nothing.said["audio"]["method"] == "none"
    assert not nothing.imputed.any()
