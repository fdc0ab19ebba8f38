"""`reelrank search`, `similar` and `tags` on a small world: what is found, what is said, what is refused."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from features.catalogue import register
from features.contracts import EMBEDDINGS, Floats, schema
from features.importers import import_events
from features.pipeline import build_features
from features.workspace import Workspace, open_workspace
from infra.cli import main
from infra.nightly import train_bundle
from ingest.encoders.query import encoder_directory
from ingest.encoders.signal import SignalEncoder
from ingest.space import build_space
from ranker.pipeline import TrainSettings
from ranker.splits import Holdout

Captured = pytest.CaptureFixture[str]

TOPICS = {
    "fire": ((210, 60, 20), ("fire", "ember", "torch", "blaze")),
    "ocean": ((20, 80, 200), ("ocean", "reef", "tide", "surf")),
    "forest": ((40, 150, 40), ("forest", "moss", "fern", "oak")),
}
N = 240
CONSOLE = Console(quiet=True)


@dataclass(frozen=True)
class Clip:
    """What an encoder reads."""

    frames: npt.NDArray[np.uint8]
    timestamps_s: npt.NDArray[np.float64]
    audio: Floats | None
    sample_rate_hz: int


def painted(topic: str, seed: int) -> npt.NDArray[np.uint8]:
    """Stripes in the topic's colour and direction, at the size that encoders see."""
    draw, turn = np.random.default_rng(seed), list(TOPICS).index(topic) * np.pi / 3
    y, x = np.mgrid[:224, :224] / 224
    along = np.cos(turn) * x + np.sin(turn) * y
    stripes = np.sin(2 * np.pi * (draw.uniform(5.8, 6.2) * along + draw.random()))[..., None]
    return np.clip(np.array(TOPICS[topic][0]) * (1 + 0.4 * stripes), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class World:
    """A workspace with a published bundle, and the topic of each video."""

    workspace: str
    topics: dict[str, str]


def make_world(root: Path, n: int) -> World:
    workspace = open_workspace(root / "ws", create=True)
    draw = np.random.default_rng(0)
    names = list(TOPICS)
    topics = {f"v{i:03d}": names[i % 3] for i in range(n)}
    titles = [" ".join(draw.choice(TOPICS[topic][1], 2, replace=False)) for topic in topics.values()]
    rows = pl.DataFrame(
        {
            "video_id": list(topics),
            "title": [None if i % 10 == 9 else title for i, title in enumerate(titles)],
            "tags": [[topic] if draw.random() < 0.5 else [] for topic in topics.values()],
        }
    )
    catalogue = register(workspace, rows).sort("video_id")
    embed(workspace, catalogue, topics)
    plays = [
        (f"u{u:02d}", f"v{(3 * int(draw.integers(n // 3)) + u % 3):03d}", f"2026-01-{day:02d}T10:00:00Z")
        for u in range(30)
        for day in range(1, 9)
    ]
    pl.DataFrame(plays, schema=["user_id", "video_id", "ts"], orient="row").write_csv(root / "log.csv")
    import_events(workspace, [root / "log.csv"])
    features = build_features(workspace, space_version=build_space(workspace).space_version)
    how = TrainSettings(epochs=1, dim=8, threads=1)
    trained = train_bundle(workspace, features, how, Holdout("none"), lambda done, total, part="": None)
    workspace.publish(trained["bundle"])
    return World(str(workspace.root), topics)


def embed(workspace: Workspace, catalogue: pl.DataFrame, topics: dict[str, str]) -> None:
    """Embeds as an ingest does, without files: pictures of the topic, and the catalogue's words."""
    encoder = SignalEncoder()
    clips = [
        Clip(painted(topics[video], i)[None], np.zeros(1), None, 0)
        for i, video in enumerate(catalogue["video_id"])
    ]
    texts = encoder.describe_texts(catalogue.select("title", "description", "tags").rows())
    raw = {"visual": np.stack([one["visual"] for one in encoder.describe_many(clips)])}
    raw["text"] = np.stack([np.zeros(2048, np.float32) if text is None else text for text in texts])
    fitted = encoder.fit({"visual": raw["visual"], "text": raw["text"][raw["text"].any(axis=1)]})
    fitted.save(encoder_directory(workspace, fitted.encoder_version))
    columns = {name: fitted.project(name, rows) for name, rows in raw.items()}
    frame = catalogue.select("video_key", "video_id").with_columns(
        pl.Series(name, [row.tolist() if row.any() else None for row in rows], pl.List(pl.Float32))
        for name, rows in columns.items()
    )
    meta = {
        "encoder": list(encoder.specs),
        "descriptors": f"version={encoder.descriptor_version}-abcdef",
        "text": encoder.text_version,
    }
    rows = pl.concat([pl.DataFrame(schema=schema(EMBEDDINGS)), frame], how="diagonal")
    workspace.embeddings(fitted.encoder_version).append(rows, meta=meta)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("search"), N)


def asked(capsys: Captured, world: World, *arguments: str) -> dict[str, Any]:
    """The JSON answer of a command."""
    assert main([*arguments, "--workspace", world.workspace, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return answer


def refused(capsys: Captured, world: World, *arguments: str) -> str:
    assert main([*arguments, "--workspace", world.workspace]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("reelrank: "), said
    assert not any("Traceback" in line for line in said)
    return said[-1]


def topics_of(world: World, answer: dict[str, Any]) -> set[str]:
    return {world.topics[video["video_id"]] for video in answer["videos"]}


def test_words_find_their_topic_also_where_there_is_no_title(world: World, capsys: Captured) -> None:
    answer = asked(capsys, world, "search", "ember torch", "--k", "30")
    assert topics_of(world, answer) == {"fire"}
    assert any(video["title"] is None for video in answer["videos"])
    assert (answer["aligned"], answer["notes"], answer["query"]) == (True, [], ["text"])


def test_a_picture_and_words_are_asked_together(world: World, tmp_path: Path, capsys: Captured) -> None:
    Image.fromarray(painted("ocean", 999)).save(tmp_path / "sea.jpg", quality=95)
    alone = asked(capsys, world, "search", "--image", str(tmp_path / "sea.jpg"), "--k", "5")
    assert (topics_of(world, alone), alone["query"]) == ({"ocean"}, ["visual"])
    both = asked(capsys, world, "search", "reef tide", "--image", str(tmp_path / "sea.jpg"), "--k", "5")
    assert (topics_of(world, both), both["query"]) == ({"ocean"}, ["visual", "text"])


def test_likeness_is_by_all_modalities_or_by_one(world: World, capsys: Captured) -> None:
    for by in ("joint", "visual", "text"):
        answer = asked(capsys, world, "similar", "v001", "--by", by, "--k", "4")
        assert (len(answer["videos"]), answer["by"]) == (4, by)
        assert "v001" not in [video["video_id"] for video in answer["videos"]]
        assert topics_of(world, answer) == {"ocean"}
    assert "has no audio vector; it has visual, text" in refused(
        capsys, world, "similar", "v001", "--by", "audio"
    )


def test_tags_are_read_from_pictures_of_videos_that_nobody_tagged(world: World, capsys: Captured) -> None:
    catalogue = open_workspace(world.workspace).catalogue.read()
    bare = catalogue.filter(pl.col("tags").list.len() == 0)["video_id"].to_list()[:6]
    answer = asked(capsys, world, "tags", *bare)
    assert [video["video_id"] for video in answer["videos"]] == bare
    for video in answer["videos"]:
        best = video["tags"][0]
        assert (best["tag"], best["own"]) == (world.topics[video["video_id"]], False)
        assert best["probability"] > 0.5
    assert answer["left_out"] == []
    assert answer["quality"]["error"] <= 0.1
    assert answer["quality"]["precision"] >= 0.9
    assert answer["quality"]["unused_error"] is None, "three tags are too few to hold some out"


def test_tags_of_all_videos_go_to_a_file(world: World, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "words.txt").write_text("Fire\n\nocean\nfire\nmoss\n???\n")
    out = tmp_path / "out" / "tags.parquet"
    answer = asked(
        capsys, world, "tags", "--vocabulary", str(tmp_path / "words.txt"), "--out", str(out), "--k", "2"
    )
    assert answer["unknown"] == ["???"]
    assert [tag["tag"] for tag in answer["tags"]] == ["fire", "ocean", "moss"]
    rows = pl.read_parquet(out)
    assert rows.columns == ["video_id", "rank", "tag", "probability"]
    assert (rows.height, answer["rows"]) == (2 * N, 2 * N)
    first = rows.filter(pl.col("rank") == 0, pl.col("tag") == "ocean", pl.col("probability") > 0.5)
    assert {world.topics[video] for video in first["video_id"]} == {"ocean"}


@pytest.mark.parametrize("option", ["--image", "--audio", "--video"])
def test_files_that_are_none_are_refused_by_their_name(
    option: str, world: World, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "missing", tmp_path, tmp_path / "empty"):
        assert str(path) in refused(capsys, world, "search", option, str(path))


def test_a_sound_where_none_was_embedded_and_a_sound_as_a_picture_are_refused(
    world: World, tmp_path: Path, capsys: Captured
) -> None:
    with wave.open(str(tmp_path / "silence.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(32_000))
    said = refused(capsys, world, "search", "--audio", str(tmp_path / "silence.wav"))
    assert "has audio, but this catalogue was embedded from visual, text only" in said
    assert "no picture" in refused(capsys, world, "search", "--image", str(tmp_path / "silence.wav"))


def test_questions_that_nobody_can_answer_are_refused(world: World, tmp_path: Path, capsys: Captured) -> None:
    assert "give words, an image" in refused(capsys, world, "search")
    assert "no letter or digit" in refused(capsys, world, "search", "?!")
    assert "'nobody'" in refused(capsys, world, "similar", "nobody")
    assert "'nobody'" in refused(capsys, world, "tags", "v001", "nobody")
    assert "one tag a line" in refused(capsys, world, "tags", "--vocabulary", str(tmp_path))
    assert "is a directory" in refused(capsys, world, "tags", "--out", str(tmp_path))
    assert "lower --min-uses" in refused(capsys, world, "tags", "--min-uses", "500")


def test_in_a_catalogue_too_small_to_align_words_find_words_and_no_tags_are_told(
    tmp_path: Path, capsys: Captured
) -> None:
    small = make_world(tmp_path, 30)
    answer = asked(capsys, small, "search", "surf reef", "--k", "30")
    assert answer["aligned"] is False
    assert "compared by text alone" in answer["notes"][0]
    assert "words are not aligned" in refused(capsys, small, "tags")


def test_the_space_has_a_report_of_its_own(world: World, capsys: Captured) -> None:
    answer = asked(capsys, world, "evaluate", "--space")
    assert Path(answer["report"]).read_text().startswith("<!doctype html>")


def test_one_thing_is_evaluated_at_a_time(capsys: Captured) -> None:
    for given in ([], ["--arm", "a=popular", "--space"], ["--fusions", "--space"]):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *given])
        assert ended.value.code == 2


def test_a_fusion_or_an_encoder_that_nobody_knows_is_refused_before_any_work(
    world: World, tmp_path: Path, capsys: Captured
) -> None:
    assert "fusion 'sum' is unknown" in refused(capsys, world, "train", "--fusion", "sum")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"no media")
    assert "encoder 'clip' is not known" in refused(
        capsys, world, "ingest", str(tmp_path / "videos"), "--encoder", "clip"
    )
