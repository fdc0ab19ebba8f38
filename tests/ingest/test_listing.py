"""What a directory, a glob and a manifest list, and how a wrong one is refused."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadInput
from ingest.source.listing import LISTING, Listing, list_source, path_of
from ingest.source.locations import access_to
from ingest.source.stamps import Stamp, stamps


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_a_directory_lists_every_file_that_may_be_media_by_its_path(tmp_path: Path) -> None:
    put(tmp_path, "b.mp4", "deep/er/a.webm", "no_extension")
    put(tmp_path, "notes.txt", "table.parquet", ".hidden", ".git/x.mp4")
    listing = list_source(str(tmp_path)).frame
    assert listing["video_id"].to_list() == ["b.mp4", "deep/er/a.webm", "no_extension"]
    assert [Path(uri) for uri in listing["uri"]] == [tmp_path / name for name in listing["video_id"]]


def test_strange_names_are_names_like_others(tmp_path: Path) -> None:
    names = sorted(["-leading dash.mp4", "quo\"te's.mp4", "видео 视频.mp4", "100%_[1].mp4", "a\nb.mp4"])
    put(tmp_path, *names)
    assert list_source(str(tmp_path)).frame["video_id"].to_list() == names


def test_a_name_that_is_not_utf8_can_be_listed_and_opened(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(raw, "wb") as stream:
        stream.write(b"x")
    row = list_source(str(tmp_path)).frame.row(0, named=True)
    assert row["video_id"] == r"caf\xe9.mp4"
    assert path_of(row["uri"]).read_bytes() == b"x"


def test_a_loop_of_links_is_walked_once_and_a_dangling_link_is_not_lost(tmp_path: Path) -> None:
    put(tmp_path, "in/a.mp4")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    assert list_source(str(tmp_path)).frame["video_id"].to_list() == ["gone.mp4", "in/a.mp4"]


def test_a_glob_lists_below_its_fixed_part(tmp_path: Path) -> None:
    put(tmp_path, "x/a.mp4", "y/b.mp4", "y/c.gif")
    assert list_source(f"{tmp_path}/*/*.mp4").frame["video_id"].to_list() == ["x/a.mp4", "y/b.mp4"]


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
    first, second = list_source(str(path)).frame.iter_rows(named=True)
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


def test_a_source_that_is_missing_empty_unknown_or_no_manifest_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "empty", "readme.txt")
    put(tmp_path, "one.mp4")
    for source, said in [
        (tmp_path / "nowhere", "is not there"),
        (tmp_path / "empty", "holds no media file"),
        (tmp_path / "empty" / "*.mp4", "holds no media file"),
        (tmp_path / "one.mp4", "no manifest"),
        ("nonsense://bucket/videos", "no scheme that can be read"),
    ]:
        with pytest.raises(BadInput, match=said):
            list_source(str(source))


def ids(listing: Listing) -> list[str]:
    return listing.frame["video_id"].to_list()


def test_a_listing_knows_the_stamps_that_the_directory_knows_and_no_others(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "in/b.mp4", "c.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    listing = list_source(str(tmp_path))
    assert (listing.root, dict(listing.frame.schema)) == (str(tmp_path), dict(LISTING))
    known = listing.frame.filter(pl.col("video_id") != "link.mp4")
    said = [Stamp(*row) for row in known.select("size_bytes", "modified_ns", "etag").iter_rows()]
    assert said == stamps(known["uri"].to_list(), access_to(listing.root))
    link = listing.frame.filter(pl.col("video_id") == "link.mp4").row(0, named=True)
    assert (link["size_bytes"], link["modified_ns"], link["etag"]) == (None, None, None)


def test_a_folder_that_lies_elsewhere_is_listed_as_it_is_until_the_media_root_holds_it(
    tmp_path: Path,
) -> None:
    put(tmp_path, "source/a.mp4", "elsewhere/b.mp4")
    (tmp_path / "source" / "out").symlink_to("../elsewhere")
    (tmp_path / "source" / "all").symlink_to("/")
    inside = list_source(str(tmp_path / "source"))
    assert ids(inside) == ["a.mp4", "all", "out"]
    assert inside.frame["size_bytes"].to_list() == [1, None, None]
    (tmp_path / "source" / "all").unlink()
    wider = list_source(str(tmp_path / "source"), media_root=str(tmp_path))
    assert (wider.root, ids(wider)) == (str(tmp_path), ["a.mp4", "out/b.mp4"])
    for root in (tmp_path / "elsewhere", "s3://bucket"):
        with pytest.raises(BadInput, match=r"lies outside the media root .* name one above it"):
            list_source(str(tmp_path / "source"), media_root=str(root))


@pytest.mark.parametrize(
    "pattern", ["**/*.mp4", "*/**/b*", "**", "**/deep/**/*.mp4", "*/*.mp4", "[ab]*", "**/x/*"]
)
def test_a_glob_finds_what_the_shell_finds(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "a.mp4", "b.mp4", "x/b.mp4", "x/deep/c.mp4", "y/deep/er/b.webm", "y/.hidden/d.mp4")
    found = (Path(name) for name in glob.glob(pattern, root_dir=tmp_path, recursive=True))
    expected = sorted(str(name) for name in found if (tmp_path / name).is_file())
    listing = list_source(f"{tmp_path}/{pattern}")
    assert ids(listing) == expected
    assert listing.frame["uri"].to_list() == [str(tmp_path / name) for name in expected]


def test_a_glob_over_loops_of_links_ends(tmp_path: Path) -> None:
    put(tmp_path, "in/a.mp4")
    for name in ("one", "two", "three"):
        (tmp_path / "in" / name).symlink_to(tmp_path)
    assert ids(list_source(f"{tmp_path}/**/*.mp4")) == ["in/a.mp4"]


segments = st.lists(
    st.sampled_from(["a", "..", ".", "", "b c", "x.mp4", "...", ".h", "ü"]), min_size=1, max_size=4
)


@given(st.lists(segments.map("/".join).filter(bool), min_size=1, max_size=5))
def test_paths_of_a_manifest_are_joined_as_paths_are(uris: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        rows = pl.DataFrame({"video_id": [f"v{at}" for at in range(len(uris))], "uri": uris})
        rows.write_parquet(f"{name}/list.parquet")
        listing = list_source(f"{name}/list.parquet")
        expected = [str(Path(name) / uri) for uri in uris]
        assert (listing.root, listing.frame["uri"].to_list()) == (name, expected)


def test_urls_of_a_manifest_stay_as_they_are_and_its_directory_is_the_root(tmp_path: Path) -> None:
    uris = ["s3://bucket//a/./b", "file:///x/%2e", "https://host/a?b=/../c"]
    pl.DataFrame({"video_id": ["a", "b", "c"], "uri": uris, "etag": ["1", "2", "3"]}).write_csv(
        tmp_path / "l.csv"
    )
    listing = list_source(str(tmp_path / "l.csv"))
    assert (listing.root, listing.frame["uri"].to_list()) == (str(tmp_path), uris)
    assert listing.frame["etag"].null_count() == 3
    assert list_source(str(tmp_path / "l.csv"), media_root="s3://bucket").root == "s3://bucket"


def test_a_folder_of_any_filesystem_is_listed_by_the_same_rules() -> None:
    store = fsspec.filesystem("memory")
    for name in ("a.mp4", "x/b.webm", ".git/c.mp4", "x/.d.mp4", "notes.txt"):
        store.pipe(f"/listed/{name}", b"x")
    try:
        listing = list_source("memory://listed")
        assert listing.frame.select("video_id", "uri", "size_bytes").rows() == [
            ("a.mp4", "memory://listed/a.mp4", 1),
            ("x/b.webm", "memory://listed/x/b.webm", 1),
        ]
    finally:
        store.rm("/listed", recursive=True)


LIST_AS_NOBODY = """
import os, sys
from ingest.source.listing import list_source

if os.geteuid() == 0:  # permissions do not bind root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for source in sys.argv[1:]:
    try:
        print(list_source(source).frame["video_id"].to_list())
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_directory_that_may_not_be_read_is_listed_as_it_is_and_as_a_source_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = put(Path(name), "a.mp4", "closed/b.mp4")
        root.chmod(0o755)
        (root / "closed").chmod(0)
        command = [sys.executable, "-c", LIST_AS_NOBODY, name, f"{name}/**/*.mp4", f"{name}/closed"]
        home = Path(__file__).parents[2]
        run = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        (root / "closed").chmod(0o755)
    assert run.stdout.splitlines() == [
        "['a.mp4', 'closed']",
        "['a.mp4', 'closed']",
        f"BadInput directory {name}/closed cannot be read; check its permissions",
    ], run.stderr
