"""Redis: the live history of each user, the events that were accepted, and the slates that were shown.

Users are spread over `USER_SHARDS` hash tags, so that all keys of one user share a slot of a Redis Cluster
and the outbox of accepted events can be listed without knowing the users:

`rr:{u17}:h:<user>`  history, newest first: header and fixed-width rows; ends 90 days after the last event
`rr:{u17}:d:<user>`  identities of the events of the last 48 h
`rr:{u17}:o`         outbox: stream of accepted events, until drained
`rr:{x3}:x`          exposures: stream of slates, bounded; `rr:{x3}:lost` counts what the bound cost
`rr:live`            what was loaded; `rr:bundle` which bundle is served

Redis exceptions end here: callers meet `StoreTimeout`, `StoreUnavailable` or `VersionMismatch`.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.contracts import HISTORY_LENGTH, Histories, Int64s
from features.errors import StoreTimeout, StoreUnavailable, VersionMismatch
from features.histories import EventLog, ends_of, gather_histories
from features.outbox import EXPOSURES as EXPOSURES
from features.outbox import store_events, store_exposures
from features.packing import (
    EVENT_ROW,
    HISTORY,
    AcceptedEvent,
    event_row,
    pack_event,
    pack_histories,
    prefix,
    unpack_history,
)
from features.workspace import Workspace

USER_SHARDS: Final = 256
EXPOSURE_SHARDS: Final = 16

EXPOSURES_KEPT: Final = 200_000
"""Slates one shard holds before the oldest are dropped and counted."""

HISTORY_TTL_S: Final = 90 * 86_400
DEDUPE_WINDOW_S: Final = 48 * 3600
BULK_TIMEOUT_S: Final = 30.0
LOAD_BATCH: Final = 2000
DRAIN_BATCH: Final = 20_000

_ACCEPT: Final = """
local prefix, limit, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local window, size = tonumber(ARGV[4]), tonumber(ARGV[5])
local packed = redis.call('GET', KEYS[1])
local rows = ''
if packed then
  if string.sub(packed, 1, #prefix) ~= prefix then return redis.error_reply('MISMATCH history') end
  rows = string.sub(packed, #prefix + 3)
end
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
local accepted, changed = 0, false
for i = 6, #ARGV, 3 do
  if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i]) == 1 then
    accepted = accepted + 1
    local row = ARGV[i + 1]
    if row ~= '' then
      local ts, at = struct.unpack('<i8', row, 9), 1
      while at <= #rows and struct.unpack('<i8', rows, at + 8) > ts do at = at + size end
      rows = string.sub(string.sub(rows, 1, at - 1) .. row .. string.sub(rows, at), 1, limit * size)
      changed = true
    end
    redis.call('XADD', KEYS[3], '*', 'e', ARGV[i + 2])
  end
end
if changed then
  redis.call('SET', KEYS[1], prefix .. struct.pack('<I2', #rows / size) .. rows, 'EX', ttl)
end
redis.call('EXPIRE', KEYS[2], window)
return accepted
"""
"""Takes a user's events: those not met in the window join the history, by time, and the outbox."""

_LOAD: Final = """
local limit, ttl, size, loaded = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local have = redis.call('GET', KEYS[1])
if have and string.sub(have, 1, 6) == string.sub(loaded, 1, 6) then
  local rows = string.sub(loaded, 9)
  local newest, at = -1, 9
  if #rows > 0 then newest = struct.unpack('<i8', rows, 9) end
  while at <= #have and struct.unpack('<i8', have, at + 8) > newest do at = at + size end
  rows = string.sub(string.sub(have, 9, at - 1) .. rows, 1, limit * size)
  loaded = string.sub(loaded, 1, 6) .. struct.pack('<I2', #rows / size) .. rows
end
redis.call('SET', KEYS[1], loaded, 'EX', ttl)
"""
"""Loads a user's history, keeping what was accepted live after the newest event of the log."""

_EXPOSE: Final = """
redis.call('XADD', KEYS[1], '*', 'x', ARGV[1])
local lost = redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2])
if lost > 0 then redis.call('INCRBY', KEYS[2], lost) end
return lost
"""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a user's events."""

    accepted: int
    duplicates: int


class Store:
    """A connection pool to one Redis. Safe to share between threads; every call has a deadline."""

    def __init__(self, fast: redis.Redis, bulk: redis.Redis, namespace: str, timeout_s: float) -> None:
        self._fast, self._bulk = fast, bulk
        self._namespace, self._budget_ms = namespace, timeout_s * 1000
        self._accept = fast.register_script(_ACCEPT)
        self._expose = fast.register_script(_EXPOSE)
        self._load = bulk.register_script(_LOAD)

    @classmethod
    def connect(cls, url: str, namespace: str = "rr", timeout_s: float = 0.25) -> Store:
        """A store at a URL; nothing is sent before the first call.

        Args:
            url: of a Redis of 6.2 or later, or a Valkey.
            namespace: first part of every key.
            timeout_s: deadline of each call of the request path; loading and draining have 30 s.
        """
        return cls(_client(url, timeout_s), _client(url, BULK_TIMEOUT_S), namespace, timeout_s)

    def close(self) -> None:
        """Closes all connections."""
        self._fast.close()
        self._bulk.close()

    def load_histories(
        self, log: EventLog, *, feature_version: str, ends: Int64s | None = None, length: int = HISTORY_LENGTH
    ) -> int:
        """Puts every user's latest events into Redis; returns how many users.

        Events accepted live that are newer than a user's newest in the log stay; with `ends` given, the
        history is replaced by what the log held then.

        Args:
            log: the log.
            feature_version: noted as what is live.
            ends: per user, index one past the newest event to load, int64, (u,).
            length: most events of a user.
        """
        users = np.arange(len(log.user_ids), dtype=np.int64)
        until = ends_of(log, users) if ends is None else ends
        with _mapped("load_histories", BULK_TIMEOUT_S * 1000):
            sha = self._bulk.script_load(_LOAD)
            for start in range(0, len(users), LOAD_BATCH):
                part = slice(start, start + LOAD_BATCH)
                packed = pack_histories(gather_histories(log, users[part], until[part], length))
                with self._bulk.pipeline(transaction=False) as pipe:
                    for user_id, history in zip(log.user_ids[part], packed, strict=True):
                        key = self._user_key(user_id, "h")
                        if ends is None:
                            pipe.evalsha(sha, 1, key, length, HISTORY_TTL_S, EVENT_ROW.itemsize, history)
                        else:
                            pipe.set(key, history, ex=HISTORY_TTL_S)
                    pipe.execute()
            said: dict[Any, Any] = {
                "feature_version": feature_version,
                "users": len(users),
                "loaded_at": f"{time.time():.3f}",
            }
            self._bulk.hset(self._key("live"), mapping=said)
        return len(users)

    def read_user(self, user_id: str) -> Histories:
        """The user's history, (1, HISTORY_LENGTH), in one trip; empty for a user without events."""
        with _mapped("read_user", self._budget_ms):
            packed: Any = self._fast.get(self._user_key(user_id, "h"))
        return unpack_history(packed)

    def accept_events(self, user_id: str, events: list[AcceptedEvent]) -> Accepted:
        """Takes a user's events, all in one atomic step; the next read sees them.

        An `event_id` met within 48 h changes nothing. Impressions go to the log only, not to the history.

        Raises:
            VersionMismatch: the stored history has another layout.
        """
        if not events:
            return Accepted(0, 0)
        received_ms = time.time_ns() // 1_000_000
        keys = [self._user_key(user_id, "h"), self._user_key(user_id, "d"), self._shard_key(user_id)]
        args: list[Any] = [
            prefix(HISTORY),
            HISTORY_LENGTH,
            HISTORY_TTL_S,
            DEDUPE_WINDOW_S,
            EVENT_ROW.itemsize,
        ]
        for event in events:
            identity = hashlib.blake2b(
                event.event_id.encode("utf-8", "surrogatepass"), digest_size=16
            ).digest()
            row = b"" if event.event == "impression" else event_row(event)
            args += [identity, row, pack_event(event, user_id, received_ms)]
        with _mapped("accept_events", self._budget_ms):
            accepted = int(self._accept(keys=keys, args=args))
        return Accepted(accepted, len(events) - accepted)

    def log_exposure(self, packed: bytes, shard: int | None = None) -> int:
        """Adds a slate (`packing.pack_exposure`) to the stream; returns how many old ones the bound cost."""
        at = (zlib.crc32(packed) if shard is None else shard) % EXPOSURE_SHARDS
        keys = [self._key(f"{{x{at}}}:x"), self._key(f"{{x{at}}}:lost")]
        with _mapped("log_exposure", self._budget_ms):
            return int(self._expose(keys=keys, args=[packed, EXPOSURES_KEPT]))

    def exposures_lost(self) -> int:
        """Slates dropped from full streams, ever."""
        with _mapped("exposures_lost", self._budget_ms):
            counts: Any = self._fast.mget([self._key(f"{{x{at}}}:lost") for at in range(EXPOSURE_SHARDS)])
        return sum(int(count or 0) for count in counts)

    def drain(self, workspace: Workspace) -> int:
        """Moves accepted events and exposures into the workspace's tables; returns how many of both.

        What is committed is deleted only afterwards and told apart by its identity, so that a drain that
        was cut off, or ran twice, stores each event once.
        """
        outboxes = [self._key(f"{{u{at}}}:o") for at in range(USER_SHARDS)]
        shown = [self._key(f"{{x{at}}}:x") for at in range(EXPOSURE_SHARDS)]
        moved = 0
        for streams, name, keep in ((outboxes, b"e", store_events), (shown, b"x", store_exposures)):
            for entries in self._entries(streams):
                moved += keep(workspace, [fields[name] for _, _, fields in entries])
                self._delete(entries)
        return moved

    def pending(self) -> int:
        """Accepted events and exposures that wait for the drain."""
        names = [f"{{u{at}}}:o" for at in range(USER_SHARDS)] + [
            f"{{x{at}}}:x" for at in range(EXPOSURE_SHARDS)
        ]
        with _mapped("pending", BULK_TIMEOUT_S * 1000), self._bulk.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.xlen(self._key(name))
            return sum(int(count) for count in pipe.execute())

    def is_empty(self) -> bool:
        """True where no histories were loaded: a new server, or one that lost its data."""
        with _mapped("is_empty", self._budget_ms):
            return not self._fast.exists(self._key("live"))

    def live(self) -> dict[str, str]:
        """What was loaded: `feature_version`, `users`, `loaded_at`; empty where nothing was."""
        with _mapped("live", self._budget_ms):
            said: Any = self._fast.hgetall(self._key("live"))
        return {key.decode(): value.decode() for key, value in said.items()}

    def sample_users(self, n: int) -> list[str]:
        """Some users that have a history, at most n, in no order that means anything."""
        users: list[str] = []
        pattern = self._key("{u*}:h:*")
        with _mapped("sample_users", self._budget_ms):
            for key in self._fast.scan_iter(match=pattern, count=max(n, 100)):
                users.append(key.split(b":h:", 1)[1].decode("utf-8", "surrogatepass"))
                if len(users) >= n:
                    break
        return users

    def publish(self, bundle: str) -> None:
        """Names the bundle that is served."""
        with _mapped("publish", self._budget_ms):
            self._fast.set(self._key("bundle"), bundle)

    def published(self) -> str | None:
        """The bundle that is served, or None."""
        with _mapped("published", self._budget_ms):
            said: Any = self._fast.get(self._key("bundle"))
        return None if said is None else said.decode()

    def ping(self) -> None:
        """Returns where Redis answers within the deadline."""
        with _mapped("ping", self._budget_ms):
            self._fast.ping()

    def _entries(self, streams: list[str]) -> Iterator[list[tuple[str, bytes, dict[bytes, bytes]]]]:
        """Waiting entries, (stream, id, fields), in portions; an entry comes again unless it is deleted."""
        while True:
            with _mapped("drain", BULK_TIMEOUT_S * 1000), self._bulk.pipeline(transaction=False) as pipe:
                for stream in streams:
                    pipe.xrange(stream, count=max(1, DRAIN_BATCH // len(streams)))
                found = pipe.execute()
            entries = [(s, i, fields) for s, part in zip(streams, found, strict=True) for i, fields in part]
            if not entries:
                return
            yield entries

    def _delete(self, entries: list[tuple[str, bytes, dict[bytes, bytes]]]) -> None:
        by_stream: dict[str, list[bytes]] = {}
        for stream, entry, _ in entries:
            by_stream.setdefault(stream, []).append(entry)
        with _mapped("drain", BULK_TIMEOUT_S * 1000), self._bulk.pipeline(transaction=False) as pipe:
            for stream, ids in by_stream.items():
                pipe.xdel(stream, *ids)
            pipe.execute()

    def _key(self, rest: str) -> str:
        return f"{self._namespace}:{rest}"

    def _user_key(self, user_id: str, kind: str) -> bytes:
        return self._key(f"{{u{_shard(user_id)}}}:{kind}:{user_id}").encode("utf-8", "surrogatepass")

    def _shard_key(self, user_id: str) -> bytes:
        return self._key(f"{{u{_shard(user_id)}}}:o").encode()


def _shard(user_id: str) -> int:
    return zlib.crc32(user_id.encode("utf-8", "surrogatepass")) % USER_SHARDS


def _client(url: str, timeout_s: float) -> redis.Redis:
    # A retry inside the client would outlive the deadline.
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


@contextlib.contextmanager
def _mapped(operation: str, budget_ms: float) -> Iterator[None]:
    try:
        yield
    except redis.TimeoutError as error:
        raise StoreTimeout(operation, budget_ms) from error
    except redis.ResponseError as error:
        if "MISMATCH" in str(error):
            raise VersionMismatch(
                f"{operation}: the stored history has another layout than {prefix(HISTORY).hex()}; "
                f"load the store again"
            ) from error
        raise StoreUnavailable(f"{operation} was refused by Redis: {error}") from error
    except redis.RedisError as error:
        raise StoreUnavailable(f"{operation} found no Redis: {error}") from error
