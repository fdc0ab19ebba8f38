"""What a directory, a glob and a manifest list, and how a wrong one is refused."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from features.errors import BadInput
from ingest.listing import list_source, path_of


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_a_directory_lists_every_file_that_may_be_media_by_its_path(tmp_path: Path) -> None:
    put(tmp_path, "b.mp4", "deep/er/a.webm", "no_extension")
    put(tmp_path, "notes.txt", "table.parquet", ".hidden", ".git/x.mp4")
    listing = list_source(str(tmp_path))
    assert listing["video_id"].to_list() == ["b.mp4", "deep/er/a.webm", "no_extension"]
    assert [Path(uri) for uri in listing["uri"]] == [tmp_path / name for name in listing["video_id"]]


def test_strange_names_are_names_like_others(tmp_path: Path) -> None:
    names = sorted(["-leading dash.mp4", "quo\"te's.mp4", "видео 视频.mp4", "100%_[1].mp4", "a\nb.mp4"])
    put(tmp_path, *names)
    assert list_source(str(tmp_path))["video_id"].to_list() == names


def test_a_name_that_is_not_utf8_can_be_listed_and_opened(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(raw, "wb") as stream:
        stream.write(b"x")
    row = list_source(str(tmp_path)).row(0, named=True)
    assert row["video_id"] == r"caf\xe9.mp4"
    assert path_of(row["uri"]).read_bytes() == b"x"


def test_a_loop_of_links_is_walked_once_and_a_dangling_link_is_not_lost(tmp_path: Path) -> None:
    put(tmp_path, "in/a.mp4")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    assert list_source(str(tmp_path))["video_id"].to_list() == ["gone.mp4", "in/a.mp4"]


def test_a_glob_lists_below_its_fixed_part(tmp_path: Path) -> None:
    put(tmp_path, "x/a.mp4", "y/b.mp4", "y/c.gif")
    assert list_source(f"{tmp_path}/*/*.mp4")["video_id"].to_list() == ["x/a.mp4", "y/b.mp4"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_manifest_gives_ids_words_and_paths_relative_to_itself(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame(
        {
            "video_id": ["v2", "v1"],
            "uri": ["media/b.mp4", "/abs/a.mp4"],
            "title": ["Two", None],
            "tags": ["Jazz|Live Music, piano", None],
            "published_at": ["2026-01-02T03:04:05Z", "2026-01-01T00:00:00Z"],
            "unknown": [1, 2],
        }
    )
    path = tmp_path / f"videos.{kind}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[kind](path)
    first, second = list_source(str(path)).iter_rows(named=True)
    assert [first[c] for c in ("video_id", "uri", "title", "tags")] == ["v1", "/abs/a.mp4", None, None]
    assert (second["uri"], second["title"]) == (str(tmp_path / "media/b.mp4"), "Two")
    assert second["tags"] == ["jazz", "live music", "piano"]
    assert second["published_at"].isoformat() == "2026-01-02T03:04:05+00:00"
    assert "unknown" not in second


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("uri,title\na.mp4,x\n", "lacks the column.s. video_id; it has uri, title"),
        ("video_id,uri\nv,a.mp4\nv,b.mp4\n", "'v' more than once"),
        ("video_id,uri\n,a.mp4\n", "video_id is null in 1 of 1 rows"),
        ("video_id,uri\n", "has no rows"),
        ("", "is empty"),
        ("video_id,uri,min_age\nv,a.mp4,old\n", "min_age cannot be read as Int16"),
        (f"video_id,uri\n{'x' * 513},a.mp4\n", "has 513 bytes; 1 to 512"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "videos.csv"
    path.write_text(content)
    with pytest.raises(BadInput, match=said):
        list_source(str(path))


def test_a_source_that_is_missing_empty_remote_or_no_manifest_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "empty", "readme.txt")
    put(tmp_path, "one.mp4")
    for source, said in [
        (tmp_path / "nowhere", "is not there"),
        (tmp_path / "empty", "holds no media file"),
        (tmp_path / "empty" / "*.mp4", "holds no media file"),
        (tmp_path / "one.mp4", "no manifest"),
        ("s3://bucket/videos", "is a URL"),
    ]:
        with pytest.raises(BadInput, match=said):
            list_source(str(source))
