"""Tables over months: rows dropped, small files merged, files that nobody lists swept."""

import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import Column
from features.errors import CommitConflict
from features.table_sweep import discard, superseded, vacuum
from features.tables import COMMITS, MOST_SMALL, Table

COLUMNS = (
    Column("order", pl.Int64(), True, "place"),
    Column("user_id", pl.String(), False, "who"),
)


def rows(start: int, *users: str | None) -> pl.DataFrame:
    order = range(start, start + len(users))
    return pl.DataFrame({"order": order, "user_id": users}, schema={"order": pl.Int64, "user_id": pl.String})


def filled(path: Path) -> Table:
    table = Table(path, COLUMNS)
    table.append_parts({"date=1": rows(0, "a", "b"), "date=2": rows(2, "b")}, meta={"next": 3})
    table.append_parts({"date=1": rows(3, "a", None), "date=3": rows(5, "c")})
    return table


def test_rewrite_drops_the_rows_and_touches_no_file_without_them(tmp_path: Path) -> None:
    table = filled(tmp_path / "t")
    before = table.snapshot()
    after, removed = table.rewrite(pl.col("user_id") != "b", meta={"why": "asked"})
    assert (removed, after.rows, after.meta) == (2, 4, {"next": 3, "why": "asked"})
    assert table.read().sort("order")["user_id"].to_list() == ["a", "a", None, "c"]
    assert [name in before.files for name in after.files] == [False, True, True]
    assert [name.split("/")[0] for name in after.files] == ["date=1", "date=1", "date=3"]
    assert len(table.read(at=before)) == 6


def test_rewrite_that_drops_nothing_commits_only_what_it_has_to_say(tmp_path: Path) -> None:
    table = filled(tmp_path / "t")
    before = table.snapshot()
    assert table.rewrite(pl.col("user_id") != "nobody") == (before, 0)
    after, removed = table.rewrite(pl.col("user_id") != "nobody", meta={"seen": True})
    assert (after.sequence, after.files, removed) == (before.sequence + 1, before.files, 0)
    assert Table(tmp_path / "none", COLUMNS).rewrite(pl.lit(False), meta={"a": 1})[1] == 0


def test_rewrite_loses_to_another_writer(tmp_path: Path) -> None:
    table = filled(tmp_path / "t")
    before = table.snapshot()
    table.append(rows(6, "b"))
    with pytest.raises(CommitConflict):
        table.rewrite(pl.col("user_id") != "b", onto=before)
    assert table.snapshot().rows == 7


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), min_size=18, max_size=40))
def test_merging_small_files_changes_no_row_and_no_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]]
) -> None:
    table = Table(tmp_path_factory.mktemp("t") / "t", COLUMNS)
    expected: list[tuple[int, str]] = []
    for batch in batches:
        fresh = rows(len(expected), *batch)
        table.append_parts({"date=1": fresh, "date=2": fresh[:1]}, merge_small=True)
        expected += fresh.rows()
        in_one = [name for name in table.snapshot().files if name.startswith("date=1/")]
        assert len(in_one) <= MOST_SMALL
        one = pl.concat([pl.read_parquet(table.path / name) for name in in_one])
        assert one.rows() == expected
    assert table.snapshot().rows == len(table.read()) == len(expected) + len(batches)


def test_large_files_are_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(tmp_path / "t", COLUMNS)
    monkeypatch.setattr("features.tables.SMALL_BYTES", 10)
    for i in range(MOST_SMALL + 4):
        table.append_parts({"": rows(i, "a")}, merge_small=True)
    assert len(table.snapshot().files) == MOST_SMALL + 4


def age(table: Table, seconds: float) -> None:
    for path in table.path.rglob("*.parquet"):
        os.utime(path, (path.stat().st_mtime - seconds,) * 2)


def test_vacuum_waits_for_readers_of_older_commits_and_for_writers_without_one(tmp_path: Path) -> None:
    table = filled(tmp_path / "t")
    before = table.snapshot()
    after, _ = table.rewrite(pl.col("user_id") != "b")
    [(pending, _)] = table.write_parts({"date=9": rows(9, "z")})
    assert vacuum(table, older_than_s=3600).files == 0
    assert len(table.read(at=before)) == 6
    swept = vacuum(table, older_than_s=3600, now_s=after.committed_at + 3599)
    assert (swept.files, swept.records) == (0, 0)
    age(table, 7200)
    os.utime(table.path / pending, (after.committed_at + 10,) * 2)
    late = vacuum(table, older_than_s=3600, now_s=after.committed_at + 3601)
    assert (late.files, late.records) == (len(superseded(before, after)), 2)
    assert late.size_bytes > 0
    assert (table.path / pending).exists()
    assert table.read().sort("order")["user_id"].to_list() == ["a", "a", None, "c"]
    assert len(list((table.path / COMMITS).iterdir())) == 1
    table.append(rows(9, "later"))
    assert table.snapshot().sequence == after.sequence + 1


def test_discard_takes_what_was_superseded_and_nothing_that_is_listed(tmp_path: Path) -> None:
    table = filled(tmp_path / "t")
    before = table.snapshot()
    after, _ = table.rewrite(pl.col("user_id") != "b")
    assert discard(table, before.files) == len(superseded(before, after)) == 2
    assert len(table.read()) == 4
    assert len(list(table.path.rglob("*.parquet"))) == len(after.files)
