"""Each feature by a case worked out by hand, and the version that stands for them all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features import contracts, definitions, user_features
from features.assemble import FEATURE_NAMES, assemble
from features.contracts import (
    ACTIVITY_NAMES,
    DAY_MS,
    EVENT_CODES,
    QUALITY_FEATURES,
    Context,
    Histories,
    UserCounters,
    VideoTable,
)
from features.definitions import DEFINITIONS, feature_version
from features.errors import BadInput
from features.statistics import STATISTIC_NAMES, daily_counts, merge_counts, summarise, video_statistics

T0 = 1_767_225_600_000
MINUTE = 60_000


def history_of(*events: tuple[int, str, int, float]) -> Histories:
    """One history, newest first, of (key, event, ts, watched seconds)."""
    keys, names, ts, watch = zip(*events, strict=True)
    return Histories(
        np.array([keys]),
        np.array([[EVENT_CODES[name] for name in names]], np.uint8),
        np.array([ts]),
        np.array([watch], np.float32),
        np.array([len(events)], np.int32),
    )


def features_of(
    videos: VideoTable,
    rows: list[int],
    history: Histories | None = None,
    *,
    counters: UserCounters | None = None,
    activity: np.ndarray | None = None,
    context: Context | None = None,
    statistics: np.ndarray | None = None,
) -> dict[str, list[float]]:
    if statistics is None:
        statistics = np.zeros((len(videos), len(STATISTIC_NAMES)), np.float32)
    matrix = assemble(
        videos,
        statistics,
        activity,
        history or Histories.empty(1),
        counters,
        context or Context.at(np.array([T0])),
        np.array([rows], np.int32),
    )
    return dict(zip(FEATURE_NAMES, matrix[0].T.tolist(), strict=True))


def test_a_session_goes_back_to_the_first_gap_of_half_an_hour(videos: VideoTable) -> None:
    nan = np.nan
    events = [
        (0, "like", T0 - 10 * MINUTE, nan),
        (3, "skip", T0 - 20 * MINUTE, nan),
        (6, "like", T0 - 49 * MINUTE, nan),
        (9, "like", T0 - 79 * MINUTE, nan),  # half an hour before the next: another session
        (0, "like", T0 - 2 * DAY_MS, nan),
    ]
    found = features_of(videos, [1], history_of(*events))
    assert found["session_events"] == pytest.approx([np.log(4)])
    assert found["session_minutes"] == pytest.approx([np.log(50)])
    assert found["session_positive_share"] == pytest.approx([2 / 3])
    assert found["user_hour_events"] == pytest.approx([np.log(4)])
    assert found["user_day_events"] == pytest.approx([np.log(5)])
    over = features_of(videos, [1], history_of((0, "like", T0 - 30 * MINUTE, nan)))
    assert over["session_events"] == over["session_minutes"] == [0]


def test_lifetime_rates_are_shrunk_to_their_priors(videos: VideoTable) -> None:
    counters = UserCounters.empty(1)
    counters.events[0] = [100, 45, 5, 3, 2, 10, 5]
    counters.watch_ms[0] = 90_000
    counters.hours[0, 0], counters.hours[0, 7] = 30, 10
    counters.devices[0, 3] = 20
    counters.first_ms[0] = T0 - 3 * DAY_MS
    context = Context(np.array([T0]), np.array([-60], np.int16), ("tv",), ("feed",))
    found = features_of(videos, [1], counters=counters, context=context)
    assert found["user_total_events"] == pytest.approx([np.log(71)])
    assert found["user_play_rate"] == pytest.approx([(45 + 5 * 0.5) / 105])
    assert found["user_like_rate"] == pytest.approx([(10 + 5 * 0.1) / 50])
    assert found["user_skip_rate"] == pytest.approx([(15 + 5 * 0.2) / 65])
    assert found["user_watch_per_play"] == pytest.approx([np.log(3)])
    assert found["user_account_days"] == pytest.approx([np.log(4)])
    assert found["user_hour_habit"] == pytest.approx([(10 + 10 / 8) / 50])  # 23 o'clock, by the user's clock
    assert found["user_device_habit"] == pytest.approx([(20 + 10 / 5) / 30])
    assert (found["request_device"], found["request_surface"]) == ([3], [1])


def test_what_is_not_known_takes_its_default(videos: VideoTable) -> None:
    found = features_of(videos, [1], context=Context.at(np.zeros(1, np.int64)))
    default = {d.name: np.float32(d.default) for d in DEFINITIONS}
    unknown = [
        n for n in FEATURE_NAMES if n.startswith(("user_total", "user_hour_habit", "session", "request"))
    ]
    unknown += [f"video_{name}" for name in QUALITY_FEATURES]
    unknown += [n for n in FEATURE_NAMES if n.startswith(("video_day", "video_hours", "video_momentum"))]
    assert len(unknown) > 15
    assert all(found[name] == [default[name]] for name in unknown)


def test_activity_is_counted_by_window_and_kind(videos: VideoTable) -> None:
    activity = np.zeros((1, 2, len(ACTIVITY_NAMES)), np.int32)
    for name, value in (
        ("day_impression", 40),
        ("day_play", 24),
        ("hours_play", 3),
        ("day_share", 2),
        ("day_like", 1),
    ):
        activity[0, 1, ACTIVITY_NAMES.index(name)] = value
    found = features_of(videos, [1, 2], activity=activity)
    assert found["video_day_impressions"] == pytest.approx([0, np.log(41)])
    assert found["video_day_likes"] == pytest.approx([0, np.log(4)])
    assert found["video_hours_plays"] == pytest.approx([0, np.log(4)])
    assert found["video_day_play_rate"] == pytest.approx([0.5, (24 + 10) / 60])
    assert found["video_momentum"] == pytest.approx([0, np.log((3 / 1.5 + 1) / (24 / 23.5 + 1))])


def test_pairs_compare_with_the_latest_liked_and_skipped_videos(rich_videos: VideoTable) -> None:
    videos, nan = rich_videos, np.nan
    history = history_of(
        (21, "like", T0 - 1, nan),
        (24, "skip", T0 - 2, nan),
        (27, "like", T0 - 3, nan),
        (30, "dislike", T0 - 4, nan),
    )
    rows = [5, 20, 31]
    found = features_of(videos, rows, history)
    for space in ("visual", "audio", "text"):
        vectors = videos.vectors[space]
        for name, at in (("liked", [7, 9]), ("skipped", [8, 10])):
            there = [row for row in at if vectors[row].any()]
            cosines = vectors[rows] @ vectors[there].T
            assert found[f"pair_{space}_nearest_{name}"] == pytest.approx(cosines.max(axis=1), abs=1e-6)
            assert found[f"pair_{space}_mean_{name}"] == pytest.approx(cosines.mean(axis=1), abs=1e-6)


def test_neighbours_of_liked_videos_are_covisited(rich_videos: VideoTable) -> None:
    neighbours, weights = rich_videos.neighbours.copy(), rich_videos.neighbour_weights.copy()
    neighbours[7, :3], weights[7, :3] = [5, 20, -1], [0.75, 0.5, 0]
    neighbours[9, :3], weights[9, :3] = [20, 2, -1], [0.25, 0.125, 0]
    neighbours[[7, 9], 3:], weights[[7, 9], 3:] = -1, 0
    videos = replace(rich_videos, neighbours=neighbours, neighbour_weights=weights)
    history = history_of(
        (21, "like", T0 - 1, np.nan), (6, "skip", T0 - 2, np.nan), (27, "like", T0 - 3, np.nan)
    )
    found = features_of(videos, [5, 20, 0, 2], history)
    assert found["pair_covisit_best"] == [0.75, 0.5, 0, 0.125]
    assert found["pair_covisit_sum"] == [0.75, 0.75, 0, 0.125]


def test_the_most_watched_share_of_a_video_counts(videos: VideoTable) -> None:
    durations = videos.duration_s.copy()
    durations[1], durations[2] = 20, np.nan
    known = replace(videos, duration_s=durations)
    events = [
        (3, "play", T0 - 1, 2.0),
        (3, "play", T0 - 2, 15.0),
        (6, "play", T0 - 3, 9.0),
        (3, "like", T0 - 4, np.nan),
    ]
    found = features_of(known, [1, 2, 3], history_of(*events))
    assert found["pair_watched_share"] == pytest.approx([0.75, 0, 0])
    assert found["pair_times_met"] == pytest.approx(np.log([4, 2, 1]))


def test_a_creator_is_judged_by_all_their_videos(
    videos: VideoTable, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    creators = np.full(len(videos), -1, np.int32)
    creators[[1, 2]], creators[3] = 0, 1
    mine = replace(videos, creators=creators)
    frame = interactions_of(
        user_id=["a"] * 6,
        video_id=["v1", "v1", "v2", "v3", "v3", "v5"],
        event=["play", "like", "play", "play", "skip", "like"],
        ts=[T0] * 6,
    )
    found = dict(zip(STATISTIC_NAMES, video_statistics(frame, mine, T0 + DAY_MS).T, strict=True))
    assert found["creator_positives"][[1, 2, 3, 5]] == pytest.approx(np.log1p([3, 3, 1, 0]))
    prior = 2 / 3  # two likes on three plays
    assert found["creator_like_rate"][[1, 2, 3, 5]] == pytest.approx(
        np.array([(1 + 20 * prior) / 22, (1 + 20 * prior) / 22, 20 * prior / 21, prior])
    )


def test_statistics_of_pieces_and_of_any_order_are_the_same_to_the_bit(
    videos: VideoTable, random_log: pl.DataFrame
) -> None:
    whole = daily_counts(random_log, videos)
    shuffled = random_log.sample(fraction=1, shuffle=True, seed=2)
    pieces = merge_counts([daily_counts(shuffled[i : i + 700], videos) for i in range(0, len(shuffled), 700)])
    assert whole.cells.equals(pieces.cells)
    for days in (3, 11, 30):
        at = T0 + days * DAY_MS
        expected = video_statistics(random_log, videos, at)
        assert summarise(pieces, videos, at).tobytes() == expected.tobytes()


def test_excess_and_an_instant_within_a_day_are_respected_exactly(
    videos: VideoTable, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    noon = T0 + DAY_MS // 2
    frame = interactions_of(
        user_id=["a"] * 4,
        video_id=["v1"] * 4,
        event=["like"] * 4,
        ts=[noon - 1, noon, noon - DAY_MS, noon - 5],
        excess=[None, None, False, True],
    )
    found = dict(zip(STATISTIC_NAMES, video_statistics(frame, videos, noon)[1], strict=True))
    assert found["positives"] == pytest.approx(np.log(3))  # noon itself is too late, and excess never counts
    assert found["recent_popularity"] == pytest.approx(np.log(1 + 1 + 1))  # both within one day


def test_every_definition_is_whole_and_the_version_follows_rules_and_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {d.entity for d in DEFINITIONS} == {"user", "video", "pair", "request"}
    assert all(
        d.shape == () and d.dtype == "float32" and d.unit and np.isfinite(d.default) for d in DEFINITIONS
    )
    before = feature_version.__wrapped__()
    monkeypatch.setattr(contracts, "HOUR_BUCKETS", 6)
    assert feature_version.__wrapped__() != before
    monkeypatch.undo()
    monkeypatch.setattr(definitions, "_modules", lambda: (user_features,))
    assert feature_version.__wrapped__() != before


def test_arguments_of_the_wrong_size_are_named(videos: VideoTable) -> None:
    with pytest.raises(BadInput, match="counters of 2 users"):
        features_of(videos, [1], counters=UserCounters.empty(2))
    with pytest.raises(BadInput, match="activity has shape"):
        features_of(videos, [1], activity=np.zeros((1, 2, 14), np.int32))
    with pytest.raises(BadInput, match="2 devices differ"):
        features_of(videos, [1], context=Context(np.array([T0]), np.zeros(1, np.int16), ("tv", "tv")))
