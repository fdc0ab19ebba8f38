"""All events of a log in flat arrays, by user: in the order they happened, and in the order they arrived.

Both are in compressed rows: what belongs to user u stands at `offsets[u]:offsets[u + 1]`. An event is known
from the moment it had both happened and reached us; events beyond the rate limit are in neither.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import EVENT_CODES, EVENTS, Floats, Int64s, device_code, hour_bucket

LATEST_MS: Final = 2**48
"""Instants from here on (the year 10889) are no times; neither are those up to 1970."""

MOST_WATCH_MS: Final = 2**31 - 1
"""What one event adds to the watched time at most, ms: 24.8 days."""

JOINED: Final = "joined_at"
"""Column that says when an event came to its user, who was merged."""

READ: Final = (
    "event_key",
    "user_id",
    "video_id",
    "event",
    "ts",
    "order",
    "received_at",
    "watch_s",
    "device",
    "utc_offset_min",
    "excess",
)
"""Columns of INTERACTIONS that a log of events is made from."""


@dataclass(frozen=True)
class Arrivals:
    """All events, impressions included, by user, in the order they became known."""

    offsets: Int64s
    """int64, (u + 1,); where each user's arrivals begin and end."""
    known_ms: Int64s
    """When we knew of it, ms since the epoch, int64, (a,), rising within a user; 0 where there is no time."""
    events: npt.NDArray[np.uint8]
    """Event codes, uint8, (a,)."""
    hours: npt.NDArray[np.int8]
    """`hour_bucket` of the event, int8, (a,); -1 for impressions and where there is no time."""
    devices: npt.NDArray[np.int8]
    """`device_code` of the event, int8, (a,); -1 for impressions and where it is unknown."""
    watch_ms: npt.NDArray[np.int32]
    """`watch_ms` of the event, int32, (a,); 0 where unknown."""
    ts_ms: Int64s
    """When it happened, ms since the epoch, int64, (a,); 0 where there is no time."""


@dataclass(frozen=True)
class EventLog:
    """All events but impressions, by user, oldest first: by `ts`, then by when known, then by `order`."""

    user_ids: tuple[str, ...]
    """(u,), sorted, unique: also users of whom there are impressions only."""
    offsets: Int64s
    """int64, (u + 1,); where each user's events begin and end."""
    video_keys: Int64s
    """int64, (m,)."""
    events: npt.NDArray[np.uint8]
    """Event codes, uint8, (m,)."""
    ts_ms: Int64s
    """ms since the epoch, int64, (m,); 0 where there is no time."""
    known_ms: Int64s
    """max(ts, received_at), ms since the epoch, int64, (m,); 0 where there is no time."""
    known_sorted_ms: Int64s
    """The values of `known_ms`, rising within each user, int64, (m,)."""
    watch_s: Floats
    """Watched seconds, float32, (m,); NaN where unknown."""
    has_times: bool
    """True where at least one event has a time."""
    arrivals: Arrivals

    def user_code(self, user_id: str) -> int:
        """Place of the user in `user_ids`, or -1."""
        at = bisect.bisect_left(self.user_ids, user_id)
        return at if at < len(self.user_ids) and self.user_ids[at] == user_id else -1

    def user_codes(self, user_ids: list[str]) -> Int64s:
        """Place of each user in `user_ids`, int64, -1 where unknown."""
        places = {user_id: code for code, user_id in enumerate(self.user_ids)}
        return np.array([places.get(user_id, -1) for user_id in user_ids], np.int64)


@dataclass(frozen=True, slots=True)
class LogCounts:
    """What became of the rows of a log: `rows` is the sum of all others."""

    rows: int
    """Rows looked at, impressions included."""
    used: int
    """Rows of known videos and named users, impressions included."""
    unknown_video: int
    """Rows left out because the catalogue has no such video."""
    without_user: int
    """Rows of known videos left out because they name no user."""
    excess: int = 0
    """Rows of known videos and named users left out because they are beyond the rate limit."""


def build_event_log(interactions: pl.DataFrame, catalogue: pl.DataFrame) -> tuple[EventLog, LogCounts]:
    """The log of all events, and what was left out.

    Args:
        interactions: columns of INTERACTIONS, any order of rows, and `joined_at` where users were merged
            (`merges.with_merges`); a `video_key` column is ignored.
        catalogue: `video_id` and `video_key`.
    """
    keys = catalogue.select("video_id", "video_key")
    joined = [JOINED] if JOINED in interactions.columns else []
    known = interactions.select(*READ, *joined).join(keys, on="video_id", how="inner")
    named = known.filter(pl.col("user_id").is_not_null())
    used = named.filter(is_counted())
    counts = LogCounts(
        len(interactions),
        len(used),
        len(interactions) - len(known),
        len(known) - len(named),
        len(named) - len(used),
    )
    users = used.select(pl.col("user_id").unique().sort()).with_row_index("user")
    return _log_of(tuple(users["user_id"]), _coded(used, users)), counts


def is_counted() -> pl.Expr:
    """True where an event is not beyond the rate limit."""
    return ~pl.col("excess").fill_null(False)


def ts_expr() -> pl.Expr:
    """`ts` in ms since the epoch, Int64; 0 where there is none, or none that can be."""
    ms = pl.col("ts").dt.epoch("ms")
    return pl.when(ms.is_between(1, LATEST_MS - 1)).then(ms).otherwise(0)


def known_expr() -> pl.Expr:
    """When an event was known, ms since the epoch, Int64; 0 where `ts_expr` is."""
    got = pl.col("received_at").dt.epoch("ms").clip(upper_bound=LATEST_MS - 1)
    return pl.when(ts_expr() > 0).then(pl.max_horizontal(ts_expr(), got)).otherwise(0)


def code_expr() -> pl.Expr:
    """Event code, UInt8."""
    return pl.col("event").cast(pl.Enum(EVENTS)).to_physical().cast(pl.UInt8)


def watch_ms(watch_s: Floats) -> npt.NDArray[np.int32]:
    """Watched time of each event, rounded to ms, int32, same shape; 0 where it is unknown (NaN)."""
    ms = np.rint(np.nan_to_num(watch_s.astype(np.float64), posinf=np.inf) * 1000.0)
    return np.asarray(np.clip(ms, 0.0, MOST_WATCH_MS), np.int32)


def _coded(used: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """The rows as numbers, in the order of user, known, `order`, `event_key`."""
    names = used["device"].unique().to_list()
    codes = pl.col("device").replace_strict(names, [device_code(n) for n in names], return_dtype=pl.Int8)
    known = known_expr()
    if JOINED in used.columns:
        known = pl.when(known > 0).then(pl.max_horizontal(known, pl.col(JOINED).dt.epoch("ms"))).otherwise(0)
    coded = used.join(users, on="user_id", how="inner").select(
        pl.col("user").cast(pl.UInt32),
        "video_key",
        "order",
        "event_key",
        event=code_expr(),
        ts=ts_expr(),
        known=known,
        watch=pl.col("watch_s").cast(pl.Float32).fill_null(float("nan")),
        offset=pl.col("utc_offset_min").cast(pl.Int16).fill_null(0),
        device=codes,
    )
    by = ["user", "known", "order"]
    if coded["order"].n_unique() == len(coded):  # the common case: nothing is left for the texts to decide
        return coded.drop("event_key").sort(by)
    return coded.sort(*by, "event_key").drop("event_key")


def _log_of(user_ids: tuple[str, ...], coded: pl.DataFrame) -> EventLog:
    happened = coded.filter(pl.col("event") != EVENT_CODES["impression"])
    known = happened["known"].to_numpy().astype(np.int64)
    happened = happened.sort("user", "ts", maintain_order=True)  # of equal `ts` the later known is newer
    ts = happened["ts"].to_numpy().astype(np.int64)
    return EventLog(
        user_ids=user_ids,
        offsets=_offsets(happened, len(user_ids)),
        video_keys=happened["video_key"].to_numpy().astype(np.int64),
        events=happened["event"].to_numpy().astype(np.uint8),
        ts_ms=ts,
        known_ms=happened["known"].to_numpy().astype(np.int64),
        known_sorted_ms=ts if np.array_equal(known, ts) else known,
        watch_s=happened["watch"].to_numpy().astype(np.float32),
        has_times=bool((coded["ts"] != 0).any()),
        arrivals=_arrivals_of(coded, len(user_ids)),
    )


def _arrivals_of(coded: pl.DataFrame, users: int) -> Arrivals:
    events = coded["event"].to_numpy().astype(np.uint8)
    ts = coded["ts"].to_numpy().astype(np.int64)
    shown = events == EVENT_CODES["impression"]
    hours = hour_bucket(ts, coded["offset"].to_numpy()).astype(np.int8)
    return Arrivals(
        offsets=_offsets(coded, users),
        known_ms=coded["known"].to_numpy().astype(np.int64),
        events=events,
        hours=np.where(shown | (ts == 0), np.int8(-1), hours),
        devices=np.where(shown, np.int8(-1), coded["device"].to_numpy().astype(np.int8)),
        watch_ms=watch_ms(coded["watch"].to_numpy().astype(np.float32)),
        ts_ms=ts,
    )


def _offsets(rows: pl.DataFrame, users: int) -> Int64s:
    lengths = np.bincount(rows["user"].to_numpy(), minlength=users)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
