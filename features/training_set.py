"""A point-in-time training set, piece by piece: a log of any length in the memory of one shard.

The log is read once and laid aside twice, as narrow rows: by user, for histories, counters and labels; by
video, for activity. Then each shard is worked off alone. Only the daily counts of all videos are held whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features import event_log
from features.activity import activity_at, build_activity_log, watermark
from features.assemble import FEATURE_NAMES
from features.contracts import ACTIVITY_NAMES, DAY_MS, Context, Floats, VideoTable
from features.errors import BadInput
from features.event_log import JOINED, build_event_log, is_counted, ts_expr
from features.labels import LABELS, label
from features.point_in_time import Moments, features_of, nightly_statistics
from features.statistics import DailyCounts, daily_counts, merge_counts
from features.videos import video_rows

Int32s = npt.NDArray[np.int32]

READ: Final = (*event_log.READ, "request_id", "surface")
"""Columns of INTERACTIONS that are read."""

KEPT: Final = ("event_key", "user_id", "video_id", "video_key", "ts", "request_id")
"""Columns of an example besides its labels and features."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How much is in memory at once."""

    rows_a_shard: int = 1_000_000
    """About how many rows of the log a shard holds."""
    rows_a_batch: int = 500_000
    """Rows that are read at once."""
    rows_a_frame: int = 20_000
    """Most examples in a frame of the result."""


def training_set(
    interactions: pl.LazyFrame,
    catalogue: pl.DataFrame,
    videos: VideoTable,
    *,
    sharding: Sharding | None = None,
    scratch: Path | None = None,
) -> Iterator[pl.DataFrame]:
    """Frames of examples: KEPT, LABELS (Boolean) and FEATURE_NAMES (Float32), of one day each.

    An example is an impression (a play, where the log has no impression) of a named user, with the features
    that a live request would have seen at its `ts`, and what followed within 24 hours. Excess is in none.

    Args:
        interactions: columns of INTERACTIONS, as `Table.scan` gives them.
        catalogue: `video_id` and `video_key`.
        videos: rows of the features.
        sharding: how much is in memory at once.
        scratch: where the log is laid aside; a temporary folder of its own is made there and removed.

    Raises:
        BadInput: the log has no times, so nothing is "as of then".
    """
    shape = sharding or Sharding()
    joined = [JOINED] if JOINED in interactions.collect_schema().names() else []
    log = interactions.select(*READ, *joined).filter(is_counted())
    rows, shown, latest = _survey(log)
    if rows and latest == 0:
        raise BadInput(
            "the log has no times, so no features are as of then; import one with `ts`, or train without"
        )
    shards = max(1, -(-rows // shape.rows_a_shard))
    with tempfile.TemporaryDirectory(prefix="training-", dir=scratch) as folder:
        aside = _Aside(Path(folder), shards, "impression" if shown else "play")
        daily = _lay_aside(log, videos, aside, shape)
        _activity_of_shards(aside, videos)
        statistics = _Nightly(aside.root, daily, videos)
        for shard in range(shards):
            yield from _examples(aside, shard, catalogue, videos, statistics, latest, shape)


@dataclass(frozen=True, slots=True)
class _Aside:
    """A folder of the log's shards."""

    root: Path
    shards: int
    example: str
    """Kind of event that is an example."""

    def write(self, what: str, frame: pl.DataFrame, shard: str, name: str) -> None:
        """Rows of a batch, by shard; the shard's column is left out."""
        for (place,), rows in frame.partition_by(shard, as_dict=True, include_key=False).items():
            folder = self.root / what / str(place)
            folder.mkdir(parents=True, exist_ok=True)
            rows.write_ipc(folder / f"{name}.arrow", compression="lz4")

    def read(self, what: str, shard: int) -> pl.DataFrame | None:
        files = sorted((self.root / what / str(shard)).glob("*.arrow"))
        return pl.concat([pl.read_ipc(file) for file in files]) if files else None


class _Nightly:
    """Statistics as of the start of each UTC day, computed once and kept on disk."""

    def __init__(self, root: Path, daily: DailyCounts, videos: VideoTable) -> None:
        self._root, self._daily, self._videos = root, daily, videos

    def of(self, day_ms: int) -> Floats:
        path = self._root / f"statistics-{day_ms}.npy"
        if not path.exists():
            np.save(path, nightly_statistics(self._daily, self._videos, True, day_ms))
        return np.asarray(np.load(path, mmap_mode="r"))


def _survey(log: pl.LazyFrame) -> tuple[int, bool, int]:
    """Rows, whether there are impressions, and the latest `ts`, ms (0 where there is none)."""
    found = log.select(
        rows=pl.len(), shown=(pl.col("event") == "impression").any(), latest=ts_expr().max().fill_null(0)
    ).collect(engine="streaming")
    return int(found["rows"][0]), bool(found["shown"][0]), int(found["latest"][0] or 0)


def _lay_aside(log: pl.LazyFrame, videos: VideoTable, aside: _Aside, shape: Sharding) -> DailyCounts:
    """Writes every row of known videos to its user's and to its video's shard; the daily counts of all."""
    known = video_rows(videos)
    daily = daily_counts(log.head(0).collect(), videos)
    seen = 0
    for number, batch in enumerate(log.collect_batches(chunk_size=shape.rows_a_batch, maintain_order=True)):
        daily = merge_counts([daily, daily_counts(batch, videos)])
        rows = batch.with_columns(index=pl.int_range(seen, seen + len(batch), dtype=pl.Int64))
        seen += len(batch)
        rows = rows.join(known, on="video_id", how="inner").with_columns(
            by_user=(pl.col("user_id").hash(seed=0) % aside.shards).cast(pl.UInt32),
            by_video=(pl.col("row") % aside.shards).cast(pl.UInt32),
        )
        aside.write(
            "users", rows.drop("by_video").filter(pl.col("user_id").is_not_null()), "by_user", str(number)
        )
        narrow = rows.select("by_video", "by_user", "index", "row", "event", "ts", "received_at", "excess")
        aside.write("videos", narrow, "by_video", str(number))
    return daily


def _activity_of_shards(aside: _Aside, videos: VideoTable) -> None:
    """Writes the activity of every example, in its user's shard."""
    rows = pl.DataFrame({"row": pl.int_range(len(videos), dtype=pl.Int32, eager=True)})
    for shard in range(aside.shards):
        events = aside.read("videos", shard)
        if events is None:
            continue
        log = build_activity_log(events.rename({"row": "video_id"}), rows.with_columns(video_id="row"))
        asked = events.filter((pl.col("event") == aside.example) & pl.col("by_user").is_not_null())
        at = watermark(asked.select(ts_expr()).to_series().to_numpy())
        counts = activity_at(log, asked["row"].to_numpy(), at)
        columns = {name: counts[:, place] for place, name in enumerate(ACTIVITY_NAMES)}
        found = asked.select("by_user", "index").with_columns(**{n: pl.Series(v) for n, v in columns.items()})
        aside.write("activity", found, "by_user", str(shard))


def _examples(
    aside: _Aside,
    shard: int,
    catalogue: pl.DataFrame,
    videos: VideoTable,
    statistics: _Nightly,
    latest_ms: int,
    shape: Sharding,
) -> Iterator[pl.DataFrame]:
    """The examples of a shard's users, day by day."""
    rows, activity = aside.read("users", shard), aside.read("activity", shard)
    if rows is None or activity is None:
        return
    # The log as a whole has times: what has none in this shard is not known at any instant.
    log = replace(build_event_log(rows, catalogue)[0], has_times=True)
    users = pl.DataFrame({"user_id": pl.Series(log.user_ids, dtype=pl.String)}).with_row_index("user")
    asked = rows.filter((pl.col("event") == aside.example) & (ts_expr() > 0))
    labelled = (
        label(asked, rows, videos, latest_ms)
        .join(activity, on="index", how="inner")
        .join(users, on="user_id", how="inner")
        .join(catalogue.select("video_id", "video_key"), on="video_id", how="inner")
        .with_columns(day=ts_expr() // DAY_MS)
        .sort("day", "user", "ts", "index")
    )
    for (day,), of_day in labelled.partition_by("day", as_dict=True).items():
        nightly = statistics.of(int(day) * DAY_MS)
        for some in of_day.iter_slices(shape.rows_a_frame):
            yield _frame(some, features_of(videos, log, nightly, _counts(some), _moments(some)))


def _frame(examples: pl.DataFrame, matrix: Floats) -> pl.DataFrame:
    features = pl.DataFrame({name: matrix[:, place] for place, name in enumerate(FEATURE_NAMES)})
    return pl.concat([examples.select(*KEPT, *LABELS), features], how="horizontal")


def _counts(examples: pl.DataFrame) -> Int32s:
    return examples.select(ACTIVITY_NAMES).to_numpy().astype(np.int32)


def _moments(examples: pl.DataFrame) -> Moments:
    context = Context(
        examples.select(ts_expr()).to_series().to_numpy().astype(np.int64),
        examples["utc_offset_min"].fill_null(0).to_numpy().astype(np.int16),
        tuple(examples["device"]),
        tuple(examples["surface"]),
    )
    users = examples["user"].to_numpy().astype(np.int64)
    return Moments.at(users, examples["row"].to_numpy().astype(np.int32), context)
