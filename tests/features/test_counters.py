"""Histories, counters and activity as of an instant, against a slow reading of the log written for itself."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.activity import activity_at, build_activity_log
from features.contracts import ACTIVITY_NAMES, DEVICES, EVENTS, Context, Histories, UserCounters
from features.counter_table import lookup_counters
from features.counters import counters_at, counters_now, counters_of_histories
from features.errors import BadInput
from features.event_log import watch_ms
from features.histories import build_event_log, histories_at

T0 = 1_767_225_600_000
MINUTE = 60_000
VIDEOS = ["va", "vb", "vc"]
CATALOGUE = pl.DataFrame({"video_id": VIDEOS, "video_key": [10, 20, 30]})
ROWS = pl.DataFrame({"video_id": VIDEOS, "row": [0, 1, 2]})

Event = dict[str, Any]

events = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["ua", "ub"]),
            "video_id": st.sampled_from([*VIDEOS, "gone"]),
            "event": st.sampled_from(EVENTS),
            "ts": st.one_of(st.none(), st.integers(0, 26 * 60).map(lambda m: T0 + m * MINUTE // 2 * 2)),
            "delay": st.one_of(st.none(), st.sampled_from([0, 1, MINUTE, 61 * MINUTE, 30 * 60 * MINUTE, -5])),
            "watch_s": st.one_of(st.none(), st.sampled_from([0.0, 0.0015, 1.25, 7.7, 3e9])),
            "device": st.sampled_from([None, "mobile", "iPhone", "fridge", "tv"]),
            "utc_offset_min": st.sampled_from([None, 0, -300, 345]),
            "excess": st.sampled_from([None, False, True]),
        }
    ),
    min_size=1,
    max_size=25,
)
instants = st.lists(st.integers(-5, 60 * 60).map(lambda m: T0 + m * MINUTE), min_size=1, max_size=6)


def frame_of(interactions_of: Callable[..., pl.DataFrame], drawn: list[Event]) -> pl.DataFrame:
    columns = {name: [event[name] for event in drawn] for name in drawn[0] if name != "delay"}
    got = [None if e["delay"] is None or e["ts"] is None else e["ts"] + e["delay"] for e in drawn]
    return interactions_of(**columns, received_at=got)


def known_of(event: Event) -> int:
    return max(event["ts"], event["ts"] + (event["delay"] or 0))


def visible(drawn: list[Event], user: str, instant: int) -> list[tuple[int, Event]]:
    """Place and content of what was known of a user strictly before an instant."""
    timed = any(e["ts"] for e in drawn if e["video_id"] != "gone" and not e["excess"])
    return [
        (place, e)
        for place, e in enumerate(drawn)
        if e["user_id"] == user
        and e["video_id"] != "gone"
        and not e["excess"]
        and (not timed or (e["ts"] is not None and known_of(e) < instant))
    ]


def history_by_hand(drawn: list[Event], user: str, instant: int, length: int) -> list[tuple[int, int, int]]:
    mine = [(p, e) for p, e in visible(drawn, user, instant) if e["event"] != "impression"]
    mine.sort(key=lambda pair: (pair[1]["ts"] or 0, known_of(pair[1]) if pair[1]["ts"] else 0, pair[0]))
    keys = dict(zip(VIDEOS, (10, 20, 30), strict=True))
    return [(keys[e["video_id"]], EVENTS.index(e["event"]), e["ts"] or 0) for _, e in mine[::-1][:length]]


def counters_by_hand(drawn: list[Event], user: str, instant: int) -> dict[str, Any]:
    mine = [e for _, e in visible(drawn, user, instant)]
    done = [e for e in mine if e["event"] != "impression"]
    codes = {"mobile": 0, "iPhone": 0, "fridge": 4, "tv": 3}
    hours = [
        (e["ts"] // MINUTE + (e["utc_offset_min"] or 0)) % (24 * 60) // (3 * 60) for e in done if e["ts"]
    ]
    watched = [min(round(float(np.float32(e["watch_s"])) * 1000), 2**31 - 1) for e in mine if e["watch_s"]]
    return {
        "events": [sum(e["event"] == kind for e in mine) for kind in EVENTS],
        "watch_ms": sum(watched),
        "hours": [hours.count(bucket) for bucket in range(8)],
        "devices": [sum(codes.get(e["device"]) == place for e in done) for place in range(len(DEVICES))],
        "first_ms": min((e["ts"] for e in done if e["ts"]), default=0),
    }


def activity_by_hand(drawn: list[Event], video: str, mark: int) -> list[int]:
    hour = mark - mark % (60 * MINUTE)
    since = (hour - 23 * 60 * MINUTE, hour - 60 * MINUTE)
    seen = [e for e in drawn if e["video_id"] == video and e["ts"] and not e["excess"]]
    seen = [e for e in seen if known_of(e) - e["ts"] < 24 * 60 * MINUTE]  # later news is no activity
    return [
        sum(e["event"] == kind and begin <= known_of(e) < mark for e in seen)
        for begin in since
        for kind in EVENTS
    ]


def as_dict(counters: UserCounters, at: int) -> dict[str, Any]:
    names = ("events", "watch_ms", "hours", "devices", "first_ms")
    return {name: getattr(counters, name)[at].tolist() for name in names}


@settings(max_examples=300, deadline=None)
@given(drawn=events, asked=instants)
def test_what_was_known_is_what_a_plain_reading_says(
    interactions_of: Callable[..., pl.DataFrame], drawn: list[Event], asked: list[int]
) -> None:
    log, counts = build_event_log(frame_of(interactions_of, drawn), CATALOGUE)
    assert counts.rows == counts.used + counts.unknown_video + counts.without_user + counts.excess
    names = [name for _ in asked for name in ("ua", "ub", "nobody")]
    users, at = log.user_codes(names), np.repeat(np.array(asked, np.int64), 3)
    counters = counters_at(log, users, at)
    for length in (3, 40):
        found = histories_at(log, users, at, length)
        for i, (name, instant) in enumerate(zip(names, at.tolist(), strict=True)):
            n = found.lengths[i]
            got = zip(
                found.video_keys[i, :n].tolist(),
                found.events[i, :n].tolist(),
                found.ts_ms[i, :n].tolist(),
                strict=True,
            )
            assert list(got) == history_by_hand(drawn, name, instant, length)
            assert (found.video_keys[i, n:] == -1).all()
    for i, (name, instant) in enumerate(zip(names, at.tolist(), strict=True)):
        assert as_dict(counters, i) == counters_by_hand(drawn, name, instant)


@settings(max_examples=200, deadline=None)
@given(drawn=events, asked=instants)
def test_activity_is_what_was_received_in_the_day_and_the_hours(
    interactions_of: Callable[..., pl.DataFrame], drawn: list[Event], asked: list[int]
) -> None:
    log = build_activity_log(frame_of(interactions_of, drawn), ROWS)
    rows = np.broadcast_to(np.arange(-1, 3), (len(asked), 4))
    found = activity_at(log, rows, np.array(asked)[:, None])
    assert found.shape == (len(asked), 4, len(ACTIVITY_NAMES))
    assert found.dtype == np.int32
    for i, mark in enumerate(asked):
        expected = [[0] * 14, *(activity_by_hand(drawn, video, mark) for video in VIDEOS)]
        assert found[i].tolist() == expected


@settings(max_examples=200, deadline=None)
@given(drawn=events)
def test_the_table_of_a_whole_log_agrees_with_single_look_ups(
    interactions_of: Callable[..., pl.DataFrame], drawn: list[Event]
) -> None:
    drawn = [e for e in drawn if e["ts"] and e["video_id"] != "gone" and not e["excess"]]
    if not drawn:
        return
    frame = frame_of(interactions_of, drawn)
    log, _ = build_event_log(frame, CATALOGUE)
    users = log.user_codes([e["user_id"] for e in drawn])
    rows = np.array([VIDEOS.index(e["video_id"]) for e in drawn])
    codes = np.array([EVENTS.index(e["event"]) for e in drawn], np.uint8)
    ts, known = np.array([e["ts"] for e in drawn]), np.array([known_of(e) for e in drawn])
    table = lookup_counters(users, rows, codes, ts, known)
    assert (table.user_events == counters_at(log, users, ts).events).all()
    marks = (ts // MINUTE - 1) * MINUTE
    assert (table.activity == activity_at(build_activity_log(frame, ROWS), rows, marks)).all()
    newest = histories_at(log, users, ts, 1)
    idle = np.where(newest.lengths > 0, ts - newest.ts_ms[:, 0], -1)
    assert table.idle_ms.tolist() == idle.tolist()


def test_counters_of_everything_are_those_of_the_end_of_time(
    random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    log, _ = build_event_log(random_log, catalogue)
    users = np.array([*range(len(log.user_ids)), -1, 3])
    now, then = counters_now(log, users), counters_at(log, users, np.full(len(users), 2**47))
    for name in ("events", "watch_ms", "hours", "devices", "first_ms"):
        assert (getattr(now, name) == getattr(then, name)).all()
    assert now.events[-2].sum() == 0
    assert now.events[:-2].sum() == len(log.arrivals.events)


def test_counters_do_not_depend_on_who_is_asked_beside(
    random_log: pl.DataFrame, catalogue: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = build_event_log(random_log, catalogue)
    rng = np.random.default_rng(4)
    users, at = rng.integers(-1, len(log.user_ids), 500), rng.choice(log.ts_ms, 500)
    whole = counters_at(log, users, at)
    monkeypatch.setattr("features.counters.CHUNK_EVENTS", 100)
    monkeypatch.setattr("features.counters.CHUNK_USERS", 3)
    small = counters_at(log, users, at)
    for name in ("events", "watch_ms", "hours", "devices", "first_ms"):
        assert (getattr(whole, name) == getattr(small, name)).all()


def test_a_visitor_counts_by_the_events_given() -> None:
    given_events = Histories(
        np.array([[5, 6, -1], [-1, -1, -1]]),
        np.array([[EVENTS.index("like"), EVENTS.index("play"), 0], [0, 0, 0]], np.uint8),
        np.array([[T0 + 3 * 60 * MINUTE, 0, 0], [0, 0, 0]]),
        np.array([[math.nan, 2.5, math.nan], [math.nan] * 3], np.float32),
        np.array([2, 0], np.int32),
    )
    context = Context(np.array([T0, T0]), np.array([-60, 0], np.int16))
    found = counters_of_histories(given_events, context)
    assert found.events.tolist() == [[0, 1, 1, 0, 0, 0, 0], [0] * 7]
    assert found.watch_ms.tolist() == [2500, 0]
    assert found.hours.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0], [0] * 8]
    assert found.devices.sum() == 0
    assert found.first_ms.tolist() == [T0 + 3 * 60 * MINUTE, 0]


def test_watched_time_is_rounded_to_even_ms_and_bounded() -> None:
    watch = np.array([0.0005, 0.0015, 1.0, np.nan, -1.0, np.inf, 3e9], np.float32)
    rounded = [int(np.rint(float(np.float32(s)) * 1000)) for s in (0.0005, 0.0015, 1.0)]
    assert watch_ms(watch).tolist() == [*rounded, 0, 0, 2**31 - 1, 2**31 - 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ts_ms": 0, "known_ms": 0}, "leave out events without a time"),
        ({"known_ms": T0 - 1}, "was known at .* and happened at"),
        ({"users": -1}, "users holds -1"),
        ({"rows": -1}, "rows holds -1"),
        ({"events": 7}, "codes go to 6"),
    ],
)
def test_a_table_of_what_cannot_be_is_refused(changes: dict[str, int], said: str) -> None:
    given_row = {"users": 0, "rows": 0, "events": 1, "ts_ms": T0, "known_ms": T0, **changes}
    columns = {
        name: np.array([value], np.uint8 if name == "events" else np.int64)
        for name, value in given_row.items()
    }
    with pytest.raises(BadInput, match=said):
        lookup_counters(**columns)  # type: ignore[arg-type]


def test_a_table_of_nothing_has_no_rows() -> None:
    none = np.zeros(0, np.int64)
    table = lookup_counters(none, none, none.astype(np.uint8), none, none)
    assert (table.user_events.shape, table.idle_ms.shape, table.activity.shape) == ((0, 7), (0,), (0, 14))
