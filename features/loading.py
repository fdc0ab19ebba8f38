"""Everybody's state from the log into the store, while events keep coming in.

A user who takes an event between the reading of the log and the loading is left as is, and brought in by the
next pass: what arrived is drained into the log first, so that no event is lost and none counts twice.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
import polars as pl

from features.contracts import Int64s
from features.counters import counters_at
from features.erasure.tombstones import refused_hashes
from features.event_log import LATEST_MS, EventLog, build_event_log
from features.histories import histories_at
from features.merges import merges, with_merges
from features.packing import pack_users
from features.store import LOAD_BATCH, Store
from features.workspace import Workspace

log = logging.getLogger(__name__)

PASSES: Final = 5
"""How often users who were busy meanwhile are tried again."""


def load_log(
    store: Store, events: EventLog, *, codes: Int64s | None = None, arrived_ms: Int64s | None = None
) -> list[str]:
    """Puts users' counters and histories into the store; returns those who were busy and stayed as they were.

    Args:
        store: where they go.
        events: the log.
        codes: which users, int64, (n,); all by default.
        arrived_ms: arrival of the newest event of each that the log is known to hold, int64, (n,); by default
            that of the newest event in the log.
    """
    users = np.arange(len(events.user_ids), dtype=np.int64) if codes is None else codes
    busy: list[str] = []
    for start in range(0, len(users), LOAD_BATCH):
        some = users[start : start + LOAD_BATCH]
        bounds = None if arrived_ms is None else arrived_ms[start : start + LOAD_BATCH]
        # As any request would see them: with a time, if any have one.
        until = np.full(len(some), LATEST_MS, np.int64)
        records = pack_users(
            histories_at(events, some, until), counters_at(events, some, until), newest_arrivals(events, some)
        )
        names = [events.user_ids[code] for code in some]
        busy += [names[place] for place in store.load_users(names, records, bounds)]
    return busy


def newest_arrivals(events: EventLog, users: Int64s) -> Int64s:
    """When the newest event of each user became known, ms since the epoch, int64, (n,); 0 for none."""
    ends = events.arrivals.offsets[users + 1]
    some = ends > events.arrivals.offsets[users]
    known = events.arrivals.known_ms
    return np.where(some, known[np.maximum(ends - 1, 0)], 0) if len(known) else np.zeros(len(users), np.int64)


def load_everybody(
    store: Store, workspace: Workspace, events: EventLog, catalogue: pl.DataFrame, feature_version: str
) -> int:
    """Brings all users of a log into the store, those who are busy meanwhile too; returns how many users.

    Args:
        store: where they go.
        workspace: whose interactions grow by what the store drains.
        events: the log as it was read.
        catalogue: `video_id` and `video_key`.
        feature_version: noted as what is live.

    Raises:
        StoreUnavailable: Redis does not answer, or lost meanwhile what had been loaded; load again.
    """
    begun = store.begin_load()
    store.refuse_hashes(refused_hashes(workspace))
    come = store.point_merged(merges(workspace))
    busy = list(dict.fromkeys([*load_log(store, events), *come]))
    for _ in range(PASSES):
        if not busy:
            break
        arrived = np.array(store.received(busy), np.int64)  # before the drain, which brings all of it
        store.drain(workspace, claim_after_s=0)
        newer = _log_of(workspace, busy, catalogue)
        codes = newer.user_codes(busy)
        inside = codes >= 0
        busy = load_log(store, newer, codes=codes[inside], arrived_ms=arrived[inside])
    if busy:
        log.warning("users_busy left=%d passes=%d", len(busy), PASSES)
    store.mark_loaded({"feature_version": feature_version, "users": len(events.user_ids)}, begun)
    return len(events.user_ids)


def _log_of(workspace: Workspace, users: list[str], catalogue: pl.DataFrame) -> EventLog:
    pairs, wanted = merges(workspace), set(users)
    names = [*users, *(source for source, into in pairs if into in wanted)]
    rows = workspace.interactions.scan().filter(pl.col("user_id").is_in(names)).collect()
    return build_event_log(with_merges(rows, workspace), catalogue)[0]
