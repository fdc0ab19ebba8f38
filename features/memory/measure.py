"""Bytes of a user and of a video, measured on a real Redis.

A private server is filled by the store's own ways in, at three sizes each. What one more costs is the slope
between the first two; the third says how well the slope holds. The hash tables of Redis grow in powers of
two: they are taken out before the slope is drawn, and put back where a forecast is made.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.activity import HOUR_MS, HourCounts
from features.activity_board import pack_hour
from features.contracts import EVENTS
from features.errors import BadInput, StoreUnavailable
from features.memory.cost import Cost, Measured, buckets
from features.memory.sample import (
    T0,
    Shapes,
    accept_sample,
    expose_sample,
    load_sample_users,
    load_sample_videos,
    use_once,
)
from features.redis_server import private_redis
from features.store import Store
from features.wire.connection import connect
from features.wire.nodes import Client
from features.wire.store_keys import StoreKeys, shard_of

SIZES: Final = (3000, 6000, 12_000)
NAMESPACE: Final = "rr"

SETTLE_S: Final = 30.0
STILL_S: Final = 0.3
"""A server that says the same for so long has come to rest: it looks after its tables 500 times a second."""

MOST_SENT: Final = 2000
"""Events of one user that are really sent."""

_PRIVATE: Final = (("appendonly", "no"), ("hz", "500"))


@dataclass(frozen=True, slots=True)
class Memory:
    """What a Redis says it holds."""

    used: int
    """All it has allocated, less the buffers of clients, bytes."""
    dataset: int
    """`used_memory_dataset`: less its hash tables too, bytes."""
    keys: int
    expiring: int
    """Of the keys, those that end some day."""


def measure(shapes: Shapes, window_events: int, sizes: Sequence[int] = SIZES) -> Measured:
    """Measures users and videos on a private server; it takes some seconds.

    Args:
        shapes: what users are like.
        window_events: that one user sends while their identities are kept, >= 0.
        sizes: three, rising: how many users, then videos, are loaded.

    Raises:
        BadInput: the sizes do not rise.
        StoreUnavailable: there is no server program, or it does not come to rest.
    """
    if len(sizes) != 3 or not 0 < sizes[0] < sizes[1] < sizes[2]:
        raise BadInput(f"sizes are {tuple(sizes)}; give three that rise from at least 1")
    with measuring_server() as (store, client):
        base = _size_of(client, lambda: None)
        users = [_size_of(client, partial(load_sample_users, store, shapes, 0, n)) for n in sizes]
        videos = [_size_of(client, partial(load_sample_videos, store, n)) for n in sizes]
        user, video = _slope(sizes, users), _slope(sizes, videos)
        rows = videos[1].plus(video.times(-sizes[1])).plus(base.times(-1))
        misfit = max(_misfit(sizes, users, user), _misfit(sizes, videos, video))
        event, identities, slate = _measure_traffic(store, client, window_events)
        said: Any = client.info("server")
    return Measured(
        said["redis_version"], base, user, video, rows, misfit, identities, event, slate, _activity_bytes()
    )


@contextlib.contextmanager
def measuring_server() -> Iterator[tuple[Store, Client]]:
    """A private server that writes no file, with a store on it, used once and empty; it ends with the block.

    A server notes how long each command took, in 20 KB a command from its first use on: that is not to be
    taken for what the first user costs.
    """
    with tempfile.TemporaryDirectory(prefix="rr-plan-") as folder, private_redis(Path(folder)) as url:
        store, client = Store.connect(url, NAMESPACE, timeout_s=30), connect(url, 30)
        try:
            for name, value in _PRIVATE:
                client.config_set(name, value)
            use_once(store)
            client.flushall()
            yield store, client
        finally:
            store.close()
            client.close()


def read_memory(client: Client) -> Memory:
    """What a Redis holds, once it has come to rest: nothing is freed, moved or resized any more.

    Raises:
        StoreUnavailable: it does not within SETTLE_S.
    """
    deadline, since = time.monotonic() + SETTLE_S, time.monotonic()
    last = _reading(client)
    while time.monotonic() - since < STILL_S:
        time.sleep(0.02)
        now = _reading(client)
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"Redis does not come to rest within {SETTLE_S:.0f} s; see who else uses it"
            )
    return last


def _reading(client: Client) -> Memory:
    memory: Any = client.info("memory")
    keyspace: Any = client.info("keyspace")
    said = keyspace.get("db0", {"keys": 0, "expires": 0})
    buffers = memory["mem_clients_normal"] + memory["mem_aof_buffer"] + memory["mem_replication_backlog"]
    return Memory(
        memory["used_memory"] - buffers, memory["used_memory_dataset"], said["keys"], said["expires"]
    )


def _size_of(client: Client, load: Callable[[], object]) -> Cost:
    """What an empty server holds once something was loaded."""
    client.flushall()
    load()
    found = read_memory(client)
    plain = found.used - buckets(found.keys) - buckets(found.expiring)
    return Cost(plain, found.dataset, found.keys, found.expiring)


def _slope(sizes: Sequence[int], found: Sequence[Cost]) -> Cost:
    """What one more costs, between the first two sizes."""
    return found[1].plus(found[0].times(-1)).times(1 / (sizes[1] - sizes[0]))


def _misfit(sizes: Sequence[int], found: Sequence[Cost], one: Cost) -> float:
    """Share by which the third size is not where the slope leads."""
    foretold = found[1].plus(one.times(sizes[2] - sizes[1]))
    return abs(foretold.used / found[2].used - 1)


def _measure_traffic(store: Store, client: Client, window_events: int) -> tuple[float, float, float]:
    """Bytes of an event in the outbox, of a user's identities, and of a slate."""
    client.flushall()
    keys = StoreKeys(NAMESPACE)
    identities = 0.0
    if window_events:
        some = min(window_events, MOST_SENT)  # a set that large costs as much for each of its members
        held = [_usage(client, keys.user(user, "d")) for user in accept_sample(store, 20, some)]
        identities = float(np.mean(held)) * window_events / some
    client.flushall()
    [one] = accept_sample(store, 1, MOST_SENT)
    outbox, slates = keys.outbox(shard_of(one)), keys.exposure(0)
    event = _usage(client, outbox) / client.xlen(outbox)
    expose_sample(store, 500)
    return event, identities, _usage(client, slates) / client.xlen(slates)


def _usage(client: Client, key: str | bytes) -> int:
    return int(client.memory_usage(key, samples=0) or 0)


def _activity_bytes() -> float:
    keys = np.arange(10_000, dtype=np.int64)
    counts = np.zeros((len(keys), len(EVENTS)), np.int32)
    hour = T0 // HOUR_MS * HOUR_MS
    return len(pack_hour(HourCounts(hour, hour, keys, counts))) / len(keys)
