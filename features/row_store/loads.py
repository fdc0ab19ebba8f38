"""Loads of feature rows: begun, complete, read by workers, and removed once nobody reads them.

What is said of a load lies in one slot, so that each step below is one atomic script: a worker cannot take
up a load in the moment it is swept, and the pointer cannot come to stand on one that is being removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from features.errors import NotFound, StoreUnavailable, VersionMismatch
from features.row_store.keys import RowKeys
from features.row_store.schema import RowSchema, describe, difference, schema_hash
from features.wire.nodes import Client

WORKER_TTL_S: Final = 30
"""How long a load is kept for a worker that was heard of."""

ABANDONED_S: Final = 86_400
"""A load that was begun, and not completed or begun again for this long, is removed."""

_NOW: Final = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

BEGIN: Final = (
    _NOW
    + """
if redis.call('HEXISTS', KEYS[1], 'swept') == 1 then return redis.error_reply('SWEEPING') end
redis.call('HSET', KEYS[1], 'schema', ARGV[2], 'rows', ARGV[3], 'as_of_ms', ARGV[4], 'begun_ms', now)
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""
)

FINISH: Final = (
    _NOW
    + """
if redis.call('HEXISTS', KEYS[1], 'schema') == 0 or redis.call('HEXISTS', KEYS[1], 'swept') == 1 then
  return redis.error_reply('GONE')
end
redis.call('HSET', KEYS[1], 'loaded_ms', now)
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], ARGV[1])
return now
"""
)

REGISTER: Final = (
    _NOW
    + """
if redis.call('HEXISTS', KEYS[1], 'loaded_ms') == 0 or redis.call('HEXISTS', KEYS[1], 'swept') == 1 then
  return redis.error_reply('GONE')
end
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
return 1
"""
)

MARK: Final = (
    _NOW
    + """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. now)
local start = ARGV[1] .. ':'
for _, member in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if string.sub(member, 1, #start) == start then return 0 end
end
local begun = tonumber(redis.call('HGET', KEYS[1], 'begun_ms') or 0)
if redis.call('HEXISTS', KEYS[1], 'loaded_ms') == 0 and begun > now - ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'swept', now)
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
return 1
"""
)


@dataclass(frozen=True, slots=True)
class RowLoad:
    """A complete set of rows, as it is named to readers."""

    schema: RowSchema
    load: str
    """Its name: 12 hex digits, a hash of all that is in it."""
    rows: int
    as_of_ms: int
    """Instant that the features describe, ms since the epoch; 0 where none was said."""
    loaded_ms: int
    """When it was complete, ms since the epoch, by the clock of Redis."""


def begin_load(client: Client, keys: RowKeys, load: str, schema: RowSchema, rows: int, as_of_ms: int) -> None:
    """Notes that a load is under way, or goes on."""
    try:
        client.eval(BEGIN, 2, keys.load(load), keys.loads, load, schema.text, rows, as_of_ms)
    except redis.ResponseError as error:
        if "SWEEPING" not in str(error):
            raise
        raise StoreUnavailable(
            f"load {load} of the {keys.entity} rows is being removed; let the sweep end, then load again"
        ) from error


def finish_load(client: Client, keys: RowKeys, load: str, schema: RowSchema) -> None:
    """Makes a load that is all there the live one."""
    of_schema = keys.of_schema(schema_hash(schema))
    _eval(client, FINISH, [keys.load(load), keys.live, of_schema], load, entity=keys.entity, load=load)


def register_worker(client: Client, keys: RowKeys, load: str, worker_id: str) -> None:
    """Keeps a load for a worker for the next WORKER_TTL_S seconds; a worker repeats it well within that.

    Raises:
        NotFound: the load is not there, or is being removed.
    """
    member, ttl_ms = f"{load}:{worker_id}", WORKER_TTL_S * 1000
    _eval(client, REGISTER, [keys.load(load), keys.workers], member, ttl_ms, entity=keys.entity, load=load)


def forget_worker(client: Client, keys: RowKeys, load: str, worker_id: str) -> None:
    """The worker reads the load no longer."""
    client.zrem(keys.workers, f"{load}:{worker_id}")


def mark_for_removal(client: Client, keys: RowKeys, load: str) -> bool:
    """True where a load is superseded and read by nobody: from then on nobody can take it up.

    A load that is under way is left, unless it was abandoned.
    """
    text: Any = client.hget(keys.load(load), "schema")
    hashed = schema_hash(RowSchema.of_text(text.decode())) if text else 0
    names = [keys.load(load), keys.live, keys.of_schema(hashed), keys.workers]
    return bool(client.eval(MARK, len(names), *names, load, ABANDONED_S * 1000))


def live_load(client: Client, keys: RowKeys) -> RowLoad | None:
    """The latest complete load, of whatever schema, or None."""
    return _read(client, keys, keys.live)


def find_load(client: Client, keys: RowKeys, schema: RowSchema) -> RowLoad:
    """The latest complete load of a schema.

    Raises:
        NotFound: no rows were loaded at all.
        VersionMismatch: rows are there, of another schema only.
    """
    found = _read(client, keys, keys.of_schema(schema_hash(schema)))
    if found is not None and found.schema == schema:
        return found
    live = found or live_load(client, keys)
    if live is None:
        raise NotFound(f"no {schema.entity} rows are loaded in {keys.live!r}; load them first")
    raise mismatch(schema, live.schema)


def mismatch(ours: RowSchema, stored: RowSchema) -> VersionMismatch:
    """Names both sides, and where they differ."""
    return VersionMismatch(
        f"this program reads {ours.entity} rows of {describe(ours)}; stored are {describe(stored)} "
        f"({difference(ours, stored)}); load the rows again"
    )


def _read(client: Client, keys: RowKeys, pointer: str) -> RowLoad | None:
    named: Any = client.get(pointer)
    if named is None:
        return None
    load = named.decode()
    said: Any = client.hgetall(keys.load(load))
    if b"loaded_ms" not in said:
        return None
    schema = RowSchema.of_text(said[b"schema"].decode())
    return RowLoad(schema, load, *(int(said[name]) for name in (b"rows", b"as_of_ms", b"loaded_ms")))


def _eval(
    client: Client, script: str, names: Sequence[str], *args: str | int, entity: str, load: str
) -> None:
    try:
        client.eval(script, len(names), *names, *args)
    except redis.ResponseError as error:
        if "GONE" not in str(error):
            raise
        raise NotFound(f"load {load} of the {entity} rows is not in Redis; load the rows again") from error
