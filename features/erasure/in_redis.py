"""What Redis holds of a user besides the store's own keys: feature rows, and the log of its commands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import redis

from features.errors import StoreUnavailable
from features.row_store.keys import RowKeys, identities, shards_of
from features.store import BULK_TIMEOUT_S, Store
from features.wire.connection import mapped
from features.wire.nodes import Client, all_nodes

NAMESPACE: Final = "rr"
REWRITE_S: Final = 300.0
"""How long an append-only file may take to be written anew."""


def find_in_redis(store: Store, client: Client, ids: Sequence[str], namespace: str) -> dict[str, int]:
    """What Redis holds of a user who is called by these ids, by place."""
    found = [store.find_user(user_id) for user_id in ids]
    return _sum(found) | {"feature rows": len(_feature_rows(client, ids, namespace))}


def erase_from_redis(store: Store, client: Client, ids: Sequence[str], namespace: str) -> dict[str, int]:
    """Removes all of it, and refuses the ids until they are readmitted; what was removed, by place."""
    removed = [store.delete_user(user_id) for user_id in ids]
    with mapped("delete_user", BULK_TIMEOUT_S * 1000):
        rows = sum(int(client.unlink(key)) for key in _feature_rows(client, ids, namespace))
    return _sum(removed) | {"feature rows": rows}


def rewrite_append_only(client: Client) -> str:
    """Has Redis write its append-only file anew: what was removed is in no old command then; how that went.

    Raises:
        StoreUnavailable: it does not end within REWRITE_S, or fails: a disk may be full.
    """
    with mapped("rewrite_append_only", REWRITE_S * 1000):
        nodes = [node for node in all_nodes(client) if _persistence(node)["aof_enabled"]]
        for node in nodes:
            _await_rewrite(node)  # one that is under way began before the user was removed
            node.bgrewriteaof()
            _await_rewrite(node)
            if _persistence(node)["aof_last_bgrewrite_status"] != "ok":
                raise StoreUnavailable("Redis cannot write its append-only file anew; see to its disk")
    return "written anew" if nodes else "not in use"


def _feature_rows(client: Client, ids: Sequence[str], namespace: str) -> list[bytes]:
    """Keys of the user's feature rows that are there, of all loads."""
    keys, hashed = RowKeys(namespace, "user"), identities("user", ids)
    with mapped("find_user", BULK_TIMEOUT_S * 1000):
        loads: Any = client.smembers(keys.loads)
        rows = [
            row.tobytes() for load in loads for row in keys.rows(load.decode(), hashed, shards_of(hashed))
        ]
        return [row for row in rows if client.exists(row)]


def _await_rewrite(node: redis.Redis) -> None:
    deadline = time.monotonic() + REWRITE_S
    while True:
        said = _persistence(node)
        if not said["aof_rewrite_in_progress"] and not said["aof_rewrite_scheduled"]:
            return
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"Redis is writing its append-only file for more than {REWRITE_S:.0f} s; run again later"
            )
        time.sleep(0.02)


def _persistence(node: redis.Redis) -> dict[str, Any]:
    said: Any = node.info("persistence")
    return dict(said)


def _sum(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {place: sum(one[place] for one in counts) for place in counts[0]}
