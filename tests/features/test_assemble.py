"""The feature matrix: the same for one request as for many, and blind to the future."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from features.assemble import FEATURE_NAMES, STATISTIC_NAMES, assemble, statistics_by_day, video_statistics
from features.contracts import (
    ACTIVITY_NAMES,
    DAY_MS,
    DEVICES,
    EVENT_CODES,
    SURFACES,
    Context,
    Histories,
    VideoTable,
)
from features.counters import counters_at
from features.definitions import DEFINITIONS, feature_version
from features.errors import BadInput
from features.histories import build_event_log, histories_at

T0 = 1_767_225_600_000


def one_event(key: int, event: str, ts_ms: int = 0, watch_s: float = np.nan) -> Histories:
    return Histories(
        np.array([[key]]),
        np.array([[EVENT_CODES[event]]], np.uint8),
        np.array([[ts_ms]]),
        np.array([[watch_s]], np.float32),
        np.ones(1, np.int32),
    )


def value(matrix: np.ndarray, name: str) -> list[float]:
    return matrix[0, :, FEATURE_NAMES.index(name)].tolist()


@pytest.mark.parametrize("c", [1, 3, 50])
def test_one_request_equals_its_row_of_a_batch_bit_by_bit(
    random_log: pl.DataFrame, catalogue: pl.DataFrame, videos: VideoTable, c: int
) -> None:
    log, _ = build_event_log(random_log, catalogue)
    statistics = video_statistics(random_log, videos, T0 + 10 * DAY_MS)
    rng = np.random.default_rng(c)
    n = 700  # more than one portion
    users = rng.integers(-1, len(log.user_ids), n)
    now = T0 + rng.integers(0, 20 * DAY_MS, n)
    rows = rng.integers(-1, len(videos), (n, c)).astype(np.int32)
    context = Context(
        now,
        rng.integers(-720, 720, n).astype(np.int16),
        tuple(rng.choice([*DEVICES, None], n)),
        tuple(rng.choice([*SURFACES, None], n)),
    )
    activity = rng.integers(0, 50, (n, c, len(ACTIVITY_NAMES))).astype(np.int32)
    counters = counters_at(log, users, now)
    batch = assemble(videos, statistics, activity, histories_at(log, users, now), counters, context, rows)
    assert np.isfinite(batch).all()
    for i in range(0, n, 23):
        one, user, at = slice(i, i + 1), users[i : i + 1], now[i : i + 1]
        for length in (60, 100):  # the padding must not matter either; no history here is longer than 60
            history = histories_at(log, user, at, length)
            assert history.lengths[0] < 60 or length == 100
            k = int(rng.integers(1, c + 1))
            theirs = counters_at(log, user, at)
            single = assemble(
                videos, statistics, activity[one, :k], history, theirs, context.part(one), rows[one, :k]
            )
            assert single.tobytes() == batch[one, :k].tobytes()


def test_no_candidate_gets_all_defaults(videos: VideoTable, random_log: pl.DataFrame) -> None:
    statistics = video_statistics(random_log, videos, None)
    matrix = assemble(
        videos,
        statistics,
        None,
        one_event(0, "like"),
        None,
        Context.at(np.array([T0])),
        np.array([[-1]], np.int32),
    )
    assert matrix[0, 0].tolist() == [np.float32(d.default) for d in DEFINITIONS]


def test_pair_features_say_what_they_are_named_for(videos: VideoTable, random_log: pl.DataFrame) -> None:
    statistics = video_statistics(random_log, videos, None)
    rows = np.array([[1, 8]], np.int32)
    matrix = assemble(
        videos, statistics, None, one_event(3, "like", T0), None, Context.at(np.array([T0 + DAY_MS])), rows
    )
    expected = (videos.joint[[1, 8]] @ videos.joint[1]).tolist()
    assert value(matrix, "pair_joint_cosine") == pytest.approx(expected, abs=1e-6)
    assert value(matrix, "pair_nearest") == pytest.approx(expected, abs=1e-6)
    assert value(matrix, "pair_skipped_cosine") == [0, 0]
    assert value(matrix, "pair_tag_affinity") == [1.0, 0.5]  # video 1 has t1; 8 has t1 and t2
    assert value(matrix, "pair_creator_affinity") == [1.0, 0.0]
    assert value(matrix, "pair_times_met") == pytest.approx([np.log(2), 0])
    assert value(matrix, "user_idle_days") == pytest.approx([np.log(2)] * 2)
    assert value(matrix, "request_weekday") == [4, 4]  # 2026-01-02 was a Friday


def test_hours_are_the_users_own(videos: VideoTable, random_log: pl.DataFrame) -> None:
    context = Context(np.array([T0]), np.array([-90], np.int16))
    rows = np.zeros((1, 1), np.int32)
    matrix = assemble(
        videos, video_statistics(random_log, videos, None), None, Histories.empty(1), None, context, rows
    )
    assert value(matrix, "request_hour") == [22]
    assert value(matrix, "request_weekday") == [2]


def test_without_times_time_features_take_their_defaults(
    videos: VideoTable, random_log: pl.DataFrame
) -> None:
    statistics = video_statistics(random_log, videos, None)
    matrix = assemble(
        videos,
        statistics,
        None,
        one_event(3, "play"),
        None,
        Context.at(np.array([0])),
        np.zeros((1, 1), np.int32),
    )
    for name in ("user_idle_days", "video_age_days", "request_hour", "request_weekday"):
        assert value(matrix, name) == [-1]


def test_statistics_do_not_see_what_happened_or_arrived_later(
    videos: VideoTable, random_log: pl.DataFrame
) -> None:
    cut = T0 + 9 * DAY_MS
    past = random_log.filter(pl.col("ts").dt.epoch("ms") < cut)
    late = past.head(50).with_columns(
        received_at=pl.lit(cut).cast(pl.Datetime("ms", "UTC")), event_key="late" + pl.col("event_key")
    )
    whole = pl.concat([random_log, late])
    assert (video_statistics(whole, videos, cut) == video_statistics(past, videos, cut)).all()
    by_day = statistics_by_day(whole, videos, np.array([cut, cut + DAY_MS, cut]))
    assert (by_day[cut] == video_statistics(past, videos, cut)).all()
    assert sorted(by_day) == [cut, cut + DAY_MS]


def test_rates_shrink_to_the_mean_and_recent_plays_weigh_more(
    videos: VideoTable, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    frame = interactions_of(
        user_id=["u"] * 45,
        video_id=["v1"] * 20 + ["v2"] * 20 + ["v3"] * 5,
        event=["like"] * 45,
        ts=[T0] * 20 + [T0 + 9 * DAY_MS] * 20 + [T0] * 5,
    )
    statistics = video_statistics(frame, videos, T0 + 10 * DAY_MS)
    popularity = statistics[:, STATISTIC_NAMES.index("popularity")]
    trend = statistics[:, STATISTIC_NAMES.index("trend")]
    assert popularity[2] > popularity[1] > popularity[3] > popularity[4] == 0
    assert trend[2] > 0 > trend[1]
    rates = statistics[:, STATISTIC_NAMES.index("play_rate")]
    assert ((rates >= 0) & (rates <= 1)).all()


def test_a_log_without_times_has_popularity_too(
    videos: VideoTable, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    frame = interactions_of(user_id=["a", "b", "c"], video_id=["v1", "v1", "v2"])
    popularity = video_statistics(frame, videos, None)[:, STATISTIC_NAMES.index("popularity")]
    assert popularity[:3] == pytest.approx([0, np.log(3), np.log(2)])


def test_arguments_that_disagree_are_refused(videos: VideoTable) -> None:
    statistics = np.zeros((len(videos), len(STATISTIC_NAMES)), np.float32)
    with pytest.raises(BadInput, match="2 rows of candidates, 1 histories"):
        assemble(
            videos,
            statistics,
            None,
            Histories.empty(1),
            None,
            Context.at(np.zeros(1, np.int64)),
            np.zeros((2, 1), np.int32),
        )
    with pytest.raises(BadInput, match="statistics have shape"):
        assemble(
            videos,
            statistics[:3],
            None,
            Histories.empty(1),
            None,
            Context.at(np.zeros(1, np.int64)),
            np.zeros((1, 1), np.int32),
        )


def test_definitions_have_unique_names_and_one_version() -> None:
    assert len(set(FEATURE_NAMES)) == len(DEFINITIONS) == len(FEATURE_NAMES)
    assert len(feature_version()) == 12
    assert feature_version() == feature_version.__wrapped__()
