"""The table of videos with the same viewers: its weights, its bounds, and that nothing held out is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.contracts import Floats
from features.errors import BadInput
from features.neighbours import Neighbours
from features.pipeline import FeatureSet
from features.tables import Table
from features.workspace import Workspace
from ranker.bundle import load_bundle
from ranker.examples import interaction_matrix, positive_pairs
from ranker.item_graph import fill_missing, fit_item_graph, learnt_until, write_item_graph
from ranker.pipeline import TrainSettings, train
from ranker.splits import Holdout, restrict, split

World = Callable[..., FeatureSet]
QUICK = TrainSettings(epochs=1, dim=8, threads=1, candidates=40, impute="neighbours")


def fitted(features: FeatureSet, top: int = 50) -> Neighbours:
    return fit_item_graph(positive_pairs(features), len(features.log.user_ids), len(features.videos), top=top)


def dense(graph: Neighbours) -> Floats:
    n = len(graph)
    out = np.zeros((n, n), np.float32)
    out[np.repeat(np.arange(n), np.diff(graph.offsets)), graph.rows] = graph.weights
    return out


def without_sound(features: FeatureSet, every: int = 3) -> FeatureSet:
    """The feature set whose every third video has no sound."""
    gone = np.arange(len(features.videos)) % every == 0
    audio = np.where(gone[:, None], np.float32(0), features.videos.vectors["audio"])
    mask = np.where(gone, features.videos.mask & 5, features.videos.mask).astype(np.uint8)
    vectors = {**features.videos.vectors, "audio": audio}
    return replace(features, videos=replace(features.videos, vectors=vectors, mask=mask))


def cut_of(features: FeatureSet) -> Holdout:
    return Holdout("time", until_ms=int(np.quantile(features.log.ts_ms, 0.7)))


def test_an_edge_weighs_shared_viewers_over_both_audiences(world: World) -> None:
    features = world()
    seen = interaction_matrix(
        positive_pairs(features), len(features.log.user_ids), len(features.videos)
    ).toarray()
    watched, viewers = (seen > 0).sum(axis=1), np.maximum((seen > 0).sum(axis=0), 1)
    expected = (seen.T @ (seen / np.maximum(watched, 1)[:, None])) / np.sqrt(np.outer(viewers, viewers))
    np.fill_diagonal(expected, 0.0)
    assert dense(fitted(features)) == pytest.approx(expected, abs=1e-5)


def test_neighbours_are_of_the_same_topic_and_unwatched_videos_have_none(world: World) -> None:
    graph = fitted(world(cold=6), top=5)
    counts = np.diff(graph.offsets)
    sources = np.repeat(np.arange(60), counts)
    assert counts.max() == 5
    assert not counts[54:].any()
    assert not np.isin(graph.rows, np.arange(54, 60)).any()
    assert (graph.rows % 4 == sources % 4).mean() > 0.95


def test_the_strongest_edges_are_kept_and_portions_change_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = world()
    whole, few = dense(fitted(features)), fitted(features, top=3)
    kept = dense(few)
    assert np.sort(kept, axis=1)[:, -3:] == pytest.approx(np.sort(whole, axis=1)[:, -3:])
    monkeypatch.setattr("ranker.item_graph.PORTION_PAIRS", 50)
    assert np.array_equal(dense(fitted(features, top=3)), kept)


def test_a_graph_without_neighbours_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="at least 1 neighbour a video, got 0"):
        fitted(world(), top=0)


def test_the_table_is_replaced_as_a_whole_and_says_until_when_it_learnt(
    world: World, workspace: Workspace
) -> None:
    features = world()
    keys = features.videos.keys + 1000
    write_item_graph(workspace, fitted(features), keys, 5)
    graph = fitted(features, top=2)
    snapshot = write_item_graph(workspace, graph, keys, 7)
    rows = workspace.item_graph.read()
    assert len(rows) == len(graph.rows) == snapshot.rows
    assert snapshot.meta == {"until_ms": 7, "method": "covisit-cosine"}
    assert rows["video_key"].to_list() == np.repeat(keys, np.diff(graph.offsets)).tolist()
    assert rows["neighbour_key"].to_list() == keys[graph.rows].tolist()
    assert (rows["weight"] > 0).all()


def test_of_two_trainings_at_once_the_later_graph_stays_and_neither_fails(
    world: World, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, keys, write = fitted(world()), world().videos.keys, Table._write

    def write_after_a_rival(table: Table, frame: pl.DataFrame, part: str) -> tuple[str, int]:
        monkeypatch.setattr(Table, "_write", write)
        write_item_graph(workspace, fitted(world(), top=1), keys, 5)
        return write(table, frame, part)

    monkeypatch.setattr(Table, "_write", write_after_a_rival)
    snapshot = write_item_graph(workspace, graph, keys, 7)
    assert (snapshot.sequence, snapshot.meta["until_ms"]) == (2, 7)
    assert len(workspace.item_graph.read()) == len(graph.rows)


def test_an_empty_graph_is_a_table_too(world: World, workspace: Workspace) -> None:
    none = Neighbours(np.zeros(61, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    assert write_item_graph(workspace, none, world().videos.keys, None).rows == 0
    assert workspace.item_graph.exists()


def test_every_event_it_learnt_from_lies_before_the_instant_it_names(world: World) -> None:
    features = world()
    holdout = cut_of(features)
    for chosen in (holdout, Holdout("leave_last", n=1), Holdout("none")):
        part = split(features, chosen).train
        until_ms = learnt_until(part, chosen)
        assert until_ms is not None
        assert part.log.ts_ms.max() < until_ms
    assert learnt_until(split(features, holdout).train, holdout) == holdout.until_ms
    assert learnt_until(world(times=False), Holdout("none")) is None


def test_missing_sounds_are_filled_in_from_neighbours_and_the_mask_stays(world: World) -> None:
    features = without_sound(world(cold=6))
    filled, said = fill_missing(features, fitted(features), "neighbours")
    before, after = features.videos, filled.videos
    new = after.imputed == 2
    assert said["audio"]["filled"] == new.sum() == 18
    assert not new[54:].any(), "nobody watches the last ones"
    assert (after.vectors["audio"][new].argmax(axis=1) == before.keys[new] % 4).mean() > 0.9
    assert np.array_equal(after.mask, before.mask)
    assert np.array_equal(after.vectors["audio"][~new], before.vectors["audio"][~new])
    assert np.array_equal(after.vectors["visual"], before.vectors["visual"])


def test_missing_sounds_are_filled_in_from_the_picture_for_new_videos_too(world: World) -> None:
    features = without_sound(world(videos=400, users=150, cold=100))
    filled, said = fill_missing(features, fitted(features), "across")
    new = filled.videos.imputed == 2
    assert said["audio"]["method"] == "across"
    assert new.sum() == np.ceil(400 / 3)
    assert (filled.videos.vectors["audio"][new].argmax(axis=1) == features.videos.keys[new] % 4).all()


def test_none_leaves_everything_as_it_was_and_an_unknown_way_is_refused(world: World) -> None:
    features = without_sound(world())
    assert fill_missing(features, fitted(features), "none") == (features, {})
    with pytest.raises(BadInput, match="'mean' is unknown; choose one of none, across, neighbours"):
        TrainSettings(impute="mean")


def test_a_video_of_which_nothing_is_known_gets_the_joint_vector_of_its_neighbours(world: World) -> None:
    features = world()
    joint = features.videos.joint.copy()
    joint[4] = 0.0
    bare = replace(features, videos=replace(features.videos, joint=joint))
    filled, _ = fill_missing(bare, fitted(features), "across")
    assert filled.videos.joint[4].argmax() == 0
    assert np.array_equal(np.delete(filled.videos.joint, 4, axis=0), np.delete(joint, 4, axis=0))


def with_planted_leak(features: FeatureSet, holdout: Holdout) -> FeatureSet:
    """The same log, but after the cut every user likes every soundless video: a leak would show."""
    sources = features.interactions
    users, videos = sources["user_id"].unique().sort(), features.catalogue["video_id"][::3]
    after = datetime.fromtimestamp(holdout.until_ms / 1000, UTC) + timedelta(hours=1)
    planted = pl.DataFrame({"user_id": users}).join(pl.DataFrame({"video_id": videos}), how="cross")
    planted = planted.join(features.catalogue.select("video_id", "video_key"), on="video_id", how="left")
    planted = planted.with_row_index("order").with_columns(
        event=pl.lit("like"),
        ts=pl.lit(after).cast(pl.Datetime("ms", "UTC")),
        event_key=pl.format("leak{}", "order"),
    )
    return restrict(features, pl.concat([sources, planted.cast({"order": pl.Int64})], how="diagonal"))


def test_what_was_held_out_changes_no_imputed_vector_and_no_edge(world: World, workspace: Workspace) -> None:
    features = without_sound(world())
    holdout = cut_of(features)
    honest = load_bundle(workspace.model(train(features, workspace, QUICK, holdout)))
    edges, meta = workspace.item_graph.read(), workspace.item_graph.snapshot().meta
    leaky = with_planted_leak(features, holdout)
    again = load_bundle(workspace.model(train(leaky, workspace, QUICK, holdout)))
    assert honest.videos.imputed.any()
    for name, vectors in honest.videos.vectors.items():
        assert np.array_equal(again.videos.vectors[name], vectors)
    assert np.array_equal(again.videos.joint, honest.videos.joint)
    assert workspace.item_graph.read().equals(edges)
    assert meta["until_ms"] == holdout.until_ms == workspace.item_graph.snapshot().meta["until_ms"]
    assert honest.manifest["imputed"]["audio"]["filled"] == int((honest.videos.imputed == 2).sum())
    told = fill_missing(leaky, fitted(leaky), "neighbours")[0]
    assert not np.allclose(told.videos.vectors["audio"], honest.videos.vectors["audio"]), (
        "the leak would show"
    )
