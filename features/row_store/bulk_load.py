"""A matrix of features into Redis: laid out by NumPy, sent in portions, resumed where it was cut off.

Each portion is, on the node of its shard and in this order: its identities, so that what follows can be
removed again; its rows; and the count of rows that are in. A node that comes back with what its append-only
file holds thus never counts a row that it lacks. The next portion is sent before the replies to the last one
are read.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.contracts import Floats, Int64s
from features.errors import BadInput, StoreUnavailable
from features.row_store.exchange import noticing_moves
from features.row_store.keys import ROW_SHARDS, Bytes, Keys, RowKeys, identities, shards_of
from features.row_store.loads import begin_load, finish_load
from features.row_store.packing import packed_words, set_commands
from features.row_store.schema import RowSchema
from features.wire.nodes import Client, borrowed, checked, node_of, pipelined

PORTION: Final = 4096
"""Rows between two notes of how far a load has come."""

SHOWN: Final = 10
"""Columns and keys that an error lists."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load came to."""

    load: str
    """Its name."""
    rows: int
    sent: int
    """Of these, sent now; the others were in already."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is to be loaded, checked, and where it goes."""

    schema: RowSchema
    identity: Bytes
    shards: Bytes
    matrix: Floats
    by_shard: list[Int64s]
    """Rows of each shard, in the order they are sent."""


def load_rows(
    client: Client, keys: RowKeys, schema: RowSchema, row_keys: Keys, matrix: Floats, as_of_ms: int = 0
) -> Loaded:
    """Stores rows under a load of their own, and makes it the live one when all of them are in.

    Until then, and where the load is cut off, what was live before stays so. The same call again goes on
    after the rows that are in.

    Args:
        client: of one node or a cluster.
        keys: where rows go.
        schema: what they hold.
        row_keys: whose, (n,), unique.
        matrix: float32, (n, w), finite.
        as_of_ms: the instant that the features describe, ms since the epoch.

    Raises:
        BadInput: there are no rows, the shapes do not fit, a value is not finite, or a key comes twice;
            nothing is written then.
        redis.RedisError: Redis fails; load again, and it goes on.
    """
    rows = _checked(schema, row_keys, matrix)
    load = _name(rows, as_of_ms)
    begin_load(client, keys, load, schema, len(matrix), as_of_ms)
    done = rows_in(client, keys, load)
    with noticing_moves(client):
        sent = _send(client, keys, load, rows, done)
    expected = [len(some) for some in rows.by_shard]
    if rows_in(client, keys, load) != expected:
        raise StoreUnavailable(
            f"a node of Redis lost rows of load {load} meanwhile; load again, and it goes on"
        )
    finish_load(client, keys, load, schema)
    return Loaded(load, len(matrix), sent)


def rows_in(client: Client, keys: RowKeys, load: str) -> list[int]:
    """How many rows of a load each shard has."""
    names = [keys.progress(load, shard) for shard in range(ROW_SHARDS)]
    return [int(count or 0) for count in checked(pipelined(client, names, [("GET", name) for name in names]))]


def _send(client: Client, keys: RowKeys, load: str, rows: _Rows, done: list[int]) -> int:
    """Sends what is not in yet; returns how many rows that were."""
    sent = 0
    under_way: deque[tuple[Any, int]] = deque()
    with contextlib.ExitStack() as held:
        connections: dict[int, Any] = {}
        for shard, start, some in _portions(rows, done):
            packed, replies = _portion(keys, load, rows, shard, start, some)
            node = node_of(client, keys.index(load, shard))
            if id(node) not in connections:
                connections[id(node)] = held.enter_context(borrowed(node))
            connections[id(node)].send_packed_command(packed)
            under_way.append((connections[id(node)], replies))
            sent += len(some)
            if len(under_way) > 1:
                _await(*under_way.popleft())
        for connection, replies in under_way:
            _await(connection, replies)
    return sent


def _portions(rows: _Rows, done: list[int]) -> Iterator[tuple[int, int, Int64s]]:
    """Shard, place in the shard, and rows of each portion."""
    for shard, some in enumerate(rows.by_shard):
        for start in range(done[shard], len(some), PORTION):
            yield shard, start, some[start : start + PORTION]


def _portion(
    keys: RowKeys, load: str, rows: _Rows, shard: int, start: int, some: Int64s
) -> tuple[list[bytes | memoryview], int]:
    """A portion's commands, packed, and how many they are."""
    identity = rows.identity[some]
    sets, count = set_commands(rows.schema, keys.rows(load, identity, rows.shards[some]), rows.matrix[some])
    first = packed_words(b"RPUSH", keys.index(load, shard).encode(), identity.tobytes())
    last = packed_words(b"SET", keys.progress(load, shard).encode(), b"%d" % (start + len(some)))
    return [first, *sets, last], count + 2


def _await(connection: Any, replies: int) -> None:
    for _ in range(replies):
        connection.read_response()  # an error among them is raised


def _name(rows: _Rows, as_of_ms: int) -> str:
    """The same for the same rows in the same order, and for no others."""
    digest = hashlib.sha256(f"{rows.schema.text}|{as_of_ms}|".encode())
    digest.update(rows.identity.data)
    digest.update(rows.matrix.data)
    return digest.hexdigest()[:12]


def _checked(schema: RowSchema, row_keys: Keys, matrix: Floats) -> _Rows:
    width = len(schema.names)
    if matrix.dtype != np.float32 or matrix.shape != (len(row_keys), width):
        raise BadInput(
            f"{len(row_keys)} {schema.entity} rows of {width} columns are a float32 matrix "
            f"{(len(row_keys), width)}; given is {matrix.dtype} {matrix.shape}"
        )
    if not len(matrix):
        raise BadInput(f"there are no {schema.entity} rows to load; give one at least")
    _refuse_not_finite(schema, matrix)
    identity = identities(schema.entity, row_keys)
    _refuse_twice(schema, row_keys, identity)
    shards = shards_of(identity)
    order = np.argsort(shards, kind="stable")
    ends = np.cumsum(np.bincount(shards, minlength=ROW_SHARDS))
    return _Rows(schema, identity, shards, np.ascontiguousarray(matrix), np.split(order, ends[:-1]))


def _refuse_not_finite(schema: RowSchema, matrix: Floats) -> None:
    finite = np.isfinite(matrix)
    if finite.all():
        return
    counts = (~finite).sum(0)
    bad = [f"{schema.names[at]} ({counts[at]})" for at in np.flatnonzero(counts)]
    raise BadInput(
        f"{int((~finite.all(1)).sum())} of {len(matrix)} {schema.entity} rows have values that are not "
        f"finite, in columns {_some(bad)}; put the columns' defaults there, then load again"
    )


def _refuse_twice(schema: RowSchema, row_keys: Keys, identity: Bytes) -> None:
    words = identity.view(">u8")  # (n, 1) or (n, 2)
    order = np.lexsort(words.T)
    again = (words[order[1:]] == words[order[:-1]]).all(1)
    if again.any():
        twice = [repr(row_keys[int(at)]) for at in order[1:][again][: SHOWN + 1]]
        raise BadInput(
            f"{int(again.sum())} of {len(identity)} {schema.entity} keys come more than once, "
            f"{_some(twice)}; keep one row of each"
        )


def _some(said: list[str]) -> str:
    return ", ".join(said[:SHOWN]) + (" and more" if len(said) > SHOWN else "")
