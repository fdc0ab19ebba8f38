"""What the catalogue promises: a key for life."""

import threading

import polars as pl
import pytest

from features.catalogue import is_bare, register
from features.errors import BadInput
from features.workspace import Workspace


def frame(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def test_new_ids_get_the_next_keys_in_order_and_known_ids_keep_theirs(workspace: Workspace) -> None:
    register(workspace, frame(video_id=["b", "a"]))
    whole = register(workspace, frame(video_id=["c", "a"]))
    assert dict(whole.select("video_id", "video_key").rows()) == {"b": 0, "a": 1, "c": 2}


def test_given_values_update_and_nulls_leave_what_was_there(workspace: Workspace) -> None:
    register(workspace, frame(video_id=["a"], title=["first"], creator_id=["x"]))
    row = register(workspace, frame(video_id=["a"], title=[None], creator_id=["y"])).row(0, named=True)
    assert (row["title"], row["creator_id"]) == ("first", "y")


def test_of_an_id_given_twice_the_last_row_counts(workspace: Workspace) -> None:
    whole = register(workspace, frame(video_id=["a", "a"], title=["one", "two"]))
    assert whole["title"].to_list() == ["two"]


def test_nothing_is_committed_where_nothing_changes(workspace: Workspace) -> None:
    register(workspace, frame(video_id=["a"], tags=[["Cats"]]))
    before = workspace.catalogue.snapshot()
    whole = register(workspace, frame(video_id=["a"], tags=[["cats"]]))
    assert workspace.catalogue.snapshot() == before
    assert whole["tags"].to_list() == [["cats"]]


def test_a_key_is_not_given_again_after_its_video_is_gone(workspace: Workspace) -> None:
    whole = register(workspace, frame(video_id=["a", "b"]))
    meta = workspace.catalogue.snapshot().meta
    workspace.catalogue.replace(whole.filter(pl.col("video_id") == "a"), meta=meta)
    assert register(workspace, frame(video_id=["c"]))["video_key"].to_list() == [0, 2]


@pytest.mark.parametrize("bad", ["", "x" * 513])
def test_an_id_that_is_empty_or_too_long_is_refused_with_the_bound(workspace: Workspace, bad: str) -> None:
    with pytest.raises(BadInput, match="1 to 512"):
        register(workspace, frame(video_id=[bad]))


def test_a_catalogue_of_ids_alone_is_bare(workspace: Workspace) -> None:
    assert is_bare(workspace.catalogue.read())
    assert is_bare(register(workspace, frame(video_id=["a"])))
    assert not is_bare(register(workspace, frame(video_id=["a"], title=["t"])))


def test_registrations_at_once_lose_no_video(workspace: Workspace) -> None:
    threads = [
        threading.Thread(target=register, args=(workspace, frame(video_id=[f"{i}a", f"{i}b"])))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = workspace.catalogue.read()
    assert sorted(whole["video_key"]) == list(range(8))
    assert whole["video_id"].n_unique() == 8
