"""From features to a bundle on disk and back, and from a history to recommendations."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.contracts import EVENT_CODES, Context, Histories
from features.errors import BadInput, NotFound, VersionMismatch
from features.pipeline import FeatureSet
from features.workspace import Workspace, open_workspace
from ranker.bundle import SOURCES, Bundle, load_bundle
from ranker.explain import explain
from ranker.pipeline import TrainSettings, histories_of, measure, train
from ranker.recommend import recommend, recommend_to_parquet
from ranker.retrieve import retrieve
from ranker.score import score
from ranker.splits import Holdout, split

QUICK = TrainSettings(epochs=2, dim=16, threads=1, candidates=40)


@pytest.fixture(scope="module")
def features(world) -> FeatureSet:
    return world(cold=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_workspace(tmp_path_factory.mktemp("bundle"), create=True)


@pytest.fixture(scope="module")
def holdout(features: FeatureSet) -> Holdout:
    return Holdout("time", until_ms=int(np.quantile(features.log.ts_ms, 0.8)))


@pytest.fixture(scope="module")
def bundle(features: FeatureSet, place: Workspace, holdout: Holdout) -> Bundle:
    return load_bundle(place.model(train(features, place, QUICK, holdout)))


@pytest.fixture(scope="module")
def requests(features: FeatureSet) -> tuple[Histories, Context]:
    codes = np.arange(0, len(features.log.user_ids), 7, dtype=np.int64)
    now = np.full(len(codes), features.log.ts_ms.max() + 1, np.int64)
    return histories_of(features, codes), Context.at(now)


def one(histories: Histories, context: Context, at: int) -> tuple[Histories, Context]:
    part = slice(at, at + 1)
    names = ("video_keys", "events", "ts_ms", "watch_s", "lengths")
    return Histories(*(getattr(histories, name)[part] for name in names)), Context.at(context.now_ms[part])


def test_the_planted_taste_is_found(bundle: Bundle, features: FeatureSet, holdout: Holdout) -> None:
    cut = split(features, holdout)
    best = recommend(bundle, histories_of(cut.train, cut.truth.user_codes), Context.at(cut.truth.at_ms), 5)
    own = np.array([int(user[1:]) % 4 for user in cut.truth.users])
    assert (best.rows % 4 == own[:, None])[best.rows >= 0].mean() > 0.85
    assert bundle.manifest["metrics"] == pytest.approx(measure(bundle, cut.train, cut.truth))
    assert bundle.manifest["metrics"]["recall@20"] > 0.6


def test_the_manifest_says_what_was_decided_and_why(
    bundle: Bundle, holdout: Holdout, place: Workspace
) -> None:
    said = bundle.manifest
    assert Holdout(**said["holdout"]) == holdout
    assert said["encoder_version"] == said["space_version"] == "planted"
    assert said["scorer"]["final"] in ("blend", "trees")
    assert said["scorer"]["why"] in (place.model(bundle.name) / "card.md").read_text()
    assert place.bundles() == [bundle.name]
    assert not list((place.root / "models").glob(".*"))


def test_candidates_hold_nothing_seen_and_every_source_speaks(bundle: Bundle, requests) -> None:
    histories, context = requests
    found = retrieve(bundle, histories, context, 20)
    for user in range(len(histories)):
        rows = found.rows[user][found.present[user]]
        assert (np.diff(rows) > 0).all()
        seen = histories.video_keys[user][histories.events[user] != EVENT_CODES["skip"]]
        assert not np.isin(bundle.videos.keys[rows], seen).any()
    assert found.found.any(axis=(0, 1)).tolist() == [True] * len(SOURCES)
    assert (found.found.any(axis=2) == found.present).all()
    assert np.isneginf(score(bundle, found, histories, context)[~found.present]).all()


def test_a_batch_answers_as_single_requests_do(bundle: Bundle, requests) -> None:
    together = recommend(bundle, *requests, 10)
    for at in range(0, len(requests[0]), 5):
        alone = recommend(bundle, *one(*requests, at), 10)
        np.testing.assert_array_equal(alone.rows[0], together.rows[at])
        np.testing.assert_allclose(alone.scores[0], together.scores[at], rtol=1e-3, atol=1e-4)


def test_k_may_be_the_whole_catalogue_and_more(bundle: Bundle, requests) -> None:
    histories, context = one(*requests, 0)
    every = recommend(bundle, histories, context, 10_000, include_seen=True)
    assert sorted(every.rows[0]) == list(range(len(bundle.videos)))
    assert (np.diff(every.scores[0]) <= 0).all()
    unseen = recommend(bundle, histories, context, 10_000)
    seen = set(
        histories.video_keys[0][np.isin(histories.events[0], [EVENT_CODES["play"], EVENT_CODES["like"]])]
    )
    kept = unseen.rows[0][unseen.rows[0] >= 0]
    assert set(kept) == set(range(len(bundle.videos))) - seen
    assert (unseen.sources[0][: len(kept)] != "").all()
    few = replace(bundle, candidates=5)
    assert set(recommend(few, histories, context, 10_000).rows[0]) == set(unseen.rows[0])


def test_a_newcomer_gets_something_and_everybody_cold_videos_too(bundle: Bundle, requests) -> None:
    newcomer = recommend(bundle, Histories.empty(1, 3), Context.at(np.zeros(1, np.int64)), 10)
    assert (newcomer.rows >= 0).all()
    best = recommend(bundle, *requests, 20)
    assert (best.rows >= 52).any()


@pytest.mark.parametrize(
    "name", ["two_tower", "item_item", "content", "popular", "fresh", "trees", "visual", "audio"]
)
def test_every_component_can_be_taken_away(bundle: Bundle, requests, name: str) -> None:
    histories, context = requests
    without = frozenset({name})
    found = retrieve(bundle, histories, context, bundle.candidates, without=without)
    less = score(bundle, found, histories, context, without=without)
    assert np.isfinite(less[found.present]).all()
    if name in SOURCES:
        assert not found.found[:, :, SOURCES.index(name)].any()
    whole = retrieve(bundle, histories, context, bundle.candidates)
    changed = not np.allclose(
        score(bundle, whole, histories, context, without=without), score(bundle, whole, histories, context)
    )
    assert changed or name == "trees" or not bundle.scorer.weights[SOURCES.index(name)]


def test_an_unknown_component_is_named(bundle: Bundle, requests) -> None:
    with pytest.raises(BadInput, match="smell is no component"):
        recommend(bundle, *requests, 5, without=frozenset({"smell"}))


def test_reasons_name_a_video_of_the_history(bundle: Bundle, requests) -> None:
    histories, context = one(*requests, 3)
    rows = recommend(bundle, histories, context, 8).rows[0]
    reasons = explain(bundle, histories, rows, int(context.now_ms[0]))
    assert len(reasons) == 8
    assert any('"Topic' in reason for reason in reasons)
    fresh = explain(bundle, Histories.empty(1), np.array([0], np.int32), int(context.now_ms[0]))
    assert fresh[0] in ("new", "popular now", "something different")


def test_recommendations_for_all_users_stream_to_parquet(
    bundle: Bundle, features: FeatureSet, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out.parquet"
    rows = recommend_to_parquet(bundle, features, None, 5, out, include_seen=False, batch=50)
    got = pl.read_parquet(out)
    assert got.columns == ["user_id", "rank", "video_id", "score", "source"]
    assert rows == len(got) == 5 * len(features.log.user_ids)
    assert got["rank"].min() == 1
    seen = features.interactions.filter(pl.col("event") != "skip")
    assert not len(got.join(seen, on=["user_id", "video_id"], how="semi"))
    recommend_to_parquet(bundle, features, ["stranger", "u001"], 5, out, include_seen=False)
    assert pl.read_parquet(out)["user_id"].unique(maintain_order=True).to_list() == ["stranger", "u001"]
    assert [p.name for p in out.parent.iterdir()] == ["out.parquet"]


def test_the_same_seed_gives_the_same_files(
    bundle: Bundle, features: FeatureSet, holdout, tmp_path: Path
) -> None:
    again = open_workspace(tmp_path / "again", create=True)
    manifest = json.loads((again.model(train(features, again, QUICK, holdout)) / "manifest.json").read_text())
    files = {name: said for name, said in manifest["files"].items() if name != "card.md"}
    assert files == {name: bundle.manifest["files"][name] for name in files}


def test_a_damaged_or_foreign_bundle_is_refused(bundle: Bundle, place: Workspace, tmp_path: Path) -> None:
    copy = tmp_path / bundle.name
    copy.mkdir()
    for path in place.model(bundle.name).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(NotFound):
        load_bundle(tmp_path / "nothing")
    (copy / "popularity.npy").write_bytes(b"x")
    with pytest.raises(VersionMismatch, match=r"popularity\.npy"):
        load_bundle(copy)
    (copy / "manifest.json").write_text(json.dumps(bundle.manifest | {"feature_version": "older"}))
    with pytest.raises(VersionMismatch, match="older"):
        load_bundle(copy)


def test_loading_and_recommending_import_no_torch(bundle: Bundle, place: Workspace) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path;"
        "from features.contracts import Context, Histories;"
        "from ranker.bundle import load_bundle; from ranker.recommend import recommend;"
        "import ranker.explain;"
        f"b = load_bundle(Path({str(place.model(bundle.name))!r}));"
        "recommend(b, Histories.empty(1, 2), Context.at(np.zeros(1, np.int64)), 3);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    "said",
    [
        {"times": False},
        {"vectors": False},
        {"users": 1, "each": 3},
        {"videos": 1, "users": 5, "topics": 1, "each": 1},
        {"videos": 1, "users": 1, "topics": 1, "each": 1, "vectors": False, "times": False},
    ],
)
def test_small_and_bare_worlds_train_and_recommend(world, workspace: Workspace, said: dict) -> None:
    features = world(**said)
    bundle = load_bundle(workspace.model(train(features, workspace, replace(QUICK, epochs=1))))
    histories = histories_of(features, np.array([0], np.int64))
    best = recommend(bundle, histories, Context.at(np.zeros(1, np.int64)), 3, include_seen=True)
    assert (best.rows[0] >= 0).sum() == min(3, len(features.videos))
    explain(bundle, histories, best.rows[0][best.rows[0] >= 0])


def test_a_log_without_a_like_is_refused(world, workspace: Workspace) -> None:
    features = world()
    skips = features.interactions.with_columns(event=pl.lit("skip"))
    codes = np.full_like(features.log.events, EVENT_CODES["skip"])
    with pytest.raises(BadInput, match="nothing to learn from"):
        train(
            replace(features, interactions=skips, log=replace(features.log, events=codes)), workspace, QUICK
        )
