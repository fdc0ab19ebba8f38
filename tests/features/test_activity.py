"""Live hour counts and the log: the same activity to the bit."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.activity import (
    HOUR_MS,
    HourCounts,
    activity_at,
    build_activity_log,
    hour_counts,
    hours_of,
    sum_hours,
    watermark,
)
from features.contracts import ACTIVITY_NAMES, ACTIVITY_PERIOD_MS, DAY_MS, EVENTS, VideoTable
from features.errors import BadInput

T0 = 1_767_225_600_000


def rows_of(videos: VideoTable) -> pl.DataFrame:
    return pl.DataFrame({"video_id": videos.ids, "row": np.arange(len(videos))})


@pytest.mark.parametrize("minutes", [0, 1, 59, 60, 61, 24 * 60, 24 * 60 + 59, 10 * 24 * 60 + 17])
def test_summed_hours_equal_the_log(videos: VideoTable, random_log: pl.DataFrame, minutes: int) -> None:
    log = build_activity_log(random_log, rows_of(videos))
    mark = T0 + minutes * ACTIVITY_PERIOD_MS
    hours = [hour_counts(log, videos.keys, hour, mark) for hour in hours_of(mark)]
    expected = activity_at(log, np.arange(len(videos)), np.array(mark))
    assert sum_hours(hours[::-1], videos.keys, mark).tobytes() == expected.tobytes()
    if minutes > 60:
        assert expected.any()


@given(
    st.lists(
        st.tuples(st.integers(0, 30 * 60), st.integers(0, 3), st.integers(0, len(EVENTS) - 1)), max_size=40
    ),
    st.integers(0, 33 * 60),
)
def test_counting_minute_by_minute_equals_the_log(events: list[tuple[int, int, int]], mark: int) -> None:
    """What a keeper does: add each event to its clock hour as it arrives, and publish at the watermark."""
    keys = np.array([4, 7, 9, 12])
    counts: dict[int, np.ndarray] = {}
    for minute, row, kind in events:
        if minute < mark:
            counts.setdefault(minute // 60, np.zeros((4, len(EVENTS)), np.int32))[row, kind] += 1
    at = T0 + mark * ACTIVITY_PERIOD_MS
    live = []
    for hour, found in counts.items():
        begin = T0 + hour * HOUR_MS
        met = found.any(axis=1)
        live.append(HourCounts(begin, min(at, begin + HOUR_MS), keys[met], found[met]))
    packed = np.sort([(r * len(EVENTS) + k) << 33 | (T0 // ACTIVITY_PERIOD_MS + m) for m, r, k in events])
    log = build_activity_log(
        pl.DataFrame(
            {
                "video_id": [row for _, row, _ in events],
                "event": [EVENTS[kind] for _, _, kind in events],
                "ts": [T0 + minute * ACTIVITY_PERIOD_MS + 59_999 for minute, _, _ in events],
                "received_at": [None] * len(events),
                "excess": [None] * len(events),
            },
            schema={
                "video_id": pl.Int64,
                "event": pl.String,
                "ts": pl.Datetime("ms"),
                "received_at": pl.Datetime("ms"),
                "excess": pl.Boolean,
            },
        ),
        pl.DataFrame({"video_id": [0, 1, 2, 3], "row": [0, 1, 2, 3]}),
    )
    assert log.packed.tolist() == packed.tolist()
    assert (sum_hours(live, keys, at) == activity_at(log, np.arange(4), np.array(at))).all()


def test_a_watermark_is_the_newest_whole_minute_a_minute_ago() -> None:
    at = np.array([T0, T0 + 1, T0 + 59_999, T0 + 60_000, 5])
    assert (watermark(at) - T0)[:4].tolist() == [-60_000, -60_000, -60_000, 0]
    assert watermark(at)[4] == 0


def test_what_arrives_at_the_watermark_is_not_counted_yet(
    interactions_of: Callable[..., pl.DataFrame],
) -> None:
    frame = interactions_of(
        user_id=["a"] * 4,
        video_id=["v"] * 4,
        ts=[T0, T0 - 1, T0 - HOUR_MS, T0 - DAY_MS],
        received_at=[None, None, None, None],
    )
    log = build_activity_log(frame, pl.DataFrame({"video_id": ["v"], "row": [0]}))
    plays = [ACTIVITY_NAMES.index(name) for name in ("day_play", "hours_play")]
    assert activity_at(log, np.array([0]), np.array(T0))[0, plays].tolist() == [2, 2]
    assert activity_at(log, np.array([0]), np.array(T0 + 60_000))[0, plays].tolist() == [3, 3]


def test_hours_that_do_not_fit_are_refused() -> None:
    keys, counts = np.array([3]), np.ones((1, len(EVENTS)), np.int32)
    whole = HourCounts(T0, T0 + HOUR_MS, keys, counts)
    with pytest.raises(BadInput, match="given twice"):
        sum_hours([whole, whole], keys, T0 + HOUR_MS)
    with pytest.raises(BadInput, match="is counted up to"):
        sum_hours([HourCounts(T0, T0 + 60_000, keys, counts)], keys, T0 + HOUR_MS)
    with pytest.raises(BadInput, match="not a multiple"):
        sum_hours([whole], keys, T0 + 5)
    with pytest.raises(BadInput, match="do not fit"):
        HourCounts(T0 + 1, T0 + 60_000, keys, counts)
    with pytest.raises(BadInput, match="shape"):
        HourCounts(T0, T0 + 60_000, keys, counts[:, :3])
    assert sum_hours([whole], np.array([8]), T0 + HOUR_MS).sum() == 0
