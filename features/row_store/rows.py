"""Feature rows in Redis: loaded by version, read many in one trip, and swept when nobody reads them.

Rows of videos come with the bundle where a worker has room for all of them; where it has not, and for rows of
users, which no bundle holds, they are read from here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import redis
from redis.cluster import RedisCluster

from features.contracts import Floats
from features.row_store.bulk_load import Loaded, load_rows
from features.row_store.exchange import exchange
from features.row_store.keys import Keys, RowKeys, identities, shards_of
from features.row_store.loads import (
    RowLoad,
    find_load,
    forget_worker,
    live_load,
    register_worker,
)
from features.row_store.packing import command, decode_rows, packed_words
from features.row_store.schema import ENTITIES, RowSchema
from features.row_store.sweep import Swept, sweep_rows
from features.wire.connection import connect, mapped
from features.wire.nodes import Client, node_of

log = logging.getLogger(__name__)

BULK_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows as they were asked for."""

    matrix: Floats
    """float32, (n, w); NaN in the rows that are missing."""
    present: npt.NDArray[np.bool_]
    """bool, (n,)."""

    @property
    def missing(self) -> int:
        """How many rows were not there."""
        return len(self.present) - int(self.present.sum())


@dataclass(frozen=True, slots=True)
class _Asked:
    """One MGET, for rows of one table."""

    table: int
    node: redis.Redis
    packed: bytes
    places: list[int] | None
    """Places in the table, as the values come; None for all of them in order."""


class RowStore:
    """Feature rows in one Redis or Redis Cluster; threads may share it. Every call has a deadline."""

    def __init__(self, fast: Client, bulk: Client, namespace: str, timeout_s: float) -> None:
        self._fast, self._bulk = fast, bulk
        self._keys = {entity: RowKeys(namespace, entity) for entity in ENTITIES}
        self._budget_ms = timeout_s * 1000

    @classmethod
    def connect(cls, url: str, namespace: str = "rr", timeout_s: float = 0.25) -> RowStore:
        """A store at a URL (`connection.connect`); nothing is sent before the first call.

        Args:
            url: of a Redis of 6.2 or later, or a Valkey.
            namespace: first part of every key.
            timeout_s: deadline of each read; loading and sweeping have 30 s for each of their steps.
        """
        return cls(connect(url, timeout_s), connect(url, BULK_TIMEOUT_S), namespace, timeout_s)

    def close(self) -> None:
        """Closes all connections."""
        self._fast.close()
        self._bulk.close()

    def load(self, schema: RowSchema, keys: Keys, matrix: Floats, as_of_ms: int = 0) -> Loaded:
        """Puts rows in place of those that are live, all at once; see `bulk_load.load_rows`."""
        with mapped("load_rows", BULK_TIMEOUT_S * 1000):
            loaded = load_rows(self._bulk, self._keys[schema.entity], schema, keys, matrix, as_of_ms)
        log.info("rows_loaded entity=%s load=%s rows=%d", schema.entity, loaded.load, loaded.rows)
        return loaded

    def find(self, schema: RowSchema) -> RowLoad:
        """The latest complete load of a schema, which a worker reads until it takes up another.

        Raises:
            NotFound: no rows were loaded.
            VersionMismatch: rows are there, of another schema only; both sides are named.
        """
        with mapped("find_rows", self._budget_ms):
            return find_load(self._fast, self._keys[schema.entity], schema)

    def live(self, entity: str) -> RowLoad | None:
        """The latest complete load, of whatever schema, or None."""
        with mapped("live_rows", self._budget_ms):
            return live_load(self._fast, self._keys[entity])

    def read(self, load: RowLoad, keys: Keys) -> FeatureRows:
        """Rows of some videos or users, in their order, in one trip.

        Args:
            load: which rows.
            keys: whose, (n,); any may be missing, or come twice.

        Raises:
            VersionMismatch: a row has another layout than the load's schema.
        """
        return self.read_together([(load, keys)])[0]

    def read_together(self, wanted: Sequence[tuple[RowLoad, Keys]]) -> list[FeatureRows]:
        """Rows of several entities, in one trip: all nodes are asked before the first is waited for."""
        return self.read_beside([], wanted)[1]

    def read_beside(
        self, others: Sequence[bytes], wanted: Sequence[tuple[RowLoad, Keys]]
    ) -> tuple[list[bytes | None], list[FeatureRows]]:
        """Values of other keys, and rows, in one trip.

        Args:
            others: keys of strings; None comes back for one that is not there.
            wanted: which rows, of whom.
        """
        with mapped("read_rows", self._budget_ms):
            beside = [(node_of(self._fast, key), packed_words(b"GET", key)) for key in others]
            asked = [part for at, (load, keys) in enumerate(wanted) for part in self._asked(at, load, keys)]
            replies = exchange(self._fast, beside + [(part.node, part.packed) for part in asked])
        values: list[list[bytes | None]] = [[None] * len(keys) for _, keys in wanted]
        for part, found in zip(asked, replies[len(others) :], strict=True):
            if part.places is None:
                values[part.table] = found
                continue
            for place, value in zip(part.places, found, strict=True):
                values[part.table][place] = value
        return replies[: len(others)], [
            FeatureRows(*decode_rows(load.schema, some))
            for (load, _), some in zip(wanted, values, strict=True)
        ]

    def _asked(self, table: int, load: RowLoad, keys: Keys) -> Iterator[_Asked]:
        """What is asked for one table: one MGET where there is one node, else one a shard."""
        if not len(keys):
            return
        names = self._keys[load.schema.entity]
        identity = identities(load.schema.entity, keys)
        shards = shards_of(identity)
        rows = names.rows(load.load, identity, shards)
        if not isinstance(self._fast, RedisCluster):
            yield _Asked(table, self._fast, command(b"MGET", rows), None)
            return
        for shard in np.unique(shards).tolist():
            at = np.flatnonzero(shards == shard)
            node = node_of(self._fast, names.index(load.load, shard))
            yield _Asked(table, node, command(b"MGET", rows[at]), at.tolist())

    def register_worker(self, worker_id: str, load: RowLoad) -> None:
        """Keeps a load for a worker for 30 s; a worker says it again every 10 s.

        Raises:
            NotFound: the load has been removed; find another.
        """
        with mapped("register_worker", self._budget_ms):
            register_worker(self._fast, self._keys[load.schema.entity], load.load, worker_id)

    def forget_worker(self, worker_id: str, load: RowLoad) -> None:
        """The worker reads the load no longer."""
        with mapped("forget_worker", self._budget_ms):
            forget_worker(self._fast, self._keys[load.schema.entity], load.load, worker_id)

    def sweep(self) -> dict[str, Swept]:
        """Removes what is superseded and named by no live worker, by entity; never what is live."""
        with mapped("sweep_rows", BULK_TIMEOUT_S * 1000):
            return {entity: sweep_rows(self._bulk, keys) for entity, keys in self._keys.items()}
