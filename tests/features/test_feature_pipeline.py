"""From the tables of a workspace to what a ranker trains on."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from features.catalogue import register
from features.contracts import SPACES, conform
from features.errors import BadInput, NotFound
from features.importers import append_events, import_embeddings, import_events
from features.pipeline import build_features, load_store
from features.store import Store
from features.workspace import Workspace


def test_with_nothing_but_interactions_their_ids_are_the_catalogue_and_grow_with_them(
    workspace: Workspace, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    append_events(workspace, interactions_of(user_id=["u", "u"], video_id=["b", "a"]))
    assert build_features(workspace).videos.ids == ("b", "a")
    append_events(workspace, interactions_of(user_id=["u"], video_id=["c"], event_key=["more"]))
    features = build_features(workspace)
    assert features.videos.ids == ("b", "a", "c")
    assert (features.counts.used, features.encoder_version, features.space_version) == (3, None, None)
    assert features.videos.joint.shape == (3, 0)


def test_unknown_videos_are_counted_and_refused_above_a_stated_share(
    workspace: Workspace, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    register(workspace, pl.DataFrame({"video_id": ["a"], "title": ["A"]}))
    append_events(workspace, interactions_of(user_id=["u"] * 4, video_id=["a", "a", "a", "gone"]))
    features = build_features(workspace)
    assert (features.counts.unknown_video, len(features.interactions)) == (1, 3)
    assert features.interactions["video_key"].to_list() == [0, 0, 0]
    with pytest.raises(BadInput, match=r"1 of 4 interactions \(25%\).*more than 10%"):
        build_features(workspace, max_unknown_share=0.1)


def test_no_interactions_is_one_clear_sentence(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match="run `reelrank events import` first"):
        build_features(workspace)


def test_the_newest_space_is_used_with_the_encoder_it_names(
    workspace: Workspace, interactions_of: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    versions = []
    for value in (1.0, 2.0):
        path = tmp_path / f"{value}.parquet"
        pl.DataFrame({"video_id": ["a", "b"], "visual": [[value, 1.0], [0.0, 1.0]]}).write_parquet(path)
        versions.append(import_embeddings(workspace, [path]).encoder_version)
    append_events(workspace, interactions_of(user_id=["u"], video_id=["a"]))
    assert build_features(workspace).encoder_version == versions[1]
    rows = {"video_key": [0, 1], "video_id": ["a", "b"], "joint": [[1.0], [-1.0]], "mask": [1, 1]}
    frame = conform(pl.DataFrame(rows), SPACES, "space")
    workspace.space("s1").replace(frame, meta={"encoder_version": versions[0]})
    features = build_features(workspace)
    assert (features.space_version, features.encoder_version) == ("s1", versions[0])
    assert features.videos.joint.tolist() == [[1.0], [-1.0]]
    assert features.videos.mask.tolist() == [1, 1]
    with pytest.raises(NotFound, match="it has s1"):
        build_features(workspace, space_version="s9")


def test_real_pairs_and_embeddings_become_features_and_load(
    workspace: Workspace, shared_data: Path, redis_url: str
) -> None:
    folder = shared_data / "tiktok"
    done = import_embeddings(workspace, [folder / "embeddings.parquet"])
    assert (done.imported, done.dims) == (6710, {"visual": 128, "audio": 128})
    import_events(workspace, [folder / "train.parquet"])
    features = build_features(workspace)
    assert (len(features.videos), features.counts.used, features.counts.unknown_video) == (6710, 59_541, 0)
    store = Store.connect(redis_url, namespace="tiktok", timeout_s=5)
    assert load_store(features, store, workspace) == len(features.log.user_ids)
    store.close()
