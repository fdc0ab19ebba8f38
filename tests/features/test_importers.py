"""Event logs at the door."""

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import BadInput, NotFound
from features.importers import REFUSED, import_events, key_of_event_id
from features.tables import Table
from features.timestamps import parse_times
from features.workspace import Workspace


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def test_a_csv_a_parquet_and_json_lines_give_the_same_events(workspace: Workspace, tmp_path: Path) -> None:
    rows = {
        "user_id": ["u1", "u2"],
        "video_id": ["v1", "v2"],
        "event": ["like", "play"],
        "ts": ["2026-01-05T10:00:00Z", "2026-01-06T00:00:00+02:00"],
        "watch_s": [None, 3.5],
        "shoe_size": [42, 43],
    }
    frame = pl.DataFrame(rows)
    frame.write_csv(tmp_path / "a.csv")
    frame.with_columns(parse_times(frame["ts"])).write_parquet(tmp_path / "b.parquet")
    frame.write_ndjson(tmp_path / "c.jsonl")
    done = import_events(workspace, [tmp_path / name for name in ("a.csv", "b.parquet", "c.jsonl")])
    assert (done.rows, done.imported, done.duplicates, done.refused) == (6, 2, 4, {})
    stored = workspace.interactions.read().sort("user_id")
    assert stored["ts"].dt.epoch("s").to_list() == [1767607200, 1767650400]
    assert stored["watch_s"].to_list() == [None, 3.5]
    assert {p.parent.name for p in workspace.interactions.path.glob("date=*/*")} == {"date=2026-01-05"}


def test_each_bad_row_is_refused_with_its_reason_and_the_rest_is_used(
    workspace: Workspace, tmp_path: Path
) -> None:
    lines = [
        {"user_id": "u", "video_id": "v", "ts": 1767225600},
        {"user_id": None, "video_id": "v"},
        {"user_id": "u", "video_id": ""},
        {"user_id": "u" * 600, "video_id": "v"},
        {"user_id": "u", "video_id": "v", "event": "yawn"},
        {"user_id": "u", "video_id": "v", "watch_s": -1},
        {"user_id": "u", "video_id": "v", "propensity": 0},
        {"user_id": "u", "video_id": "v", "propensity": 1.5},
        {"user_id": "u", "video_id": "v", "ts": "yesterday"},
        {"user_id": "u", "video_id": "v", "position": "third"},
    ]
    text = "\n".join([*map(json.dumps, lines), "{not json"])
    done = import_events(workspace, [write(tmp_path / "log.jsonl", text)])
    assert done.imported == 1
    assert done.refused == {
        "line not readable": 1,
        "negative watch_s": 1,
        "no user_id": 1,
        "no video_id": 1,
        "position not readable": 1,
        "propensity outside (0, 1]": 2,
        "ts not readable": 1,
        "unknown event": 1,
        "user_id too long": 1,
    }
    assert done.rows == 11 == done.imported + done.duplicates + sum(done.refused.values())
    kept = Table(workspace.root / "quarantine" / "interactions", REFUSED).read()
    assert len(kept) == 10
    assert json.loads(kept.filter(pl.col("reason") == "unknown event")["content"][0])["event"] == "yawn"


def test_the_same_file_again_adds_nothing_although_rows_have_no_times(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = write(tmp_path / "log.csv", "user_id,video_id\nu,v\nu,v\n")
    assert import_events(workspace, [path]).imported == 2
    again = import_events(workspace, [path])
    assert (again.imported, again.duplicates) == (0, 2)
    assert {p.parent.name for p in workspace.interactions.path.glob("date=*/*")} == {"date=unknown"}
    assert workspace.interactions.read()["order"].to_list() == [0, 1]


def test_an_event_is_itself_by_event_id_else_by_user_video_time_and_kind(
    workspace: Workspace, tmp_path: Path
) -> None:
    text = (
        "event_id,user_id,video_id,ts,event\n"
        "e1,u,v,1767225600,play\n"
        "e1,u,other,1767225999,like\n"
        ",u,v,1767225600,play\n"
        ",u,v,1767225600,like\n"
        ",u,v,1767225600000,like\n"
    )
    done = import_events(workspace, [write(tmp_path / "log.csv", text)])
    assert (done.imported, done.duplicates) == (3, 1)
    assert done.refused == {"event_id given with another payload": 1}
    assert key_of_event_id("e1") in workspace.interactions.read()["event_key"].to_list()


def test_an_absent_required_column_is_named_with_what_is_there(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"lacks the required column\(s\) user_id; it has person, video_id"):
        import_events(workspace, [write(tmp_path / "log.csv", "person,video_id\nu,v\n")])
    assert not workspace.interactions.exists()


def test_missing_empty_and_unknown_inputs_each_get_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NotFound, match="is not there"):
        import_events(workspace, [tmp_path / "absent.csv"])
    with pytest.raises(BadInput, match="no file that can be read"):
        import_events(workspace, [tmp_path / "nothing"])
    with pytest.raises(BadInput, match="is empty"):
        import_events(workspace, [write(tmp_path / "empty.csv", "")])
    with pytest.raises(BadInput, match="cannot be read as parquet"):
        import_events(workspace, [write(tmp_path / "bad.parquet", "no")])
    with pytest.raises(BadInput, match="unknown format xml"):
        import_events(workspace, [tmp_path], "xml")


def test_a_movielens_folder_gives_ratings_as_plays_and_movies_as_the_catalogue(
    workspace: Workspace, tmp_path: Path
) -> None:
    write(tmp_path / "ml" / "ratings.csv", "userId,movieId,rating,timestamp\n1,10,4.5,1112486027\n")
    write(
        tmp_path / "ml" / "movies.csv",
        'movieId,title,genres\n10,"Heat, The (1995)",Action|Crime\n11,B,(no genres listed)\n',
    )
    done = import_events(workspace, [tmp_path / "ml"])
    assert (done.imported, done.formats) == (1, ["movielens"])
    row = workspace.interactions.read().row(0, named=True)
    assert (row["user_id"], row["video_id"], row["event"], row["rating"]) == ("1", "10", "play", 4.5)
    assert row["ts"] == dt.datetime(2005, 4, 2, 23, 53, 47, tzinfo=dt.UTC)
    catalogue = workspace.catalogue.read()
    assert catalogue.select("video_id", "title").rows() == [("10", "Heat, The (1995)"), ("11", "B")]
    assert catalogue["tags"].to_list() == [["action", "crime"], []]


def test_the_older_movielens_spellings_are_read_too(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "1m" / "ratings.dat", "1::10::5::978300760\n2::10::3::978302109\n")
    write(tmp_path / "1m" / "movies.dat", "10::Misérables, Les (1995)::Drama|Musical\n", "latin-1")
    flags = "|".join("1" if i in (5, 8) else "0" for i in range(19))
    write(tmp_path / "100k" / "u.data", "7\t20\t3\t881250949\n")
    write(tmp_path / "100k" / "u.item", f"20|Kolya (1996)|24-Jan-1997||http://x|{flags}\n", "latin-1")
    done = import_events(workspace, [tmp_path / "1m", tmp_path / "100k"])
    assert (done.imported, done.refused) == (3, {})
    said = {
        row["video_id"]: (row["title"], row["tags"])
        for row in workspace.catalogue.read().iter_rows(named=True)
    }
    assert said == {
        "10": ("Misérables, Les (1995)", ["drama", "musical"]),
        "20": ("Kolya (1996)", ["comedy", "drama"]),
    }


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T10:30:00Z",
        "2026-01-31 10:30:00",
        "2026-01-31T10:30",
        "2026-01-31T10:30:00.000",
        "2026-01-31T12:30:00+02:00",
        "2026-01-31T12:30:00+0200",
        "2026-01-31T08:30:00-02",
        "2026-01-31 10:30:00 UTC",
        "1769855400",
        "1769855400000",
        "1769855400000000",
        "1769855400000000000",
        "1769855400.0",
    ],
)
def test_every_usual_spelling_of_a_time_is_the_same_time(text: str) -> None:
    assert parse_times(pl.Series([text])).dt.epoch("s").to_list() == [1_769_855_400]


@settings(max_examples=25)
@given(st.lists(st.text(max_size=40), max_size=40))
def test_no_text_makes_the_parser_of_times_fail(texts: list[str]) -> None:
    assert len(parse_times(pl.Series(texts, dtype=pl.String))) == len(texts)


def test_real_pairs_without_times_are_all_imported(workspace: Workspace, shared_data: Path) -> None:
    done = import_events(workspace, [shared_data / "tiktok" / "train.parquet"])
    assert (done.rows, done.imported, done.refused) == (59_541, 59_541, {})
