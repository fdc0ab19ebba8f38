"""Features as of an instant: what live had known then, whatever came later, in any order and any portions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.assemble import FEATURE_NAMES
from features.contracts import DAY_MS, DEVICES, EVENTS, SURFACES, Context, VideoTable
from features.counters import counters_at
from features.errors import BadInput
from features.point_in_time import Moments, Past, features_at, read_past
from features.training_set import LABELS, Sharding, training_set

T0 = 1_767_225_600_000
HOUR_MS = 3_600_000


@pytest.fixture(scope="session")
def late_log(interactions_of: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """3,000 events of 40 users over 6 days: some late by up to two days, some untimed, some excess."""
    rng = np.random.default_rng(11)
    n = 3000
    ts = T0 + rng.integers(0, 6 * 24 * 60, n) * 60_000 + rng.integers(0, 3, n) * 20_000
    late = rng.random(n) < 0.3
    got = ts + np.where(rng.random(n) < 0.5, rng.integers(0, 90_000, n), rng.integers(0, 2 * DAY_MS, n))
    return interactions_of(
        user_id=[f"u{i}" if i else None for i in rng.integers(0, 41, n)],
        video_id=[f"v{i}" for i in rng.integers(0, 125, n)],
        event=[EVENTS[i] for i in rng.choice(len(EVENTS), n, p=[0.4, 0.3, 0.1, 0.05, 0.05, 0.05, 0.05])],
        ts=[None if rng.random() < 0.02 else int(t) for t in ts],
        received_at=[int(g) if is_late else None for g, is_late in zip(got, late, strict=True)],
        watch_s=[None if rng.random() < 0.3 else float(w) for w in rng.uniform(0, 20, n)],
        utc_offset_min=[None if rng.random() < 0.3 else int(o) for o in rng.integers(-12, 13, n) * 60],
        device=rng.choice([*DEVICES, "iphone", None], n).tolist(),
        surface=rng.choice([*SURFACES, None], n).tolist(),
        request_id=[None if i % 3 else f"r{i}" for i in rng.integers(0, 900, n)],
        excess=[True if rng.random() < 0.05 else None for _ in range(n)],
    )


@pytest.fixture(scope="session")
def past(late_log: pl.DataFrame, catalogue: pl.DataFrame, rich_videos: VideoTable) -> Past:
    return read_past(late_log, catalogue, rich_videos)


@pytest.fixture(scope="session")
def moments(past: Past) -> Moments:
    """600 requests at any time of the log, at the instants of events too."""
    rng = np.random.default_rng(12)
    n = 600
    now = T0 + rng.integers(0, 7 * DAY_MS, n)
    now[::3] = rng.choice(past.log.arrivals.known_ms[past.log.arrivals.known_ms > 0], len(now[::3]))
    context = Context(
        now,
        rng.integers(-720, 720, n).astype(np.int16),
        tuple(rng.choice([*DEVICES, None], n)),
        tuple(rng.choice([*SURFACES, None], n)),
    )
    users = rng.integers(-1, len(past.log.user_ids), n)
    return Moments.at(users, rng.integers(-1, len(past.videos), n).astype(np.int32), context)


def test_one_moment_equals_its_row_of_a_batch_bit_by_bit(past: Past, moments: Moments) -> None:
    batch = features_at(past, moments)
    assert np.isfinite(batch).all()
    assert batch.std(axis=0).astype(bool).sum() > 70  # nearly all features say something here
    for i in range(0, len(moments), 29):
        assert features_at(past, moments.part(slice(i, i + 1))).tobytes() == batch[i : i + 1].tobytes()


def test_changing_the_future_changes_nothing(
    late_log: pl.DataFrame, catalogue: pl.DataFrame, rich_videos: VideoTable, past: Past, moments: Moments
) -> None:
    rng = np.random.default_rng(13)
    before = features_at(past, moments)
    known = pl.max_horizontal("ts", "received_at")
    for cut in (T0 + DAY_MS, T0 + 3 * DAY_MS + 7 * HOUR_MS, T0 + 5 * DAY_MS + 1):
        later = (known >= pl.lit(cut).cast(late_log.schema["ts"])).fill_null(True)
        future = late_log.filter(later)
        other = future.sample(fraction=0.5, seed=1, shuffle=True).with_columns(
            video_id=pl.Series([f"v{i}" for i in rng.integers(0, 125, len(future) // 2)]),
            event=pl.Series([EVENTS[i] for i in rng.integers(0, len(EVENTS), len(future) // 2)]),
            watch_s=pl.lit(3.0, pl.Float32),
        )
        # Later still, an event of long ago arrives.
        belated = late_log.head(200).with_columns(
            event_key="again" + pl.col("event_key"), received_at=pl.lit(cut).cast(late_log.schema["ts"])
        )
        changed = read_past(pl.concat([late_log.filter(~later), other, belated]), catalogue, rich_videos)
        assert changed.log.user_ids == past.log.user_ids
        asked = np.flatnonzero(moments.context.now_ms <= cut)
        assert len(asked) > 20
        for i in asked[:: max(1, len(asked) // 25)]:
            one = moments.part(slice(int(i), int(i) + 1))
            assert features_at(changed, one).tobytes() == before[i : i + 1].tobytes()


def test_the_order_of_rows_changes_nothing(
    late_log: pl.DataFrame, catalogue: pl.DataFrame, rich_videos: VideoTable, past: Past, moments: Moments
) -> None:
    shuffled = read_past(late_log.sample(fraction=1, shuffle=True, seed=5), catalogue, rich_videos)
    assert features_at(shuffled, moments).tobytes() == features_at(past, moments).tobytes()


def test_a_request_sees_what_it_noted_and_no_more(past: Past, moments: Moments) -> None:
    earlier = replace(moments, history_until_ms=moments.history_until_ms - DAY_MS)
    expected = counters_at(past.log, moments.users, moments.history_until_ms - DAY_MS).events.sum()
    assert expected < counters_at(past.log, moments.users, moments.history_until_ms).events.sum()
    changed = {
        name
        for name, differs in zip(
            FEATURE_NAMES, (features_at(past, earlier) != features_at(past, moments)).any(axis=0), strict=True
        )
        if differs
    }
    assert "user_total_events" in changed
    assert not any(name.startswith(("video_", "request_")) for name in changed)


def test_a_log_without_times_sees_everything_and_has_no_ages(
    interactions_of: Callable[..., pl.DataFrame], catalogue: pl.DataFrame, rich_videos: VideoTable
) -> None:
    log = interactions_of(
        user_id=["a", "a", "b"], video_id=["v1", "v2", "v2"], event=["like", "play", "like"]
    )
    past = read_past(log, catalogue, rich_videos)
    asked = Moments.at(np.array([0, 1]), np.array([2, 1], np.int32), Context.at(np.zeros(2, np.int64)))
    found = dict(zip(FEATURE_NAMES, features_at(past, asked).T, strict=True))
    assert found["user_events"] == pytest.approx(np.log1p([2, 1]))
    assert found["user_total_events"] == pytest.approx(np.log1p([2, 1]))
    assert found["video_positives"] == pytest.approx(np.log1p([2, 1]))
    assert found["user_account_days"].tolist() == found["session_events"].tolist() == [-1, -1]
    with pytest.raises(BadInput, match="the log has no times"):
        next(training_set(log.lazy(), catalogue, rich_videos))


def examples_of(
    log: pl.DataFrame, catalogue: pl.DataFrame, videos: VideoTable, folder: Path, sharding: Sharding | None
) -> pl.DataFrame:
    frames = training_set(log.lazy(), catalogue, videos, sharding=sharding, scratch=folder)
    return pl.concat(list(frames)).sort("event_key")


def test_a_streamed_training_set_is_the_same_in_any_portions(
    late_log: pl.DataFrame, catalogue: pl.DataFrame, rich_videos: VideoTable, past: Past, tmp_path: Path
) -> None:
    whole = examples_of(late_log, catalogue, rich_videos, tmp_path, None)
    parts = examples_of(late_log, catalogue, rich_videos, tmp_path, Sharding(300, 170, 40))
    assert whole.equals(parts)
    assert not list(tmp_path.iterdir())
    users = past.log.user_codes(whole["user_id"].to_list())
    theirs = whole.select("event_key").join(late_log, on="event_key", how="left", maintain_order="left")
    context = Context(
        whole["ts"].dt.epoch("ms").to_numpy(),
        theirs["utc_offset_min"].fill_null(0).to_numpy(),
        tuple(theirs["device"]),
        tuple(theirs["surface"]),
    )
    rows = rich_videos.rows_of(whole["video_key"].to_numpy())
    expected = features_at(past, Moments.at(users, rows, context))
    assert whole.select(FEATURE_NAMES).to_numpy().tobytes() == expected.tobytes()
    wanted = late_log.filter(
        (pl.col("event") == "impression")
        & pl.col("ts").is_not_null()
        & pl.col("user_id").is_not_null()
        & pl.col("excess").is_null()
        & pl.col("video_id").is_in(rich_videos.ids)
    )
    assert sorted(whole["event_key"]) == sorted(wanted["event_key"])


def test_labels_are_what_followed_within_a_day(
    interactions_of: Callable[..., pl.DataFrame],
    catalogue: pl.DataFrame,
    rich_videos: VideoTable,
    tmp_path: Path,
) -> None:
    shown, minute = ["impression"], 60_000
    log = interactions_of(
        user_id=["a"] * 8 + ["b"],
        video_id=["v1", "v1", "v1", "v2", "v2", "v3", "v3", "v4", "v9"],
        event=[*shown, "play", "like", *shown, "skip", *shown, "like", *shown, "play"],
        ts=[
            T0,
            T0 + minute,  # of another request
            T0 + DAY_MS,  # too late by a hair
            T0,
            T0 + minute,
            T0 + minute,
            T0,  # before
            T0 + 2 * DAY_MS,
            T0 + 2 * DAY_MS + minute,
        ],
        request_id=["r1", "r9", None, "r1", "r1", None, None, None, None],
        watch_s=[None, 1000.0, None, None, None, None, None, None, 1000.0],
    )
    found = examples_of(log, catalogue, rich_videos, tmp_path, None)
    assert found.select("video_id", *LABELS).rows() == [
        ("v1", False, False, False, True),
        ("v2", False, False, True, True),
        ("v3", False, False, False, True),
        ("v4", False, False, False, False),
    ]


def test_without_impressions_plays_are_the_examples(
    interactions_of: Callable[..., pl.DataFrame],
    catalogue: pl.DataFrame,
    rich_videos: VideoTable,
    tmp_path: Path,
) -> None:
    log = interactions_of(
        user_id=["a", "a", "a"],
        video_id=["v1", "v1", "v2"],
        event=["play", "like", "play"],
        ts=[T0, T0 + 5, T0 + 9],
        watch_s=[1000.0, None, 0.5],
    )
    found = examples_of(log, catalogue, rich_videos, tmp_path, None)
    assert found.select("video_id", "complete", "like").rows() == [("v1", True, True), ("v2", False, False)]
