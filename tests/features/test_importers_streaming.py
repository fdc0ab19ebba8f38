"""An import in chunks is the import of the whole; each event is stored once, and told apart exactly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import INTERACTIONS, conform
from features.errors import CommitConflict
from features.formats.readers import read_chunks, read_table
from features.formats.readers_text import blocks, row_end
from features.importers import import_events, key_of_event_id
from features.intake import appending
from features.intake.appending import append_events
from features.intake.event_identity import identify, identities, joined, repeats
from features.intake.event_index import NEW, OTHER, SAME, find_stored
from features.table_sweep import INDEX, cached
from features.tables import Table
from features.workspace import Workspace, open_workspace

MakeEvents = Callable[..., pl.DataFrame]
SMALL = 120
"""Bytes of a chunk."""

texts = st.text(alphabet='ab,"\n é', max_size=6)


def new_workspace(folder: Path) -> Workspace:
    return open_workspace(folder, create=True)


@given(st.lists(st.tuples(texts, texts, st.integers(0, 3)), min_size=1, max_size=30), st.integers(1, 60))
def test_csv_in_chunks_is_the_whole_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]], size: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    frame = pl.DataFrame(rows, schema=["user_id", "video_id", "n"], orient="row")
    frame.write_csv(path, quote_style="always")
    whole = read_table(path).frame
    parts = [source.frame for source in read_chunks(path, size)]
    assert pl.concat(parts).equals(whole)
    assert whole["user_id"].to_list() == frame["user_id"].to_list()
    assert whole["row"].to_list() == list(range(len(rows)))
    assert b"".join(blocks(path, size, row_end)) == path.read_bytes()


lines = st.lists(
    st.sampled_from(
        ['{"user_id":"u","video_id":"v"}', '{"user_id":1,"video_id":[2]}', "no", "", "[1]", '{"a":1.5}']
    )
)


@given(lines, st.integers(1, 80))
def test_json_lines_in_chunks_count_their_rows_like_the_whole(
    tmp_path_factory: pytest.TempPathFactory, given_lines: list[str], size: int
) -> None:
    path = tmp_path_factory.mktemp("json") / "log.jsonl"
    path.write_text("\n".join([*given_lines, '{"user_id":"last","video_id":"v"}']))
    filled = [line for line in given_lines if line] + ["last"]
    parts = list(read_chunks(path, size))
    good = [row for part in parts for row in part.frame["row"].to_list()]
    broken = [row for part in parts for row in part.broken["row"].to_list()]
    assert sorted(good + broken) == list(range(len(filled)))
    assert broken == [i for i, line in enumerate(filled) if line in ("no", "[1]")]


def test_parquet_in_chunks_is_the_whole_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [f"u{i}" for i in range(1000)], "row": range(1000, 2000)})
    frame.write_parquet(tmp_path / "log.parquet", row_group_size=170)
    parts = [source.frame for source in read_chunks(tmp_path / "log.parquet", 64 * 90)]
    assert len(parts) > 1
    assert pl.concat(parts).equals(read_table(tmp_path / "log.parquet").frame)
    assert pl.concat(parts)["row"].to_list() == list(range(1000))


def log_of(seed: int, n: int = 300) -> pl.DataFrame:
    """Events with repeats, conflicts and rows without times."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "event_id": [f"e{i}" if i % 3 else None for i in rng.integers(0, n, n)],
            "user_id": [f"u{i}" for i in rng.integers(0, 5, n)],
            "video_id": [f"v{i}" for i in rng.integers(0, 3, n)],
            "event": [("play", "like")[i] for i in rng.integers(0, 2, n)],
            "ts": [1_767_225_600 + 3600 * int(i) if i % 4 else None for i in rng.integers(0, 60, n)],
        }
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_import_in_chunks_stores_what_the_whole_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, ending: str
) -> None:
    log, path = log_of(seed), tmp_path / f"log.{ending}"
    getattr(log, {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}[ending])(path)
    whole, parts = new_workspace(tmp_path / "whole"), new_workspace(tmp_path / "parts")
    first = import_events(whole, [path])
    monkeypatch.setattr(appending, "ROWS_AT_ONCE", 40)
    assert import_events(parts, [path], chunk_bytes=SMALL * 8) == first
    assert first.rows == 300 == first.imported + first.duplicates + sum(first.refused.values())
    assert first.duplicates
    assert first.refused
    stored = [ws.interactions.read().sort("order") for ws in (whole, parts)]
    assert stored[0].equals(stored[1])
    assert {p.relative_to(whole.root) for p in whole.interactions.path.glob("date=*")} == {
        p.relative_to(parts.root) for p in parts.interactions.path.glob("date=*")
    }
    again = import_events(parts, [path], chunk_bytes=SMALL * 8)
    assert (again.imported, again.rows, again.refused) == (0, 300, first.refused)
    assert not list(parts.root.glob(".import-*"))


keys = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), max_size=12)


@given(st.lists(keys, max_size=6))
def test_what_is_stored_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int]]]
) -> None:
    workspace = new_workspace(tmp_path_factory.mktemp("w") / "w")
    expected: dict[str, str] = {}
    for batch in batches:
        frame = events_of([f"id {key}" for key, _ in batch], [f"v{video}" for _, video in batch])
        fresh = {key: f"v{video}" for key, video in reversed(batch) if f"id {key}" not in expected}
        assert append_events(workspace, frame) == len(fresh)
        expected |= {f"id {key}": video for key, video in fresh.items()}
    rows = workspace.interactions.read().sort("order")
    assert dict(rows.select("event_id", "video_id").rows()) == expected
    assert rows["order"].n_unique() == len(expected) == len(rows)


def events_of(ids: list[str], videos: list[str]) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"event_id": ids, "video_id": videos}, schema={"event_id": pl.String, "video_id": pl.String}
    ).with_columns(user_id=pl.lit("u"), event=pl.lit("play"), order=pl.int_range(pl.len(), dtype=pl.Int64))
    keys = pl.Series("event_key", [key_of_event_id(name) for name in ids], dtype=pl.String)
    return conform(frame.with_columns(keys), INTERACTIONS, "test")


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "absent":
        path.unlink()
        return
    if how == "cut":
        content = content[:-8]
    elif how == "flipped":
        content[-3] ^= 1
    elif how == "of another version":
        content[7] ^= 1
    else:
        content = bytearray()
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", ["absent", "cut", "flipped", "empty", "of another version"])
def test_a_damaged_index_is_made_anew_and_never_trusted(workspace: Workspace, how: str) -> None:
    names = [f"id {i}" for i in range(50)]
    append_events(workspace, events_of(names, ["v"] * 50))
    assert append_events(workspace, events_of(names[:5], ["v"] * 5)) == 0
    table = workspace.interactions
    [name] = table.snapshot().files
    made = cached(table, name)
    sound = made.read_bytes()
    damage(made, how)
    assert append_events(workspace, events_of([*names, "new"], ["v"] * 51)) == 1
    assert made.read_bytes() == sound


def test_keys_that_agree_in_64_bits_are_different_events(workspace: Workspace) -> None:
    same = "0123456789abcdef"
    frame = events_of(["a", "b", "c"], ["v"] * 3).with_columns(
        pl.Series("event_key", [same + 16 * digit for digit in "123"])
    )
    assert append_events(workspace, frame[:2]) == 2
    table, asked = workspace.interactions, identities(frame)
    assert find_stored(table, table.snapshot().files, asked).tolist() == [SAME, SAME, NEW]
    other = identities(frame.with_columns(video_id=pl.lit("w")))
    assert find_stored(table, table.snapshot().files, other).tolist() == [OTHER, OTHER, NEW]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=30))
def test_repeats_are_those_of_a_dictionary(said: list[tuple[int, int]]) -> None:
    frame = events_of([f"id {key}" for key, _ in said], [f"v{video}" for _, video in said])
    halves = [identities(frame[: len(said) // 2]), identities(frame[len(said) // 2 :])]
    same, other = repeats(joined(halves))
    first: dict[int, int] = {}
    for place, (key, video) in enumerate(said):
        known = key in first
        assert same[place] == (known and first[key] == video)
        assert other[place] == (known and first[key] != video)
        first.setdefault(key, video)


def test_a_drain_that_comes_in_between_costs_no_event_and_no_order(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Table.write_parts
    drains = iter([events_of(["id 1", "drained"], ["v", "v"]), events_of(["more"], ["v"])])

    def write_late(self: Table, frames: dict[str, pl.DataFrame]) -> list[tuple[str, int]]:
        out = written(self, frames)
        drain = next(drains, None) if self.name == "interactions" else None
        if drain is not None:
            monkeypatch.setattr(Table, "write_parts", written)
            append_events(workspace, drain)
            monkeypatch.setattr(Table, "write_parts", write_late)
        return out

    monkeypatch.setattr(Table, "write_parts", write_late)
    assert append_events(workspace, events_of(["id 0", "id 1", "id 2"], ["v"] * 3)) == 2
    rows = workspace.interactions.read().sort("order")
    assert rows["event_id"].to_list() == ["id 1", "drained", "more", "id 0", "id 2"]
    assert rows["order"].n_unique() == 5


def test_writers_who_are_always_first_end_in_a_conflict(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_events(workspace, events_of(["a"], ["v"]))

    def refuse(*args: object, **given: object) -> None:
        raise CommitConflict("another writer")

    monkeypatch.setattr(Table, "add_files", refuse)
    with pytest.raises(CommitConflict, match="were changed by others 8 times; repeat"):
        append_events(workspace, events_of(["b"], ["v"]))


def test_orders_go_on_behind_rows_of_an_earlier_release(
    workspace: Workspace, interactions_of: MakeEvents
) -> None:
    old = interactions_of(video_id=["v"] * 3, order=[0, 7, 3], event_key=["x", "y", "z"])
    workspace.interactions.append(old)
    append_events(workspace, events_of(["a"], ["v"]))
    workspace.interactions.rewrite(pl.col("event_key") != "y")
    append_events(workspace, events_of(["b"], ["v"]))
    assert workspace.interactions.read()["order"].sort().to_list() == [0, 3, 8, 9]


def test_drains_leave_few_files_and_one_index_for_each(workspace: Workspace) -> None:
    for minute in range(40):
        append_events(workspace, events_of([f"id {minute}"], ["v"]))
    table = workspace.interactions
    files = table.snapshot().files
    assert len(files) <= 17
    assert table.read()["order"].to_list() == list(range(40))
    assert append_events(workspace, events_of([f"id {i}" for i in range(40)], ["v"] * 40)) == 0
    assert all((table.path / INDEX / f"{name}.keys").exists() for name in files)


def test_events_of_one_row_of_a_log_without_users_are_told_apart() -> None:
    rows = pl.DataFrame(
        {
            "event_id": [None, None],
            "user_id": [None, None],
            "video_id": ["v", "v"],
            "event": ["impression", "play"],
            "ts": [None, None],
            "row": [4, 4],
            "further": [False, True],
        },
        schema_overrides={"event_id": pl.String, "user_id": pl.String, "ts": pl.Datetime("ms", "UTC")},
    )
    assert identify(rows, "d").n_unique() == 2
    assert identify(rows, "d")[0] == identify(rows.drop("further")[:1], "d")[0]
