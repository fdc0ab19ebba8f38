"""The live activity of videos in Redis: counts of clock hours, put up by the keeper, read by every worker.

`rr:{act}:w` holds the watermark, `rr:{act}:<hour>` the counts of an hour up to it: both change in one step.
An hour that is over never changes again, so that a reader fetches one or two hours a minute.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from features.activity import (
    DAY_HOURS,
    HOUR_MS,
    HourCounts,
    Int32s,
    build_activity_log,
    hour_counts,
    hours_of,
    sum_hours,
)
from features.contracts import ACTIVITY_PERIOD_MS, DAY_MS, EVENTS, Int64s
from features.errors import VersionMismatch
from features.store import Store
from features.workspace import Workspace

_HEAD: Final = struct.Struct("<HHqqI")
_LAYOUT: Final = 1

KEPT_S: Final = 26 * 3600
"""An hour's counts end this long after they were put up."""


@dataclass(frozen=True, slots=True)
class ActivitySnapshot:
    """The activity of all videos as of one watermark."""

    watermark_ms: int = 0
    """ms since the epoch; 0 where nothing was ever put up."""
    hours: tuple[HourCounts, ...] = field(default=())

    def matrix(self, video_keys: Int64s) -> Int32s:
        """Activity of these videos, int32, (v, len(ACTIVITY_NAMES)); keys must rise."""
        return sum_hours(self.hours, video_keys, self.watermark_ms)


def publish_activity(workspace: Workspace, store: Store, clock_ms: int) -> int:
    """Counts what is new in the log and puts it up; returns the watermark, ms since the epoch.

    Args:
        workspace: whose log holds every event that arrived before `clock_ms`: drain it first.
        store: where the counts go.
        clock_ms: `store.clock_ms()` from before that drain.
    """
    mark = clock_ms // ACTIVITY_PERIOD_MS * ACTIVITY_PERIOD_MS
    last, have = store.activity_watermark(), store.activity_hours(hours_of(mark))
    if mark <= last:
        return last
    stale = [hour for hour in hours_of(mark) if hour not in have or hour + HOUR_MS > last]
    catalogue = workspace.catalogue.read(["video_key", "video_id"]).sort("video_key").with_row_index("row")
    activity = build_activity_log(_recent(workspace, stale[0]), catalogue)
    keys = catalogue["video_key"].to_numpy().astype(np.int64)
    counted = [hour_counts(activity, keys, hour, mark) for hour in stale]
    store.put_activity(mark, {hour.hour_ms: pack_hour(hour) for hour in counted}, KEPT_S)
    return mark


def read_activity(store: Store, before: ActivitySnapshot) -> ActivitySnapshot:
    """The activity as it is put up now, in one trip where the watermark has not moved.

    Args:
        store: where it is put up.
        before: what was read last; its hours that were over are used again.
    """
    mark = store.activity_watermark()
    if mark == before.watermark_ms:
        return before
    over = {h.hour_ms: h for h in before.hours if h.watermark_ms == h.hour_ms + HOUR_MS}

    def wanted(
        mark: int,
    ) -> list[int]:  # of two keepers one may set the watermark back: the hour is not over then
        return [hour for hour in hours_of(mark) if hour not in over or hour + HOUR_MS > mark]

    mark, packed = store.get_activity(wanted)
    fresh = {hour: unpack_hour(content) for hour, content in packed.items()}
    both = {hour: over[hour] for hour in hours_of(mark) if hour in over and hour + HOUR_MS <= mark} | fresh
    return ActivitySnapshot(mark, tuple(both[hour] for hour in hours_of(mark) if hour in both))


def pack_hour(hour: HourCounts) -> bytes:
    """The counts of an hour as bytes."""
    head = _HEAD.pack(_LAYOUT, len(EVENTS), hour.hour_ms, hour.watermark_ms, len(hour.video_keys))
    return b"".join((head, hour.video_keys.astype("<i8").tobytes(), hour.counts.astype("<i4").tobytes()))


def unpack_hour(packed: bytes) -> HourCounts:
    """The counts of an hour; VersionMismatch where they were packed with another layout."""
    layout, kinds, hour_ms, watermark_ms, n = _HEAD.unpack_from(packed)
    if (layout, kinds) != (_LAYOUT, len(EVENTS)):
        raise VersionMismatch(
            f"activity was packed as layout {layout} of {kinds} kinds; this program reads layout {_LAYOUT} "
            f"of {len(EVENTS)}; run the keeper of this version"
        )
    keys = np.frombuffer(packed, "<i8", n, _HEAD.size).astype(np.int64)
    counts = np.frombuffer(packed, "<i4", n * kinds, _HEAD.size + 8 * n).astype(np.int32)
    return HourCounts(hour_ms, watermark_ms, keys, counts.reshape(n, kinds))


def _recent(workspace: Workspace, since_ms: int) -> pl.DataFrame:
    """Events that became known since an instant: they happened at most a day before, see `activity`."""
    table = workspace.interactions
    now = table.snapshot()
    first = _day(since_ms - DAY_MS)
    files = tuple(name for name in now.files if name.startswith("date=") and name[5:15] >= first)
    since = pl.lit(since_ms, pl.Int64).cast(pl.Datetime("ms", "UTC"))
    return (
        table.scan(at=replace(now, files=files))
        .select("video_id", "event", "ts", "received_at", "excess")
        .filter(pl.max_horizontal("ts", "received_at") >= since)
        .collect()
    )


def _day(ms: int) -> str:
    return str(np.datetime64(max(ms, 0), "ms").astype("datetime64[D]"))


assert DAY_HOURS * HOUR_MS == DAY_MS
