"""The videos' statistics of the last night as rows in Redis: fresher than a bundle that is some nights old.

They are loaded under the `feature_version` that computed them, as of the log's last UTC midnight, so that
a training row of the next day reads the same numbers. A worker takes up a load whole and says that it does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from features.contracts import DAY_MS, Floats, Int64s, VideoTable
from features.event_log import EventLog
from features.row_store.loads import RowLoad
from features.row_store.rows import RowStore
from features.row_store.schema import RowSchema
from features.statistics import STATISTIC_NAMES, video_statistics

READ_AT_ONCE: Final = 10_000
"""Rows that one trip brings."""


def statistic_schema(feature_version: str) -> RowSchema:
    """The columns that are loaded."""
    return RowSchema("video", STATISTIC_NAMES, feature_version)


def load_statistics(
    rows: RowStore, interactions: pl.DataFrame, log: EventLog, videos: VideoTable, feature_version: str
) -> int:
    """Loads the statistics of all videos; returns how many. The same again changes nothing.

    Args:
        rows: where they go.
        interactions: columns of INTERACTIONS.
        log: of the same interactions.
        videos: rows of the statistics.
        feature_version: of the definitions that compute them.
    """
    midnight = int(log.arrivals.known_ms.max(initial=0)) // DAY_MS * DAY_MS
    matrix = video_statistics(interactions, videos, midnight if log.has_times else None)
    return rows.load(statistic_schema(feature_version), videos.keys, matrix, midnight).rows


def read_statistics(rows: RowStore, load: RowLoad, video_keys: Int64s, own: Floats) -> Floats:
    """Statistics of a bundle's videos, float32, (v, len(STATISTIC_NAMES)).

    Args:
        rows: where they were loaded.
        load: which.
        video_keys: of the bundle, int64, (v,).
        own: the bundle's own, (v, len(STATISTIC_NAMES)), for videos that the load does not have.
    """
    parts = []
    for start in range(0, len(video_keys), READ_AT_ONCE):
        some = slice(start, start + READ_AT_ONCE)
        found = rows.read(load, video_keys[some])
        parts.append(np.where(found.present[:, None], found.matrix, own[some]))
    return np.concatenate(parts) if parts else own
