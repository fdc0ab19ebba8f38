"""Imports that are killed, that meet a deletion, and files that are not what they say."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features import importers
from features.erasure.in_tables import drop_rows, user_tables
from features.erasure.tombstones import refuse_users
from features.errors import BadInput
from features.formats.readers import read_chunks
from features.importers import import_events
from features.intake import appending, event_index
from features.intake.appending import WITHHELD, append_events, refused_events
from features.intake.laid_aside import LAID_ASIDE, laid_aside, left_behind
from features.table_sweep import discard, superseded
from features.workspace import Workspace

MakeEvents = Callable[..., pl.DataFrame]
T0 = 1_767_225_600_000


def ids_of(workspace: Workspace) -> list[str]:
    return sorted(workspace.interactions.read(["user_id"])["user_id"].to_list())


def test_a_column_that_only_public_logs_may_set_is_no_column_of_ours(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,video_id,further,bad_ts\na,v,x,y\na,v,x,y\n")
    assert import_events(workspace, [path]).imported == 2


@pytest.mark.parametrize("odd", ["1.5", "2.0"])
def test_a_fraction_among_numbered_users_changes_no_other_id(
    workspace: Workspace, tmp_path: Path, odd: str
) -> None:
    path = tmp_path / "log.jsonl"
    numbers = ["9007199254740993", "9007199254740992", "7", odd]
    path.write_text("".join(f'{{"user_id":{number},"video_id":"v"}}\n' for number in numbers))
    import_events(workspace, [path])
    assert ids_of(workspace) == sorted([*numbers[:3], odd.removesuffix(".0")])


def test_whole_numbers_that_a_table_keeps_as_floats_are_the_same_ids(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": [12.0, None, 1.5, float("nan")], "video_id": [3.0] * 4}).write_parquet(path)
    result = import_events(workspace, [path])
    assert result.refused == {"no user_id": 2}
    assert workspace.interactions.read(["user_id", "video_id"]).rows() == [("12", "3"), ("1.5", "3")]


@pytest.mark.parametrize("size", [1, 6, 22, 1000])
def test_empty_lines_before_the_header_cost_no_row_of_a_later_chunk(tmp_path: Path, size: int) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"\n\r\nuser_id,video_id\na,v\nb,v\nc,v\n")
    frame = pl.concat(chunk.frame for chunk in read_chunks(path, size))
    assert frame.rows() == [(0, "a", "v"), (1, "b", "v"), (2, "c", "v")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\n\n", "holds empty lines only; expected a header"),
        ('user_id,video_id\na"b,v\nc,v\n', "close each quote, and double one within a value"),
        ('user_id,video_id\n"ab,v\nc,v\n', "close each quote, and double one within a value"),
    ],
)
def test_a_csv_that_cannot_be_parsed_is_refused_with_what_to_do(
    workspace: Workspace, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(content)
    with pytest.raises(BadInput, match=f"log.csv .*{said}"):
        import_events(workspace, [path])


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_compressed_file_under_a_plain_name_is_refused_with_what_to_do(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b'{"user_id":"a","video_id":"v"}\n' * 9))
    with pytest.raises(BadInput, match=r"is compressed with gzip; unpack it first"):
        import_events(workspace, [path])


def test_a_row_set_aside_before_its_user_was_deleted_does_not_name_the_user_after(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"user_id": user, "video_id": "v", "watch_s": watch} for user in "xy" for watch in (-1, 1)]
    path.write_text("\n".join(map(json.dumps, rows)))
    as_before = appending.append

    def append_and_delete(*args: Any, **options: Any) -> appending.Appended:
        done = as_before(*args, **options)
        refuse_users(workspace, ["x"])
        for place in user_tables(workspace, ["x"]):
            drop_rows(place)
        return done

    monkeypatch.setattr(importers, "append", append_and_delete)
    import_events(workspace, [path])
    contents = refused_events(workspace).read(["content"])["content"].to_list()
    assert len(contents) == 2
    assert WITHHELD in contents
    assert '"y"' in contents[1]
    assert ids_of(workspace) == ["y"]


def test_a_file_that_a_deletion_took_away_in_between_makes_the_append_begin_again(
    workspace: Workspace, interactions_of: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_events(
        workspace, interactions_of(user_id=["x", "y"], video_id=["v", "v"], ts=[T0, T0], event_key=["a", "b"])
    )
    table, as_before = workspace.interactions, event_index.find_stored

    def delete_first(*args: Any) -> Any:
        before = table.snapshot()
        if before.rows == 2:
            after, _ = table.rewrite(pl.col("user_id") != "x", onto=before)
            discard(table, superseded(before, after))
        return as_before(*args)

    monkeypatch.setattr(appending, "find_stored", delete_first)
    more = interactions_of(user_id=["y", "z"], video_id=["v", "v"], ts=[T0, T0], event_key=["b", "c"])
    assert append_events(workspace, more) == 1
    assert ids_of(workspace) == ["y", "z"]


def test_a_file_that_is_gone_for_another_reason_is_not_taken_for_a_conflict(
    workspace: Workspace, interactions_of: MakeEvents
) -> None:
    append_events(workspace, interactions_of(user_id=["x"], video_id=["v"], ts=[T0], event_key=["a"]))
    shutil.rmtree(workspace.interactions.path / "date=2026-01-01")
    with pytest.raises(FileNotFoundError, match="part-"):
        append_events(workspace, interactions_of(user_id=["x"], video_id=["v"], ts=[T0], event_key=["a"]))


KILLED = """
import sys
from pathlib import Path
from features.intake.laid_aside import laid_aside
with laid_aside(Path(sys.argv[1])) as folder:
    (folder / "good-0.parquet").write_text("somebody")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def importer(workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    """Another process in the midst of an import."""
    command = [sys.executable, "-c", KILLED, str(workspace.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_what_a_killed_import_left_is_told_from_one_at_work_and_goes_with_the_next(
    workspace: Workspace, importer: subprocess.Popen[str]
) -> None:
    (at_work,) = workspace.root.glob(f"{LAID_ASIDE}*")
    assert left_behind(workspace.root) == []
    with laid_aside(workspace.root):
        assert (at_work / "good-0.parquet").exists()
    importer.send_signal(signal.SIGKILL)
    importer.wait()
    assert left_behind(workspace.root) == [at_work]
    with laid_aside(workspace.root) as folder:
        assert list(workspace.root.glob(f"{LAID_ASIDE}*")) == [folder]
    assert not list(workspace.root.glob(f"{LAID_ASIDE}*"))


def test_a_folder_of_an_earlier_release_is_left_behind_after_a_day(workspace: Workspace) -> None:
    folder = workspace.root / f"{LAID_ASIDE}old"
    folder.mkdir()
    assert left_behind(workspace.root) == []
    os.utime(folder, (time.time() - 90_000,) * 2)
    assert left_behind(workspace.root) == [folder]
