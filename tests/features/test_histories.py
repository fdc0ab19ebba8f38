"""Histories as of an instant, against a plain reading of the log."""

from collections.abc import Callable

import numpy as np
import polars as pl

from features.contracts import EVENT_CODES, NO_KEY
from features.histories import build_event_log, ends_before, ends_of, gather_histories, positive_mask


def test_histories_equal_a_plain_reading_of_the_log(
    random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    log, counts = build_event_log(random_log, catalogue)
    keys = dict(catalogue.select("video_id", "video_key").rows())
    rng = np.random.default_rng(1)
    users = rng.integers(-1, len(log.user_ids), 12)
    instants = rng.choice(log.ts_ms, 12)
    found = gather_histories(log, users, ends_before(log, users, instants), 12)
    rows = random_log.with_columns(ms=pl.col("ts").dt.epoch("ms")).sort("ms", "order", "event_key")
    for i, (user, instant) in enumerate(zip(users, instants, strict=True)):
        name = log.user_ids[user] if user >= 0 else None
        mine = [
            (keys[r["video_id"]], EVENT_CODES[r["event"]], r["ms"])
            for r in rows.iter_rows(named=True)
            if r["user_id"] == name
            and r["ms"] < instant
            and r["event"] != "impression"
            and r["video_id"] in keys
        ][::-1][:12]
        n = found.lengths[i]
        got = zip(found.video_keys[i, :n], found.events[i, :n], found.ts_ms[i, :n], strict=True)
        assert list(got) == mine
        assert (found.video_keys[i, n:] == NO_KEY).all()
    assert counts.rows == len(random_log) == counts.used + counts.unknown_video


def test_the_order_of_rows_changes_nothing(random_log: pl.DataFrame, catalogue: pl.DataFrame) -> None:
    one, _ = build_event_log(random_log, catalogue)
    two, _ = build_event_log(random_log.sample(fraction=1, shuffle=True, seed=3), catalogue)
    assert one.user_ids == two.user_ids
    assert (one.video_keys == two.video_keys).all()
    assert (one.events == two.events).all()


def test_a_log_without_times_keeps_the_order_of_the_file(
    interactions_of: Callable[..., pl.DataFrame], catalogue: pl.DataFrame
) -> None:
    log, _ = build_event_log(interactions_of(user_id=["u", "w", "u"], video_id=["v9", "v1", "v4"]), catalogue)
    history = gather_histories(log, np.array([0]), ends_of(log, np.array([0])), 4)
    assert not log.has_times
    assert history.video_keys.tolist() == [[12, 27, NO_KEY, NO_KEY]]
    assert (log.user_code("w"), log.user_code("nobody")) == (1, -1)


def test_rows_without_user_or_of_unknown_videos_are_counted(
    interactions_of: Callable[..., pl.DataFrame], catalogue: pl.DataFrame
) -> None:
    frame = interactions_of(user_id=["u", None, "u"], video_id=["v1", "v2", "gone"])
    log, counts = build_event_log(frame, catalogue)
    assert (counts.rows, counts.used, counts.unknown_video, counts.without_user) == (3, 1, 1, 1)
    assert log.user_ids == ("u",)


def test_an_empty_log_gives_empty_histories(
    interactions_of: Callable[..., pl.DataFrame], catalogue: pl.DataFrame
) -> None:
    log, _ = build_event_log(interactions_of(user_id=["u"], video_id=["gone"]), catalogue)
    users = np.array([-1, -1])
    assert gather_histories(log, users, ends_before(log, users, np.array([5, 5])), 3).lengths.tolist() == [
        0,
        0,
    ]


def test_half_a_video_five_seconds_or_a_like_is_positive_and_a_skip_is_not() -> None:
    events = np.array(
        [EVENT_CODES[e] for e in ("play", "play", "play", "play", "play", "like", "skip")], np.uint8
    )
    nan = np.nan
    watch = np.array([5, 4.9, nan, 5, 4.9, nan, 9], np.float32)
    duration = np.array([10, 10, 10, nan, nan, 10, 10], np.float32)
    expected = [True, False, True, True, False, True, False]
    assert positive_mask(events, watch, duration).tolist() == expected
