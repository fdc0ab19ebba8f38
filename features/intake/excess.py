"""Which events of a log lie beyond the rate limit: bots and runaway clients, kept and counted nowhere.

Only what says when it was received can be judged. An event is excess when its user had sent the most that
are allowed before it, in its UTC minute or its UTC day of `received_at`; excess events count towards both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import DAY_MS, MAX_EVENTS_A_DAY, MAX_EVENTS_A_MINUTE, TS

MINUTE_MS = 60_000

_USER = pl.col("user_id").hash(17).alias("user")


def is_limited() -> pl.Expr:
    """True for an event that the limits can judge."""
    return pl.col("user_id").is_not_null() & pl.col("received_at").is_not_null()


def arrivals(events: pl.LazyFrame) -> pl.DataFrame:
    """`user` (hash), `received_ms` and `order` of the events that the limits can judge."""
    received = pl.col("received_at").dt.epoch("ms").alias("received_ms")
    return events.filter(is_limited()).select(_USER, received, "order").collect(engine="streaming")


def arrived_before(stored: pl.LazyFrame, new: pl.DataFrame) -> pl.DataFrame:
    """How many events of the same users were stored already: `user, minute, before`.

    Args:
        stored: events of the table.
        new: `arrivals` of those to be stored; only their users and days are counted.
    """
    days = pl.col("received_ms") // DAY_MS * DAY_MS
    first, end = new.select(days.min(), days.max().alias("end") + DAY_MS).row(0) if len(new) else (0, 0)
    span = (pl.col("received_at") >= pl.lit(first).cast(TS)) & (pl.col("received_at") < pl.lit(end).cast(TS))
    minute = (pl.col("received_at").dt.epoch("ms") // MINUTE_MS).alias("minute")
    same = stored.filter(is_limited() & span).select(_USER, minute)
    users = new.lazy().select("user").unique()
    return same.join(users, on="user", how="semi").group_by("user", "minute").agg(before=pl.len()).collect()


def excess_orders(new: pl.DataFrame, stored: pl.DataFrame) -> npt.NDArray[np.int64]:
    """`order` of each new event that is excess, ascending.

    Args:
        new: `arrivals`; those of one user come by (`received_ms`, `order`).
        stored: `arrived_before`.
    """
    rows = new.lazy().sort("user", "received_ms", "order")
    rows = rows.with_columns(minute=pl.col("received_ms") // MINUTE_MS, day=pl.col("received_ms") // DAY_MS)
    by_day = stored.lazy().group_by("user", day=pl.col("minute") // (DAY_MS // MINUTE_MS))
    rows = rows.join(stored.lazy(), on=["user", "minute"], how="left", maintain_order="left")
    rows = rows.join(
        by_day.agg(before_day=pl.col("before").sum()), on=["user", "day"], how="left", maintain_order="left"
    )
    place = pl.int_range(pl.len())
    in_minute = place.over("user", "minute") + pl.col("before").fill_null(0)
    in_day = place.over("user", "day") + pl.col("before_day").fill_null(0)
    over = (in_minute >= MAX_EVENTS_A_MINUTE) | (in_day >= MAX_EVENTS_A_DAY)
    orders = rows.filter(over).select("order").collect().to_series()
    return np.sort(orders.to_numpy())
