"""What is learnt from and what is held out: every measurement starts from one of these cuts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import EVENT_CODES, SEEN_EVENTS, Floats, Int64s, VideoTable
from features.errors import BadInput
from features.histories import build_event_log, positive_mask

if TYPE_CHECKING:
    from features.pipeline import FeatureSet

is_positive = positive_mask
"""What "liked" means, for training, truth and history alike."""


SHARES = 10_000
"""Steps in which a share of users can be drawn."""


@dataclass(frozen=True, slots=True)
class Holdout:
    """Which events are held out."""

    kind: Literal["time", "leave_last", "none"] = "none"
    until_ms: int = 0
    """`time`: events from this instant on are held out, ms since the epoch."""
    n: int = 0
    """`leave_last`: this many latest positive videos of each user are held out."""
    share: float = 1.0
    """`leave_last`: share of the users, drawn by a hash of their id, that lose videos; (0, 1]."""

    def __post_init__(self) -> None:
        if self.kind not in ("time", "leave_last", "none"):
            raise BadInput(f"holdout kind {self.kind!r} is unknown; use time, leave_last or none")
        if self.kind == "time" and self.until_ms <= 0:
            raise BadInput(f"a time holdout needs until_ms > 0, got {self.until_ms}")
        if self.kind == "leave_last" and self.n < 1:
            raise BadInput(f"a leave_last holdout needs n >= 1, got {self.n}")
        if not 0 < self.share <= 1:
            raise BadInput(f"a holdout's share of users lies in (0, 1], got {self.share}")

    def as_json(self) -> dict[str, Any]:
        """What a manifest says of it; `Holdout(**said)` gives it back."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Truth:
    """What n users went on to like, none of it seen before."""

    users: tuple[str, ...]
    """`user_id`, (n,), sorted."""
    user_codes: Int64s
    """Code in the event log of the training part, int64, (n,); -1 for a user who is new."""
    relevant: list[Int64s]
    """Keys of the held-out positive videos of each user, sorted, at least one."""
    at_ms: Int64s
    """Instant at which the recommendation would be made, ms since the epoch, int64, (n,); 0 without times."""

    def __len__(self) -> int:
        return len(self.users)

    def some(self, n: int) -> Truth:
        """At most n of the users, evenly spread over their ids."""
        if len(self) <= n:
            return self
        at = np.linspace(0, len(self) - 1, n).astype(np.int64)
        return Truth(
            tuple(self.users[i] for i in at),
            self.user_codes[at],
            [self.relevant[i] for i in at],
            self.at_ms[at],
        )


@dataclass(frozen=True, slots=True)
class Split:
    """A training part and what came after it."""

    train: FeatureSet
    truth: Truth


def split(features: FeatureSet, holdout: Holdout) -> Split:
    """The feature set before the cut, and what each user liked after it.

    `time`: events before `until_ms` train; events without a time cannot be placed and are left out.
    `leave_last`: each user with more than n positive videos loses the latest n, and all later events; where
    the data has no times, n positive videos drawn by a hash of user and video, so that the order of rows does
    not matter.

    Raises:
        BadInput: nothing is left on the training side.
    """
    if holdout.kind == "none":
        return Split(features, Truth((), np.empty(0, np.int64), [], np.empty(0, np.int64)))
    events = features.interactions.with_columns(positive=pl.Series(positive_rows(features), dtype=pl.Boolean))
    events = events.filter(pl.col("user_id").is_not_null())
    marked = (
        _after(events, holdout) if holdout.kind == "time" else _last(events, holdout, features.log.has_times)
    )
    kept = marked.filter(~pl.col("held"))
    if not kept["positive"].any():
        raise BadInput(f"holdout {holdout} leaves no positive event to learn from; choose a smaller one")
    extra = [name for name in marked.columns if name not in features.interactions.columns]
    train = restrict(features, kept.drop(extra))
    return Split(train, _truth(train, kept, marked.filter(pl.col("held")), holdout))


def restrict(features: FeatureSet, interactions: pl.DataFrame) -> FeatureSet:
    """The feature set that knows these interactions only."""
    log, counts = build_event_log(interactions.drop("video_key"), features.catalogue)
    return replace(features, interactions=interactions, log=log, counts=counts)


def positive_rows(features: FeatureSet) -> npt.NDArray[np.bool_]:
    """True where a row of the interactions is positive, (m,)."""
    frame = features.interactions
    codes = frame["event"].replace_strict(EVENT_CODES, return_dtype=pl.UInt8).to_numpy()
    return is_positive(
        codes, _floats(frame["watch_s"]), durations_of(features.videos, frame["video_key"].to_numpy())
    )


def durations_of(videos: VideoTable, keys: Int64s) -> Floats:
    """Duration of each key's video, s, same shape as `keys`; NaN where unknown."""
    if not len(videos):
        return np.full(keys.shape, np.nan, np.float32)
    rows = videos.rows_of(keys)
    return np.where(rows >= 0, videos.duration_s[rows], np.nan).astype(np.float32)


def _floats(series: pl.Series) -> Floats:
    return series.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def _after(events: pl.DataFrame, holdout: Holdout) -> pl.DataFrame:
    placed = events.filter(pl.col("ts").is_not_null())
    return placed.with_columns(held=pl.col("ts").dt.epoch("ms") >= holdout.until_ms)


def _last(events: pl.DataFrame, holdout: Holdout, has_times: bool) -> pl.DataFrame:
    when = pl.col("ts").dt.epoch("ms").fill_null(0) if has_times else pl.lit(0, pl.Int64)
    draw = pl.concat_str(pl.col("user_id"), pl.lit("\0"), pl.col("video_id")).hash(seed=1)
    first_liked = (
        events.filter(pl.col("positive"))
        .select("user_id", "video_key", when.alias("at"), draw.alias("draw"))
        .group_by("user_id", "video_key")
        .agg(pl.col("at").min(), pl.col("draw").first())
        .sort("user_id", "at", "draw")
        .with_columns(
            place=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"),
            count=pl.len().over("user_id").cast(pl.Int64),
        )
    )
    drawn = pl.col("user_id").hash(seed=2) % SHARES < round(holdout.share * SHARES)
    chosen = first_liked.filter(
        drawn & (pl.col("count") > holdout.n) & (pl.col("place") >= pl.col("count") - holdout.n)
    )
    since = chosen.group_by("user_id").agg(pl.col("at").min().alias("cut"))
    pairs = chosen.select("user_id", "video_key", pl.lit(True).alias("chosen"))
    marked = events.join(pairs, on=["user_id", "video_key"], how="left", maintain_order="left")
    marked = marked.join(since, on="user_id", how="left", maintain_order="left")
    later = (when > pl.col("cut")).fill_null(False) if has_times else pl.lit(False)
    return marked.with_columns(held=pl.col("chosen").fill_null(False) | later)


def _truth(train: FeatureSet, kept: pl.DataFrame, held: pl.DataFrame, holdout: Holdout) -> Truth:
    seen = kept.filter(pl.col("event").is_in(SEEN_EVENTS)).select("user_id", "video_key").unique()
    fresh = held.filter(pl.col("positive")).join(seen, on=["user_id", "video_key"], how="anti")
    at = pl.lit(holdout.until_ms, pl.Int64) if holdout.kind == "time" else _instant(train, fresh)
    grouped = (
        fresh.with_columns(at=at)
        .group_by("user_id")
        .agg(pl.col("video_key").unique().sort(), pl.col("at").min())
        .sort("user_id")
    )
    users = tuple(grouped["user_id"].to_list())
    codes = np.array([train.log.user_code(user) for user in users], np.int64)
    relevant = [np.array(keys, np.int64) for keys in grouped["video_key"].to_list()]
    return Truth(users, codes, relevant, grouped["at"].to_numpy().astype(np.int64))


def _instant(train: FeatureSet, fresh: pl.DataFrame) -> pl.Expr:
    if not train.log.has_times or fresh["ts"].null_count() == len(fresh):
        return pl.lit(0, pl.Int64)
    return pl.col("ts").dt.epoch("ms").fill_null(0)
