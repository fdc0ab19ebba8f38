"""Users and videos as the store holds them, made up for measuring: loaded by the store's own ways in.

Only sizes matter here: how long ids are, how many events a history has, which columns a feature row has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.contracts import (
    DEVICES,
    EVENTS,
    HISTORY_LENGTH,
    HOUR_BUCKETS,
    NO_KEY,
    Histories,
    Int64s,
    UserCounters,
)
from features.definitions import feature_version
from features.packing import AcceptedEvent, Exposure, pack_exposure, pack_users
from features.row_store.statistic_rows import statistic_schema
from features.store import LOAD_BATCH, Store
from features.workspace import Workspace

T0: Final = 1_767_225_600_000
"""Where made-up time begins, ms since the epoch."""

MOST_EVENTS: Final = 100
"""Events that one call of the API brings."""

_GOLDEN: Final = (5**0.5 - 1) / 2

SLATE: Final = 20
"""Videos of a made-up slate."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """What users of a deployment are like, as far as bytes go."""

    lengths: Int64s
    """Events in the histories of some users, int64, (m,), m >= 1, at most HISTORY_LENGTH."""
    id_bytes: Int64s
    """Bytes of their ids, int64, (m,), >= 1."""

    def draw(self, n: int, first: int) -> tuple[list[str], Int64s]:
        """Ids, and lengths of histories, of the users from number `first` on: any n are spread as all are.

        Source: the golden-ratio (Kronecker) sequence, whose every stretch covers [0, 1) evenly.
        """
        order = np.argsort(self.lengths, kind="stable")
        places = np.modf(np.arange(first, first + n) * _GOLDEN)[0]
        some = order[(places * len(order)).astype(np.int64)]
        sizes = self.id_bytes[some].tolist()
        ids = [str(first + at).rjust(size, "u") for at, size in enumerate(sizes)]
        return ids, self.lengths[some]


def given_shapes(history_events: int, id_bytes: int = 16) -> Shapes:
    """Users who all have a history of that length, and ids of so many bytes."""
    lengths = np.array([min(history_events, HISTORY_LENGTH)], np.int64)
    return Shapes(lengths, np.array([id_bytes], np.int64))


def logged_shapes(workspace: Workspace) -> Shapes | None:
    """Users as the log of a workspace has them; None where it has none."""
    counted = (
        workspace.interactions.scan()
        .filter(pl.col("user_id").is_not_null())
        .group_by("user_id")
        .agg(events=(pl.col("event") != "impression").sum())
        .select(pl.col("events").clip(0, HISTORY_LENGTH), size=pl.col("user_id").str.len_bytes())
        .cast(pl.Int64)
        .collect(engine="streaming")
    )
    return Shapes(counted["events"].to_numpy(), counted["size"].to_numpy()) if len(counted) else None


def load_sample_users(store: Store, shapes: Shapes, first: int, last: int) -> None:
    """Puts users `first` to `last` (not included) into the store."""
    for start in range(first, last, LOAD_BATCH):
        ids, lengths = shapes.draw(min(LOAD_BATCH, last - start), start)
        histories, n = _histories(lengths), len(ids)
        store.load_users(ids, pack_users(histories, _counters(n), np.full(n, T0, np.int64)))


def load_sample_videos(store: Store, n: int) -> int:
    """Loads the feature rows of n videos, and takes those of another number away; returns their bytes."""
    schema = statistic_schema(feature_version())
    matrix = np.random.default_rng(n).random((n, len(schema.names)), np.float32)
    store.rows.load(schema, np.arange(n, dtype=np.int64), matrix)
    store.rows.sweep()
    return int(matrix.nbytes)


def use_once(store: Store) -> None:
    """Sends every command that loading and serving send."""
    load_sample_users(store, given_shapes(1), 0, 1)
    for n in (1, 2):
        load_sample_videos(store, n)
    accept_sample(store, 1, 1)
    expose_sample(store, 1)


def accept_sample(store: Store, users: int, events: int) -> list[str]:
    """Has users send so many events each; returns their ids."""
    ids, _ = given_shapes(0).draw(users, 0)
    for user_id in ids:
        for some in _in_batches(user_id, events):
            store.accept_events(user_id, some)
    return ids


def expose_sample(store: Store, slates: int) -> None:
    """Logs slates of SLATE videos, all into one stream."""
    for number in range(slates):
        keys = np.arange(SLATE, dtype=np.int64)
        exposure = Exposure(
            f"{number:032x}", "u" * 16, T0, "20260101T000000-0123abcd", "full", keys,
            np.zeros(SLATE, np.float32), np.ones(SLATE), arm="control", policy="ranker",
            device="mobile", surface="home", country="DE",
        )  # fmt: skip
        store.log_exposure(pack_exposure(exposure), shard=0)


def _in_batches(user_id: str, events: int) -> Iterator[list[AcceptedEvent]]:
    extra = {"position": 3, "policy": "ranker", "device": "mobile", "surface": "home", "utc_offset_min": 60}
    for start in range(0, events, MOST_EVENTS):
        yield [
            AcceptedEvent(
                f"{user_id}-{at:015d}", at, "v" * 16, "play", T0 + at, 7.5, request_id="0" * 32, extra=extra
            )
            for at in range(start, min(events, start + MOST_EVENTS))
        ]


def _histories(lengths: Int64s) -> Histories:
    n, width = len(lengths), int(lengths.max(initial=0))
    inside = np.arange(width) < lengths[:, None]
    return Histories(
        np.where(inside, np.arange(width), NO_KEY),
        np.where(inside, 1, 0).astype(np.uint8),
        np.where(inside, T0, 0).astype(np.int64),
        np.full((n, width), 7.5, np.float32),
        lengths.astype(np.int32),
    )


def _counters(n: int) -> UserCounters:
    """Counters of n users, all the same: the record is as long whatever they are."""
    ones = [np.ones((n, width), np.int64) for width in (len(EVENTS), HOUR_BUCKETS, len(DEVICES))]
    return UserCounters(ones[0], np.ones(n, np.int64), ones[1], ones[2], np.full(n, T0, np.int64))
