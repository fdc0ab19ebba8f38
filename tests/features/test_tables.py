"""Committed tables: a reader sees all of a write or nothing of it."""

import os
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import Column
from features.errors import BadInput, CommitConflict
from features.tables import COMMITS, Table, create_durably, write_all_durably, write_durably

COLUMNS = (Column("key", pl.Int64(), True, "a key"), Column("word", pl.String(), False, "a word"))


def rows(*keys: int) -> pl.DataFrame:
    return pl.DataFrame({"key": keys}, schema={"key": pl.Int64})


def test_a_table_without_a_commit_reads_as_empty_with_its_schema(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    assert table.read().schema == pl.Schema({"key": pl.Int64, "word": pl.String})
    assert not table.exists()


@given(st.lists(st.lists(st.integers(-5, 5), max_size=4), max_size=5))
def test_appended_rows_come_back_in_order_and_a_repeated_write_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    table = Table(tmp_path_factory.mktemp("t") / "t", COLUMNS)
    expected: list[int] = []
    written: set[tuple[int, ...]] = set()
    for batch in batches:
        table.append(rows(*batch))
        if batch and tuple(batch) not in written:
            expected += batch
        written.add(tuple(batch))
    assert table.read()["key"].to_list() == expected
    assert table.snapshot().rows == len(expected)


def test_replace_puts_new_rows_in_the_place_of_all(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    table.append(rows(1, 2), meta={"next": 3})
    table.replace(rows(9), meta={"next": 10})
    assert table.read()["key"].to_list() == [9]
    assert table.snapshot().meta == {"next": 10}


def test_files_without_a_commit_record_are_not_seen(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    table.append(rows(1))
    table._write(rows(2), "")
    assert table.read()["key"].to_list() == [1]


def test_of_two_writers_of_one_commit_exactly_one_wins(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    before = table.snapshot()
    table.append(rows(1))
    name, count = table._write(rows(2), "")
    with pytest.raises(CommitConflict, match="commit 1 of table t was made by another writer"):
        table._commit(before, (name,), count, {})
    assert table.read()["key"].to_list() == [1]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    with pytest.raises(BadInput, match=r"table t lacks the required column\(s\) key; it has word"):
        table.append(pl.DataFrame({"word": ["a"]}))
    assert not list(tmp_path.rglob("*"))


def test_every_bad_column_is_named_at_once(tmp_path: Path) -> None:
    columns = (*COLUMNS, Column("size", pl.Int32(), True, "bytes"))
    frame = pl.DataFrame(
        {"key": [None, 1], "size": ["big", "small"]}, schema={"key": pl.Int64, "size": pl.String}
    )
    with pytest.raises(BadInput, match=r"key has 1 null\(s\); size is String, not Int32"):
        Table(tmp_path / "t", columns).append(frame)


def test_durable_writes_leave_no_temporary_file(tmp_path: Path) -> None:
    write_durably(tmp_path / "a", b"1")
    write_durably(tmp_path / "a", b"2")
    assert create_durably(tmp_path / "b", b"1")
    assert not create_durably(tmp_path / "b", b"2")
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == {"a": b"2", "b": b"1"}


def test_a_table_in_parts_lists_each_file_below_its_part(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    table.append_parts({"date=2026-01-01": rows(1), "date=2026-01-02": rows(2), "date=2026-01-03": rows()})
    assert [name.split("/")[0] for name in table.snapshot().files] == ["date=2026-01-01", "date=2026-01-02"]
    assert len(os.listdir(tmp_path / "t" / COMMITS)) == 1


def named(*keys: int, name: str = "one") -> pl.DataFrame:
    return rows(*keys).with_columns(word=pl.lit(name))


def test_upsert_replaces_rows_by_key_and_touches_no_file_without_them(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    table.append(named(1, 2))
    table.append(named(3))
    untouched = table.snapshot().files[1]
    table.upsert([named(2, name="new"), named(4)], "key", meta={"who": "me"})
    assert sorted(table.read().rows()) == [(1, "one"), (2, "new"), (3, "one"), (4, "one")]
    after = table.snapshot()
    assert untouched in after.files
    assert (after.rows, after.sequence, after.meta["who"]) == (4, 3, "me")
    table.upsert([named(1, 2, 3, 4, name="all")], "key")
    assert (table.snapshot().rows, len(table.snapshot().files)) == (4, 1)


@given(st.lists(st.lists(st.integers(0, 12), unique=True, max_size=6), max_size=6))
def test_upserts_hold_the_last_row_of_every_key(batches: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder) / "t", COLUMNS)
        expected: dict[int, str] = {}
        for number, keys in enumerate(batches):
            table.upsert([named(*keys, name=str(number))] if keys else [], "key")
            expected.update(dict.fromkeys(keys, str(number)))
            assert dict(table.read().rows()) == expected
            assert table.snapshot().rows == len(expected)


def test_a_file_of_an_earlier_release_reads_as_null_where_it_lacks_a_column(tmp_path: Path) -> None:
    Table(tmp_path / "t", COLUMNS).append(named(1))
    grown = Table(tmp_path / "t", (*COLUMNS, Column("later", pl.Float32(), False, "came with a release")))
    grown.append(named(2).with_columns(later=pl.lit(0.5)))
    assert sorted(grown.read().rows()) == [(1, "one", None), (2, "one", 0.5)]


def test_many_files_are_written_whole(tmp_path: Path) -> None:
    write_all_durably((tmp_path / f"{i % 3}" / f"{i}.bin", bytes([i % 256]) * i) for i in range(300))
    assert sorted(int(p.stem) for p in tmp_path.rglob("*.bin")) == list(range(300))
    assert all(p.read_bytes() == bytes([int(p.stem) % 256]) * int(p.stem) for p in tmp_path.rglob("*.bin"))
    assert not list(tmp_path.rglob("*.tmp"))
