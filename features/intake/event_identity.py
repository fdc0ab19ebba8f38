"""What makes an event itself, and what an event under a used identity would have to say to be the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

UInt64s = npt.NDArray[np.uint64]

PAYLOAD: Final = ("user_id", "video_id", "event", "ts")
"""An event that comes again under its identity is the same where these are."""

_HEX: Final = r"^[0-9a-f]{32}$"


@dataclass(frozen=True, slots=True)
class Identities:
    """Identities of n events, column by column; those of several frames compare within one process."""

    high: UInt64s
    """First half of `event_key`, (n,)."""
    low: UInt64s
    """Second half, (n,)."""
    payload: UInt64s
    """Hash of PAYLOAD, (n,)."""

    def __len__(self) -> int:
        return len(self.high)

    def take(self, places: npt.NDArray[np.int64]) -> Identities:
        """Those at these places."""
        return Identities(self.high[places], self.low[places], self.payload[places])


def key_of_event_id(event_id: str) -> str:
    """The `event_key` of an event that its sender named."""
    return _hash(f"id:{event_id}")


def identify(events: pl.DataFrame, digest: str) -> pl.Series:
    """What makes each event itself, String, (n,): `event_id`; else user, video, time, kind; else file, row.

    Args:
        events: `event_id, user_id, video_id, event, ts`, `row` (place in its file) and, where a row of the
            file gave several events, `further` (True for all but the first of the row).
        digest: of the file's content.
    """
    named = pl.concat_str(pl.lit("id:"), "event_id")
    size = pl.col("user_id").str.len_bytes()
    natural = pl.concat_str(
        pl.lit("at:"),
        size,
        pl.lit(":"),
        "user_id",
        "video_id",
        pl.lit(":"),
        pl.col("ts").dt.epoch("ms"),
        "event",
    )
    placed = pl.concat_str(pl.lit(f"in:{digest}:"), pl.col("row"))
    if "further" in events.columns:
        kind = pl.when("further").then(pl.concat_str(pl.lit(":"), "event")).otherwise(pl.lit(""))
        placed = pl.concat_str(placed, kind)
    texts = events.select(pl.coalesce(named, natural, placed)).to_series()
    return pl.Series("event_key", [_hash(text) for text in texts], dtype=pl.String)


def identities(events: pl.DataFrame) -> Identities:
    """The identities of events, in their order: `event_key` and PAYLOAD."""
    keys = events["event_key"]
    odd = ~keys.str.contains(_HEX)
    if odd.any():  # keys that others made: any text will do, and its hash stands for it
        keys = pl.Series([_hash(key) if is_odd else key for key, is_odd in zip(keys, odd, strict=True)])
    halves = [
        keys.str.slice(start, 16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy() for start in (0, 16)
    ]
    payload = events.select(PAYLOAD).hash_rows(seed=11).to_numpy()
    return Identities(halves[0], halves[1], payload)


def joined(parts: list[Identities]) -> Identities:
    """All of them, one after the other."""
    none = [np.zeros(0, np.uint64)]
    return Identities(
        np.concatenate([p.high for p in parts] or none),
        np.concatenate([p.low for p in parts] or none),
        np.concatenate([p.payload for p in parts] or none),
    )


def repeats(events: Identities) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which events come under the identity of an earlier one: (n,) with its payload, (n,) with another."""
    same, other = np.zeros((2, len(events)), bool)
    order = np.argsort(events.high, kind="stable")
    alike = np.diff(events.high[order]) == 0
    near = order[np.append(alike, False) | np.append(False, alike)] if len(events) else order
    some = events.take(near)  # few: the rest has a first half of its own
    order = np.lexsort((near, some.low, some.high))
    near, some = near[order], some.take(order)
    first = np.ones(len(near), bool)
    first[1:] = (some.high[1:] != some.high[:-1]) | (some.low[1:] != some.low[:-1])
    firsts = np.maximum.accumulate(np.where(first, np.arange(len(near)), 0))
    equal = some.payload == some.payload[firsts]
    same[near], other[near] = ~first & equal, ~first & ~equal
    return same, other


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
