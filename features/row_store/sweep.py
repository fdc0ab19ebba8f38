"""Removal of superseded rows, portion by portion, by the identities that were noted when they were loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.row_store.exchange import exchange
from features.row_store.keys import ROW_SHARDS, Bytes, RowKeys
from features.row_store.loads import mark_for_removal
from features.row_store.packing import command
from features.wire.nodes import Client, node_of

log = logging.getLogger(__name__)

UNLINK_ROWS: Final = 256
"""Rows of one UNLINK: Redis answers others in between."""

_IDENTITY_BYTES: Final = {"video": 8, "user": 16}


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    loads: tuple[str, ...]
    rows: int
    """Keys of rows that were there and are gone."""


def sweep_rows(client: Client, keys: RowKeys) -> Swept:
    """Removes the loads that are superseded and that no live worker names. Safe to repeat, and to cut off."""
    names: Any = client.smembers(keys.loads)
    swept, rows = [], 0
    for load in sorted(name.decode() for name in names):
        if not mark_for_removal(client, keys, load):
            continue
        rows += sum(_remove_shard(client, keys, load, shard) for shard in range(ROW_SHARDS))
        client.unlink(keys.load(load))
        client.srem(keys.loads, load)
        swept.append(load)
        log.info("rows_swept entity=%s load=%s", keys.entity, load)
    return Swept(tuple(swept), rows)


def _remove_shard(client: Client, keys: RowKeys, load: str, shard: int) -> int:
    """Removes one shard's rows; a portion's identities go after its rows, so that none is forgotten."""
    index, removed = keys.index(load, shard), 0
    while True:
        portion: Any = client.lindex(index, 0)
        if portion is None:
            break
        identity = np.frombuffer(portion, np.uint8).reshape(-1, _IDENTITY_BYTES[keys.entity])
        removed += _unlink(client, index, keys.rows(load, identity, np.full(len(identity), shard, np.uint8)))
        client.lpop(index)
    client.unlink(index, keys.progress(load, shard))
    return removed


def _unlink(client: Client, index: str, rows: Bytes) -> int:
    some = [rows[at : at + UNLINK_ROWS] for at in range(0, len(rows), UNLINK_ROWS)]
    node = node_of(client, index)
    return sum(exchange(client, [(node, command(b"UNLINK", part)) for part in some]))
