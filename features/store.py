"""Redis: the live state of each user, the events that were accepted, and the slates that were shown.

Users are spread over `USER_SHARDS` hash tags, so that all keys of one user share a slot of a Redis Cluster
and the outbox of accepted events can be listed without knowing the users:

`rr:{u17}:h:<user>`  counters and history in one record; ends 90 days after the last event or load
`rr:{u17}:d:<user>`  identities of the events of the last 48 h
`rr:{u17}:m:<user>`  record of a user who is being merged into another; `rr:{u17}:j:<user>:<id>` merge done
`rr:{u17}:g`         hashes of users who were erased and may not come back
`rr:{u17}:o`         outbox: stream of accepted events, until drained
`rr:{x3}:x`          exposures: stream of slates, bounded; `rr:{x3}:lost` counts what the bound cost
`rr:{act}:<hour>`    activity of videos in a clock hour; `rr:{act}:w` up to where it is counted
`rr:{f3}:…`          feature rows and what is said of them: see `rows.py`
`rr:live`            what was loaded; `{rr:live}:<load>` a load under way; `rr:bundle` which bundle is served

Redis exceptions end here: callers meet `StoreTimeout`, `StoreUnavailable` or `VersionMismatch`.
"""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from features.contracts import Int64s, check_id
from features.errors import Erased, StoreUnavailable
from features.outbox import EXPOSURES as EXPOSURES
from features.outbox import store_events, store_exposures
from features.packing import (
    MOVED,
    USER,
    AcceptedEvent,
    UserState,
    check_text,
    event_parts,
    identity_hash,
    prefix,
    unpack_user,
)
from features.row_store.rows import RowStore
from features.wire import scripts, user_moves
from features.wire.connection import connect, mapped
from features.wire.nodes import Client, Command, all_nodes, checked, node_of, pipelined
from features.wire.scripts import HISTORY_TTL_S
from features.wire.store_keys import EXPOSURE_SHARDS, StoreKeys, refusal_of, shard_of
from features.wire.streams import finish, portions
from features.wire.user_moves import MOST_MERGES
from features.workspace import Workspace

EXPOSURES_KEPT: Final = 200_000
"""Slates one shard holds before the oldest are dropped and counted."""

OUTBOX_KEPT: Final = 200_000
"""Events one shard holds, waiting for the drain, before further ones are refused."""

BULK_TIMEOUT_S: Final = 30.0
LOAD_BATCH: Final = 2000
LOAD_TTL_S: Final = 86_400
"""How long a load of all users may take."""
CLAIM_AFTER_S: Final = 60.0
"""What another drain has taken and not stored for this long is taken over."""


class OutboxFull(StoreUnavailable):
    """So many events wait for the drain that no more are taken; Redis itself is well."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a user's events: accepted + duplicates + conflicts is how many there were."""

    accepted: int
    duplicates: int
    """The same event again: it changes nothing."""
    conflicts: int = 0
    """Another event under an id that was used: set aside for the quarantine."""
    excess: int = 0
    """Of the accepted, those beyond the rate limit: logged, and counted nowhere."""
    received_ms: int = 0
    """When they arrived, ms since the epoch by the clock of Redis."""


class Store:
    """Connections to one Redis or Redis Cluster. Threads may share it; every call has a deadline."""

    def __init__(self, fast: Client, bulk: Client, namespace: str, timeout_s: float) -> None:
        self._fast, self._bulk = fast, bulk
        self.keys, self._budget_ms = StoreKeys(namespace), timeout_s * 1000
        self.rows = RowStore(fast, bulk, namespace, timeout_s)
        """Feature rows, on the same connections."""

    @classmethod
    def connect(cls, url: str, namespace: str = "rr", timeout_s: float = 0.25) -> Store:
        """A store at a URL; nothing is sent before the first call.

        Args:
            url: of a Redis of 6.2 or later, or a Valkey; see `connection.connect`.
            namespace: first part of every key.
            timeout_s: deadline of each call of the request path; loading and draining have 30 s.
        """
        return cls(connect(url, timeout_s), connect(url, BULK_TIMEOUT_S), namespace, timeout_s)

    def close(self) -> None:
        """Closes all connections."""
        self._fast.close()
        self._bulk.close()

    def read_user(self, user_id: str) -> UserState:
        """The user's counters and history, in one trip; empty for a user without events.

        A user who was merged into another is that other: one more trip.
        """
        with mapped("read_user", self._budget_ms):
            return unpack_user(user_moves.current_user(self._fast, self.keys, user_id)[1])

    def accept_events(
        self, user_id: str, events: Sequence[AcceptedEvent], *, now_ms: int | None = None
    ) -> Accepted:
        """Takes a user's events, all in one atomic step; the next read on any connection sees them.

        An `event_id` met within 48 h changes nothing. Impressions are counted and logged, and in no history.

        Args:
            user_id: whose.
            events: in the order they happened.
            now_ms: when they arrived, in a replay; by default the clock of Redis.

        Raises:
            VersionMismatch: the user's record has another layout.
            Erased: the user was deleted and may not come back.
            BadInput: the user's id is no text, or not of 1 to 512 bytes.
            OutboxFull: the drain does not run.
            StoreUnavailable: Redis does not answer.
        """
        return self.accept_many([(user_id, events)], now_ms=now_ms)[0]

    def accept_many(
        self, events: Sequence[tuple[str, Sequence[AcceptedEvent]]], *, now_ms: int | None = None
    ) -> list[Accepted]:
        """`accept_events` for several users in one trip a node; one user's failure undoes no other's."""
        sent = [(check_text(check_id(name, "user_id"), "user_id"), some) for name, some in events if some]
        with mapped("accept_events", self._budget_ms):
            replies = self._accept(sent, now_ms)
            for place, reply in enumerate(replies):
                for _ in range(MOST_MERGES):
                    if not (isinstance(reply, list) and len(reply) == 1):
                        break
                    into = reply[0].decode("utf-8", "surrogatepass")
                    reply = self._accept([(into, sent[place][1])], now_ms)[0]
                else:
                    if isinstance(reply, list) and len(reply) == 1:
                        raise StoreUnavailable(user_moves.too_many_merges(sent[place][0]))
                if isinstance(reply, redis.ResponseError) and "ERASED" in str(reply):
                    raise Erased(f"user {sent[place][0]!r} was deleted; events of this id are refused")
                if isinstance(reply, redis.ResponseError) and "FULL" in str(reply):
                    raise OutboxFull(
                        f"{OUTBOX_KEPT} events wait in one outbox; see why no drain runs, then send again"
                    )
                replies[place] = reply
            answers = iter(Accepted(*map(int, reply)) for reply in checked(replies))
        return [next(answers) if some else Accepted(0, 0) for _, some in events]

    def merge_users(self, source: str, into: str, *, now_ms: int | None = None) -> int:
        """Moves all that is stored of one user to another. Safe to repeat, also after it was cut off.

        From then on the source's events and reads are those of the other user.

        Returns:
            When the source's events arrived at the other user, ms since the epoch; 0 where there was nothing
            left to move.

        Raises:
            BadInput: both are the same user, or the source was merged into somebody else.
        """
        check_id(source, "user_id")
        check_id(into, "user_id")
        with mapped("merge_users", self._budget_ms):
            return user_moves.merge_users(self._fast, self.keys, source, into, now_ms)

    def received(self, user_ids: Sequence[str]) -> list[int]:
        """When each user's newest event arrived, ms since the epoch; 0 for a user without a record."""
        keys = [self.keys.user(user_id, "h") for user_id in user_ids]
        with mapped("received", BULK_TIMEOUT_S * 1000):
            replies = checked(pipelined(self._bulk, keys, [("GETRANGE", key, 0, 15) for key in keys]))
        return [
            int.from_bytes(head[8:16], "little") if head.startswith(prefix(USER)) else 0 for head in replies
        ]

    def load_users(
        self, user_ids: Sequence[str], records: Sequence[bytes], arrived_ms: Int64s | None = None
    ) -> list[int]:
        """Puts users' records (`pack_users`) in place; returns the places of those that were left as is.

        A user is left who has taken an event that the log behind the record may lack: later than the newest
        event of the record or, where given, than `arrived_ms`, (n,). One who was deleted is not brought back.
        """
        keys = [(self.keys.user(user, "h"), self.keys.refused(shard_of(user))) for user in user_ids]
        bounds = [""] * len(keys) if arrived_ms is None else arrived_ms.tolist()
        commands: list[Command] = [
            (scripts.LOAD, *some, record, HISTORY_TTL_S, bound, prefix(MOVED), identity_hash(user))
            for user, some, record, bound in zip(user_ids, keys, records, bounds, strict=True)
        ]
        with mapped("load_users", BULK_TIMEOUT_S * 1000):
            replies = checked(scripts.run(self._bulk, commands, keys=2))
        return [place for place, reply in enumerate(replies) if not reply]

    def begin_load(self) -> str:
        """Notes that a load is under way; what is returned is for `mark_loaded`."""
        begun = secrets.token_hex(8)
        with mapped("begin_load", BULK_TIMEOUT_S * 1000):
            self._bulk.set(self.keys.loading(begun), 1, ex=LOAD_TTL_S)
        return begun

    def mark_loaded(self, said: dict[str, str | int], begun: str | None = None) -> None:
        """Notes what was loaded, and when: the store is empty no longer.

        Args:
            said: of the load.
            begun: from `begin_load`: where Redis knows nothing of it, what was loaded first is lost as well.
        """
        with mapped("mark_loaded", BULK_TIMEOUT_S * 1000):
            if begun is not None and not self._bulk.delete(self.keys.loading(begun)):
                raise StoreUnavailable("Redis lost what it held while it was loaded; load again")
            mapping: dict[Any, Any] = {**said, "loaded_at": f"{time.time():.3f}"}
            self._bulk.hset(self.keys.named("live"), mapping=mapping)

    def log_exposure(self, packed: bytes, shard: int | None = None) -> int:
        """Adds a slate (`packing.pack_exposure`) to the stream; returns how many old ones the bound cost."""
        at = (zlib.crc32(packed) if shard is None else shard) % EXPOSURE_SHARDS
        keys = [self.keys.exposure(at), self.keys.lost(at)]
        with mapped("log_exposure", self._budget_ms):
            return int(
                checked(scripts.run(self._fast, [(scripts.EXPOSE, *keys, packed, EXPOSURES_KEPT)], keys=2))[0]
            )

    def exposures_lost(self) -> int:
        """Slates dropped from full streams, ever."""
        keys = [self.keys.lost(at) for at in range(EXPOSURE_SHARDS)]
        with mapped("exposures_lost", self._budget_ms):
            counts = checked(pipelined(self._fast, keys, [("GET", key) for key in keys]))
        return sum(int(count or 0) for count in counts)

    def drain(self, workspace: Workspace, claim_after_s: float = CLAIM_AFTER_S) -> int:
        """Moves accepted events and exposures into the workspace's tables; returns how many of both.

        What is committed is struck from its stream only afterwards and told apart by its identity, so that a
        drain that was cut off, or ran twice, stores each event once.
        """
        moved = 0
        for streams, keep in ((self.keys.outboxes(), store_events), (self.keys.exposures(), store_exposures)):
            with mapped("drain", BULK_TIMEOUT_S * 1000):
                for entries in portions(self._bulk, streams, int(claim_after_s * 1000)):
                    moved += keep(workspace, [next(iter(e.fields.items())) for e in entries])
                    finish(self._bulk, entries)
        return moved

    def pending(self) -> int:
        """Accepted events and exposures that wait for the drain."""
        streams = [*self.keys.outboxes(), *self.keys.exposures()]
        with mapped("pending", self._budget_ms):
            return sum(checked(pipelined(self._fast, streams, [("XLEN", stream) for stream in streams])))

    def waiting_since(self) -> int | None:
        """When the oldest accepted event came that no drain has stored, ms by the clock of Redis; or None."""
        streams = self.keys.outboxes()
        oldest: list[Command] = [("XRANGE", stream, "-", "+", "COUNT", 1) for stream in streams]
        with mapped("waiting_since", BULK_TIMEOUT_S * 1000):
            replies = checked(pipelined(self._bulk, streams, oldest))
        return min((int(reply[0][0].partition(b"-")[0]) for reply in replies if reply), default=None)

    def delete_user(self, user_id: str, *, refuse: bool = True) -> dict[str, int]:
        """Removes all that Redis holds of a user; returns what was removed, by place.

        Args:
            user_id: whose.
            refuse: take no events of this id from now on, until `readmit`.
        """
        if refuse:
            self.refuse_hashes([refusal_of(user_id)])
        with mapped("delete_user", BULK_TIMEOUT_S * 1000):
            return user_moves.delete_user(self._bulk, self.keys, user_id)

    def find_user(self, user_id: str) -> dict[str, int]:
        """What Redis holds of a user, by place; all 0 once the user is deleted."""
        with mapped("find_user", BULK_TIMEOUT_S * 1000):
            return user_moves.find_user(self._bulk, self.keys, user_id)

    def refuse_hashes(self, refusals: Iterable[tuple[int, bytes]]) -> None:
        """Takes no events from now on of users of whom `store_keys.refusal_of` alone is known."""
        with mapped("refuse", BULK_TIMEOUT_S * 1000):
            user_moves.refuse(self._bulk, self.keys, refusals)

    def readmit(self, user_id: str) -> None:
        """Takes events of an id again that was refused."""
        with mapped("readmit", BULK_TIMEOUT_S * 1000):
            user_moves.readmit(self._bulk, self.keys, user_id)

    def point_merged(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Makes users' events and reads those of the users whom they were merged into.

        Returns:
            Users into whom somebody was merged of whom the store still held a record, which is gone: they are
            to be loaded from a log that has all that was accepted until now.
        """
        come: list[str] = []
        for start in range(0, len(pairs), LOAD_BATCH):
            with mapped("point_merged", BULK_TIMEOUT_S * 1000):
                come += user_moves.point_merged(self._bulk, self.keys, pairs[start : start + LOAD_BATCH])
        return come

    def activity_watermark(self) -> int:
        """Up to where the videos' activity is put up, ms since the epoch; 0 where it never was."""
        with mapped("activity_watermark", self._budget_ms):
            said: Any = self._fast.get(self.keys.named("{act}:w"))
        return int(said or 0)

    def activity_hours(self, hours: Sequence[int]) -> set[int]:
        """Those of the clock hours, ms since the epoch, that are put up."""
        keys = [self.keys.named(f"{{act}}:{hour}") for hour in hours]
        with mapped("activity_hours", self._budget_ms):
            found = checked(pipelined(self._fast, keys, [("EXISTS", key) for key in keys]))
        return {hour for hour, there in zip(hours, found, strict=True) if there}

    def put_activity(self, watermark_ms: int, hours: dict[int, bytes], ttl_s: int) -> None:
        """Puts up packed clock hours and their watermark, in one step."""
        mark = self.keys.named("{act}:w")
        with (
            mapped("put_activity", BULK_TIMEOUT_S * 1000),
            node_of(self._bulk, mark).pipeline(transaction=True) as pipe,
        ):
            for hour, packed in hours.items():
                pipe.set(self.keys.named(f"{{act}}:{hour}"), packed, ex=ttl_s)
            pipe.set(mark, watermark_ms)
            pipe.execute()

    def get_activity(self, wanted: Callable[[int], list[int]]) -> tuple[int, dict[int, bytes]]:
        """The watermark and the packed clock hours that are wanted as of it, as they stood at one moment."""
        mark = self.activity_watermark()
        while True:
            hours = wanted(mark)
            with (
                mapped("get_activity", BULK_TIMEOUT_S * 1000),
                node_of(self._bulk, self.keys.named("{act}:w")).pipeline(transaction=True) as pipe,
            ):
                pipe.get(self.keys.named("{act}:w"))
                for hour in hours:
                    pipe.get(self.keys.named(f"{{act}}:{hour}"))
                said, *packed = pipe.execute()
            if int(said or 0) == mark:
                return mark, {h: p for h, p in zip(hours, packed, strict=True) if p is not None}
            mark = int(said or 0)

    def is_empty(self) -> bool:
        """True where no histories were loaded: a new server, or one that lost its data."""
        with mapped("is_empty", self._budget_ms):
            return not self._fast.exists(self.keys.named("live"))

    def live(self) -> dict[str, str]:
        """What was loaded: `feature_version`, `users`, `loaded_at`; empty where nothing was."""
        with mapped("live", self._budget_ms):
            said: Any = self._fast.hgetall(self.keys.named("live"))
        return {key.decode(): value.decode() for key, value in said.items()}

    def clock_ms(self) -> int:
        """The time by Redis, ms since the epoch; of a cluster, by the node that is furthest behind."""
        with mapped("clock_ms", self._budget_ms):
            times: list[Any] = [node.time() for node in all_nodes(self._fast)]
        return min(int(seconds) * 1000 + int(micros) // 1000 for seconds, micros in times)

    def sample_users(self, n: int) -> list[str]:
        """Some users that have a record, at most n, in no order that means anything."""
        users: list[str] = []
        pattern = self.keys.named("{u*}:h:*")
        with mapped("sample_users", self._budget_ms):
            for node in all_nodes(self._fast):
                for key in node.scan_iter(match=pattern, count=max(n, 100)):
                    users.append(key.split(b":h:", 1)[1].decode("utf-8", "surrogatepass"))
                    if len(users) >= n:
                        return users
        return users

    def publish(self, bundle: str) -> None:
        """Names the bundle that is served."""
        with mapped("publish", self._budget_ms):
            self._fast.set(self.keys.named("bundle"), bundle)

    def published(self) -> str | None:
        """The bundle that is served, or None."""
        with mapped("published", self._budget_ms):
            said: Any = self._fast.get(self.keys.named("bundle"))
        return None if said is None else said.decode()

    def ping(self) -> None:
        """Returns where Redis answers within the deadline."""
        with mapped("ping", self._budget_ms):
            self._fast.ping()

    def _accept(self, events: Sequence[tuple[str, Sequence[AcceptedEvent]]], now_ms: int | None) -> list[Any]:
        return scripts.run(self._fast, [self._accepting(*one, now_ms) for one in events], keys=4)

    def _accepting(self, user_id: str, events: Sequence[AcceptedEvent], now_ms: int | None) -> Command:
        keys: list[Any] = [self.keys.user(user_id, kind) for kind in "hd"]
        keys += [self.keys.outbox(shard_of(user_id)), self.keys.refused(shard_of(user_id))]
        args: list[Any] = [identity_hash(user_id), "" if now_ms is None else now_ms, OUTBOX_KEPT]
        for event in events:
            args += event_parts(event, user_id)
        return (scripts.ACCEPT, *keys, *args)
