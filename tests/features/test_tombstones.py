"""Users who may not come back: known by the hash of their id, refused until they are readmitted."""

import hashlib

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.erasure.tombstones import readmit_users, refuse_users, refused_hashes, refused_users, tombstones
from features.wire.store_keys import refusal_of
from features.workspace import Workspace

ids = st.sampled_from(["a", "b", "ü", "a b", "17", "A"])


def test_without_tombstones_everybody_may_come(workspace: Workspace) -> None:
    assert refused_users(workspace, pl.Series(["a", None], dtype=pl.String)).to_list() == [False, False]
    assert refused_hashes(workspace) == []


@given(st.lists(ids, max_size=4), st.lists(ids, max_size=3), st.lists(st.none() | ids, max_size=9))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_those_are_refused_who_were_and_not_readmitted(
    workspace: Workspace, refused: list[str], readmitted: list[str], asked: list[str | None]
) -> None:
    readmit_users(workspace, ["a", "b", "ü", "a b", "17", "A"])
    refuse_users(workspace, refused)
    refuse_users(workspace, refused)
    readmit_users(workspace, readmitted)
    left = set(refused) - set(readmitted)
    found = refused_users(workspace, pl.Series(asked, dtype=pl.String))
    assert found.to_list() == [user in left for user in asked]
    assert sorted(refused_hashes(workspace)) == sorted(map(refusal_of, left))


def test_no_file_of_the_table_holds_an_id(workspace: Workspace) -> None:
    refuse_users(workspace, ["erika.mustermann"])
    table = tombstones(workspace)
    [row] = table.read().to_dicts()
    assert row["user_hash"] == hashlib.blake2b(b"erika.mustermann", digest_size=16).hexdigest()
    assert not any("erika" in str(value) for value in row.values())


def test_a_readmitted_hash_lies_on_no_disk(workspace: Workspace) -> None:
    refuse_users(workspace, ["a"])
    readmit_users(workspace, ["a"])
    assert not list(tombstones(workspace).path.rglob("*.parquet"))
