"""A space in a workspace: built once, read by the server without torch, honest about what it cannot do."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.contracts import EMBEDDINGS, Floats, schema
from features.errors import BadInput, NotFound, VersionMismatch
from features.workspace import Workspace, open_workspace
from ingest.align import AlignSettings
from ingest.encoders.projector import fit_projector
from ingest.encoders.query import QueryEncoder, encoder_directory, save_query_encoder
from ingest.encoders.text import TEXT_BLOCKS, describe_text
from ingest.space import SpaceSettings, build_space, last_settings, to_lists
from ingest.space_inputs import heads_directory

WORDS = {
    "sea": ["wave", "ocean", "surf", "tide"],
    "food": ["noodle", "soup", "recipe", "kitchen"],
    "music": ["drum", "guitar", "chorus", "melody"],
}
FAST = SpaceSettings(AlignSettings(steps=5), threads=1)


def embed(workspace: Workspace, version: str, vectors: dict[str, Floats]) -> None:
    n = len(next(iter(vectors.values())))
    frame = pl.DataFrame({"video_key": range(n), "video_id": [f"v{i}" for i in range(n)]})
    frame = frame.with_columns(to_lists(matrix).alias(name) for name, matrix in vectors.items())
    workspace.embeddings(version).append(
        pl.concat([pl.DataFrame(schema=schema(EMBEDDINGS)), frame], how="diagonal")
    )


def titled(workspace: Workspace, n: int = 150) -> tuple[str, list[str]]:
    """Videos whose picture and title show one topic; a tenth has no title, and one has nothing at all."""
    rng = np.random.default_rng(0)
    topics = [list(WORDS)[i % 3] for i in range(n)]
    titles = [" ".join(rng.choice(WORDS[topic], 2, replace=False)) for topic in topics]
    raw = np.stack([found for title in titles if (found := describe_text(title)) is not None])
    projector = fit_projector("signal", "words", {"text": TEXT_BLOCKS}, {"text": raw})
    text = projector.project("text", raw)
    text[::10] = 0.0
    looks = {topic: rng.standard_normal(12) for topic in WORDS}
    visual = np.stack([looks[topic] + 0.3 * rng.standard_normal(12) for topic in topics]).astype(np.float32)
    visual /= np.linalg.norm(visual, axis=1, keepdims=True)
    visual[0] = 0.0
    embed(workspace, projector.encoder_version, {"visual": visual, "text": text})
    projector.save(encoder_directory(workspace, projector.encoder_version))
    return projector.encoder_version, topics


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "ws", create=True)


def test_a_space_is_built_once_and_says_what_it_is(workspace: Workspace) -> None:
    encoder_version, _ = titled(workspace)
    built = build_space(workspace, settings=FAST)
    assert built.aligned
    assert built.recall > built.control
    assert (built.encoder_version, built.videos) == (encoder_version, 150)
    table = workspace.space(built.space_version)
    assert table.snapshot().meta["encoder_version"] == encoder_version
    assert build_space(workspace, encoder_version, FAST) == built
    assert table.snapshot().sequence == 1


def test_a_video_without_anything_has_no_joint_vector(workspace: Workspace) -> None:
    titled(workspace)
    frame = workspace.space(build_space(workspace, settings=FAST).space_version).read()
    assert frame["mask"].to_list()[:2] == [0, 5]
    assert frame["joint"].is_null().to_list()[:2] == [True, False]
    lengths = np.linalg.norm(np.stack(frame["joint"].drop_nulls().to_list()), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)
    assert frame["agreement"].drop_nulls().is_between(-1.0001, 1.0001).all()


def test_words_find_videos_that_have_no_title(workspace: Workspace, tmp_path: Path) -> None:
    _, topics = titled(workspace)
    version = build_space(workspace, settings=FAST).space_version
    save_query_encoder(workspace, version, tmp_path / "bundle" / "encoder")
    query = QueryEncoder.load(tmp_path / "bundle" / "encoder")
    frame = workspace.space(version).read().filter(pl.col("mask") == 1)
    joint = np.stack(frame["joint"].to_list())
    for topic, words in WORDS.items():
        asked = query.text(f"{words[3]} {words[0]} {words[1]}")
        assert asked is not None
        best = frame["video_key"].to_list()[int((joint @ asked).argmax())]
        assert topics[best] == topic
    assert query.text("!!!") is None
    with pytest.raises(BadInput, match="embedded from visual, text only"):
        query.vector("audio", np.ones(3, np.float32))


def test_imported_embeddings_make_a_space_but_answer_no_words(workspace: Workspace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    embed(
        workspace,
        "import-1",
        {"visual": rng.random((60, 6), np.float32), "audio": rng.random((60, 5), np.float32)},
    )
    built = build_space(workspace, settings=FAST)
    assert not built.aligned
    assert len(workspace.space(built.space_version).read()["joint"][0]) == 11
    save_query_encoder(workspace, built.space_version, tmp_path / "encoder")
    with pytest.raises(BadInput, match="imported without their encoder"):
        QueryEncoder.load(tmp_path / "encoder").text("sea")


def test_a_few_videos_stand_side_by_side_and_still_answer_words(workspace: Workspace, tmp_path: Path) -> None:
    titled(workspace, n=30)
    built = build_space(workspace, settings=FAST)
    assert (built.aligned, built.recall, built.control) == (False, 0.0, 0.0)
    save_query_encoder(workspace, built.space_version, tmp_path / "encoder")
    found = QueryEncoder.load(tmp_path / "encoder").text("ocean wave")
    assert found is not None
    assert not found[:12].any()
    assert np.linalg.norm(found) == pytest.approx(1.0, rel=1e-5)


def test_new_embeddings_give_a_new_version_and_the_last_row_of_a_video_counts(workspace: Workspace) -> None:
    rng = np.random.default_rng(0)
    embed(workspace, "import-1", {"visual": rng.random((5, 6), np.float32)})
    first = build_space(workspace)
    embed(workspace, "import-1", {"visual": rng.random((3, 6), np.float32)})
    second = build_space(workspace)
    assert first.space_version != second.space_version
    assert (first.videos, second.videos) == (5, 5)


def test_tonights_vectors_stay_near_last_nights(workspace: Workspace) -> None:
    encoder_version, _ = titled(workspace)
    settings = SpaceSettings(AlignSettings(dim=16), threads=1)
    first = build_space(workspace, settings=settings)
    table = workspace.embeddings(encoder_version)
    more = table.read().filter(pl.col("video_key").is_between(1, 8))
    key = pl.col("video_key") + 1000
    table.append(more.with_columns(key, video_id=pl.format("v{}", key)))
    second = build_space(workspace, settings=settings)
    assert (first.warm, second.warm) == (False, True)
    assert workspace.space(second.space_version).snapshot().meta["before"] == first.space_version
    old, new = (workspace.space(built.space_version).read() for built in (first, second))
    both = old.join(new, on="video_key", suffix="_new").drop_nulls("joint")
    cosines = [np.dot(a, b) for a, b in both.select("joint", "joint_new").iter_rows()]
    assert len(cosines) > 100
    assert np.mean(cosines) > 0.95


def test_the_same_input_is_not_built_again_whatever_was_built_since(workspace: Workspace) -> None:
    titled(workspace)
    first = build_space(workspace, settings=FAST)
    other = build_space(workspace, settings=SpaceSettings(AlignSettings(steps=6), threads=1))
    assert other.space_version != first.space_version
    assert build_space(workspace, settings=FAST) == first


def test_a_command_that_was_not_told_builds_as_the_last_night_did(workspace: Workspace) -> None:
    assert last_settings(workspace) == SpaceSettings()
    titled(workspace)
    asked = SpaceSettings(AlignSettings(steps=5, dim=16), fusion="gated", threads=2)
    first = build_space(workspace, settings=asked)
    assert last_settings(workspace) == asked
    assert build_space(workspace, settings=last_settings(workspace)) == first


def test_what_a_video_lacks_comes_from_videos_that_the_same_people_watch(workspace: Workspace) -> None:
    titled(workspace)
    watched = pl.DataFrame({"video_key": [0, 0], "neighbour_key": [3, 6], "weight": [1.0, 1.0]})
    without = build_space(workspace, settings=FAST)
    workspace.item_graph.replace(watched.cast({"weight": pl.Float32}), meta={"until_ms": 5})
    built = build_space(workspace, settings=FAST)
    assert (without.imputed, built.imputed) == (0, 1)
    frame = workspace.space(built.space_version).read().sort("video_key")
    assert frame["imputed"].to_list()[:2] == [5, 0]
    assert frame["mask"].to_list()[0] == 0  # what was filled in is not there
    joint = np.stack(frame["joint"].drop_nulls().to_list())
    assert (joint[0] @ joint.T).argsort()[::-1][1] % 3 == 0  # it belongs to the topic of its neighbours
    assert workspace.space(built.space_version).snapshot().meta["graph_until_ms"] == 5


def test_a_title_of_another_topic_fits_worse_than_its_own(workspace: Workspace) -> None:
    titled(workspace)
    encoder_version = workspace.encoder_versions()[-1]
    frame = workspace.embeddings(encoder_version).read(["video_key", "visual", "text"]).sort("video_key")
    swapped = frame["text"].to_list()
    wrong = list(range(1, 150, 30))
    for i in wrong:
        swapped[i] = frame["text"].to_list()[i + 1]
    vectors = {"visual": frame["visual"].to_list(), "text": swapped}
    rows = frame.select("video_key", pl.format("v{}", "video_key").alias("video_id")).with_columns(
        pl.Series(name, column, dtype=pl.List(pl.Float32)) for name, column in vectors.items()
    )
    workspace.embeddings("swapped").append(
        pl.concat([pl.DataFrame(schema=schema(EMBEDDINGS)), rows], how="diagonal")
    )
    built = workspace.space(build_space(workspace, "swapped", FAST).space_version).read().sort("video_key")
    fit = built["text_fit"].to_numpy()
    right = [i for i in range(150) if i % 10 and i not in wrong]
    assert fit[wrong].max() < np.nanmedian(fit[right])
    assert built["text_fit"].is_null().to_list()[0]


def test_a_catalogue_in_which_nothing_can_be_seen_heard_or_read_is_a_space_of_no_vectors(
    workspace: Workspace, tmp_path: Path
) -> None:
    embed(workspace, "import-1", {"visual": np.zeros((4, 6), np.float32)})
    built = build_space(workspace, settings=FAST)
    assert (built.videos, built.aligned) == (4, False)
    table = workspace.space(built.space_version)
    assert table.read()["joint"].null_count() == 4
    assert table.snapshot().meta["dims"] == {"joint": 0}
    save_query_encoder(workspace, built.space_version, tmp_path / "encoder")
    embed(workspace, "import-1", {"visual": np.eye(4, 6, dtype=np.float32)})
    again = build_space(workspace, settings=FAST)  # the heads of the night before know no modality
    assert workspace.space(again.space_version).read()["joint"].null_count() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_refused_by_its_modality(workspace: Workspace, value: float) -> None:
    vectors = np.eye(60, 8, dtype=np.float32)
    vectors[3, 2] = value
    embed(workspace, "import-1", {"visual": np.eye(60, 8, dtype=np.float32), "audio": vectors})
    with pytest.raises(BadInput, match=r"audio vectors of 1 video\(s\) hold NaN or infinity"):
        build_space(workspace, settings=FAST)


def test_a_space_that_says_nothing_or_lost_its_heads_is_no_start(workspace: Workspace) -> None:
    titled(workspace)
    bare = pl.DataFrame({"video_key": [1], "video_id": ["v1"], "mask": [1]})
    workspace.space("bare").replace(bare)
    first = build_space(workspace, settings=FAST)
    shutil.rmtree(heads_directory(workspace, first.space_version))
    second = build_space(workspace, settings=SpaceSettings(AlignSettings(steps=6), threads=1))
    assert (first.warm, second.warm) == (False, False)
    assert workspace.space(second.space_version).snapshot().meta["before"] is None


def test_without_a_graph_nothing_is_learnt_from_it(workspace: Workspace) -> None:
    titled(workspace)
    co_watched = SpaceSettings(AlignSettings(steps=2), co_watched=True, threads=1)
    elsewhere = pl.DataFrame({"video_key": [900], "neighbour_key": [901], "weight": [1.0]})
    workspace.item_graph.replace(elsewhere.cast({"weight": pl.Float32}), meta={"until_ms": 5})
    meta = workspace.space(build_space(workspace, settings=co_watched).space_version).snapshot().meta
    assert (meta["co_watched"], meta["imputed"], meta["graph_until_ms"]) == (False, 0, None)


def test_what_is_missing_or_mixed_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no embeddings"):
        build_space(workspace)
    with pytest.raises(NotFound, match="no embeddings of encoder nobody"):
        build_space(workspace, "nobody")
    with pytest.raises(NotFound, match="space nowhere is not in"):
        save_query_encoder(workspace, "nowhere", tmp_path / "encoder")
    embed(workspace, "import-1", {"visual": np.ones((2, 6), np.float32)})
    embed(workspace, "import-1", {"visual": np.ones((1, 7), np.float32)})
    with pytest.raises(BadInput, match=r"visual vectors have lengths \[6, 7\]"):
        build_space(workspace, "import-1")


def test_a_bundle_with_two_encoders_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    titled(workspace)
    save_query_encoder(workspace, build_space(workspace, settings=FAST).space_version, tmp_path / "encoder")
    raw = np.stack([found for word in WORDS if (found := describe_text(word)) is not None])
    fit_projector("signal", "other", {"text": TEXT_BLOCKS}, {"text": raw}).save(tmp_path / "encoder")
    with pytest.raises(VersionMismatch, match="a projector of signal-"):
        QueryEncoder.load(tmp_path / "encoder")
