"""Users who were deleted and may not come back: hashes of their ids, asked at every door of the log.

A deletion puts the tombstone up first and lifts it last where the id may return, so that nothing of the user
slips in while rows are being removed. A writer takes a snapshot of its table first and asks here then: what
was put up after its question makes the deletion commit after its snapshot, and the writer begins again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import polars as pl

from features.commits import commit_again
from features.contracts import TS, Column
from features.packing import identity_hash
from features.table_sweep import discard, superseded
from features.tables import Snapshot, Table
from features.wire.store_keys import shard_of
from features.workspace import Workspace

TOMBSTONES: Final = (
    Column("user_hash", pl.String(), True, "BLAKE2b-128 of the id, hex"),
    Column("shard", pl.Int32(), True, "where the store keeps what it refuses; see `store_keys.shard_of`"),
    Column("at", TS, True, "when the user was deleted, UTC"),
)


def tombstones(workspace: Workspace) -> Table:
    """The table; an id stands in it at most once."""
    return Table(workspace.root / "tombstones", TOMBSTONES)


def hash_of_user(user_id: str) -> str:
    """What stands for an id here and in proofs: BLAKE2b-128, hex."""
    return identity_hash(user_id).hex()


def refused_users(workspace: Workspace, user_ids: pl.Series) -> pl.Series:
    """True where an id may not come in, Boolean, (n,); a null is no user and may.

    Args:
        workspace: whose tombstones.
        user_ids: String, (n,), any may come often: each is hashed once.
    """
    table = tombstones(workspace).read(["user_hash"])
    if not len(table):
        return pl.repeat(False, len(user_ids), eager=True, dtype=pl.Boolean).alias("refused")
    refused = set(table["user_hash"])
    distinct = user_ids.drop_nulls().unique()
    bad = [user_id for user_id in distinct if hash_of_user(user_id) in refused]
    return user_ids.is_in(bad).fill_null(False).alias("refused")


def refused_hashes(workspace: Workspace) -> list[tuple[int, bytes]]:
    """Shard and hash of each user who may not come back, as `Store.refuse_hashes` takes them."""
    rows = tombstones(workspace).read(["shard", "user_hash"]).rows()
    return [(int(shard), bytes.fromhex(hashed)) for shard, hashed in rows]


def refuse_users(workspace: Workspace, user_ids: Iterable[str]) -> None:
    """From now on these ids may not come in. Safe to repeat."""
    table, now = tombstones(workspace), int(time.time() * 1000)
    rows = pl.DataFrame(
        [(hash_of_user(user_id), shard_of(user_id), now) for user_id in user_ids],
        schema={"user_hash": pl.String, "shard": pl.Int32, "at": pl.Int64},
        orient="row",
    ).with_columns(pl.col("at").cast(TS))

    def add(before: Snapshot) -> None:
        stored = table.read(["user_hash"], at=before)
        fresh = rows.unique("user_hash", maintain_order=True).join(stored, on="user_hash", how="anti")
        table.append_parts({"": fresh}, onto=before)

    commit_again(table, add)


def readmit_users(workspace: Workspace, user_ids: Iterable[str]) -> None:
    """From now on these ids may come in again. Safe to repeat."""
    table, hashes = tombstones(workspace), [hash_of_user(user_id) for user_id in user_ids]

    def drop(before: Snapshot) -> None:
        after, _ = table.rewrite(~pl.col("user_hash").is_in(hashes), onto=before)
        discard(table, superseded(before, after))

    commit_again(table, drop)
