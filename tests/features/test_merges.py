"""Who was merged into whom: noted once, followed through chains, never in a circle."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.counters import counters_at
from features.errors import BadInput
from features.histories import build_event_log, histories_at
from features.merges import (
    apply_merges,
    forget_merge,
    merges,
    record_merge,
    resolve_merges,
    sources_of,
    with_merges,
)
from features.workspace import Workspace

AT = 1_767_225_600_000

# Every user is merged into one with a larger number: no circle can come about.
forests = st.dictionaries(st.integers(0, 20), st.integers(1, 10), max_size=20).map(
    lambda steps: [(f"u{source}", f"u{source + step}") for source, step in steps.items()]
)


def follow(pairs: list[tuple[str, str]], user: str) -> str:
    steps = dict(pairs)
    while user in steps:
        user = steps[user]
    return user


@given(forests)
def test_every_source_becomes_the_end_of_its_chain(pairs: list[tuple[str, str]]) -> None:
    assert resolve_merges(pairs) == [(source, follow(pairs, source)) for source, _ in pairs]
    assert resolve_merges(resolve_merges(pairs)) == resolve_merges(pairs)


@given(forests, st.lists(st.none() | st.integers(0, 31).map("u{}".format), max_size=30))
def test_rows_are_those_of_whom_the_user_became_eager_and_lazy(
    pairs: list[tuple[str, str]], users: list[str | None]
) -> None:
    rows = pl.DataFrame(
        {"user_id": users, "n": range(len(users))}, schema={"user_id": pl.String, "n": pl.Int64}
    )
    found = apply_merges(rows, pairs)
    assert found["user_id"].to_list() == [None if user is None else follow(pairs, user) for user in users]
    assert found.drop("user_id").equals(rows.drop("user_id"))
    assert apply_merges(rows.lazy(), pairs).collect().equals(found)


@pytest.mark.parametrize(
    "pairs", [[("a", "a")], [("a", "b"), ("b", "a")], [("x", "a"), ("a", "b"), ("b", "c"), ("c", "a")]]
)
def test_a_circle_is_refused_and_named(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(BadInput, match=r"in a circle: .*a"):
        resolve_merges(pairs)


def test_one_user_in_two_others_is_refused() -> None:
    with pytest.raises(BadInput, match="'a' was merged into 'b' and 'c'"):
        resolve_merges([("a", "b"), ("a", "c")])


def test_a_merge_is_noted_once_and_follows_later_merges(workspace: Workspace) -> None:
    assert merges(workspace) == []
    assert record_merge(workspace, "anon", "b", AT)
    assert not record_merge(workspace, "anon", "b", AT + 1)
    assert record_merge(workspace, "b", "c", AT + 2)
    assert not record_merge(workspace, "anon", "c", AT + 3)  # they are one already
    assert merges(workspace) == [("anon", "c"), ("b", "c")]
    assert sources_of(merges(workspace), "c") == ["anon", "b"]


def test_a_merge_that_cannot_be_is_refused_and_changes_nothing(workspace: Workspace) -> None:
    record_merge(workspace, "a", "b", AT)
    with pytest.raises(BadInput, match="'b' cannot be merged into 'a', which was merged into it"):
        record_merge(workspace, "b", "a", AT)
    with pytest.raises(BadInput, match="'c' cannot be merged into itself"):
        record_merge(workspace, "c", "c", AT)
    with pytest.raises(BadInput, match="'a' was merged into 'b' before"):
        record_merge(workspace, "a", "c", AT)
    with pytest.raises(BadInput, match="user_id has 0 bytes"):
        record_merge(workspace, "", "c", AT)
    assert merges(workspace) == [("a", "b")]


def test_a_merge_can_be_taken_back(workspace: Workspace) -> None:
    record_merge(workspace, "a", "b", AT)
    record_merge(workspace, "x", "y", AT)
    forget_merge(workspace, "a")
    assert merges(workspace) == [("x", "y")]


def test_events_of_a_merged_user_are_known_of_the_other_from_the_merge_on(
    workspace: Workspace, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    record_merge(workspace, "a", "b", 1_000_000)
    record_merge(workspace, "b", "c", 3_000_000)
    rows = interactions_of(
        user_id=["a", "b", "c", "a"],
        video_id=["v"] * 4,
        ts=[10, 20, 30, 40],
        received_at=[15, None, 35, 5_000_000],
    )
    merged = with_merges(rows, workspace)
    assert merged["user_id"].to_list() == ["c"] * 4
    assert merged["joined_at"].dt.epoch("ms").to_list() == [3_000_000, 3_000_000, None, 3_000_000]
    assert merged["received_at"].equals(rows["received_at"])
    assert with_merges(rows.lazy(), workspace).collect().equals(merged)
    log, _ = build_event_log(merged, pl.DataFrame({"video_id": ["v"], "video_key": [0]}))
    users, before, after = np.zeros(1, np.int64), np.array([2_999_999]), np.array([3_000_001])
    assert histories_at(log, users, before).lengths.tolist() == [1]
    assert histories_at(log, users, after).ts_ms[0, :3].tolist() == [30, 20, 10]
    assert counters_at(log, users, np.array([5_000_001])).events.sum() == 4
