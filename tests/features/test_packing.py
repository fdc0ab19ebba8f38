"""Packed records: what goes in comes out, and another layout is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import DEVICES, EVENTS, HOUR_BUCKETS, Histories, UserCounters
from features.errors import BadInput, VersionMismatch
from features.packing import (
    AcceptedEvent,
    Exposure,
    moved_to,
    pack_event,
    pack_exposure,
    pack_moved,
    pack_users,
    unpack_event,
    unpack_exposure,
    unpack_user,
)

texts = st.text(min_size=1, max_size=20)


@given(st.integers(0, 5), st.integers(0, 12), st.integers(0, 2**32))
def test_users_come_back_as_they_were(n: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, width + 1, n).astype(np.int32)
    inside = np.arange(width) < lengths[:, None]
    histories = Histories(
        np.where(inside, rng.integers(0, 2**62, (n, width)), -1),
        np.where(inside, rng.integers(0, len(EVENTS), (n, width)), 0).astype(np.uint8),
        np.where(inside, rng.integers(0, 2**42, (n, width)), 0),
        np.where(inside, rng.uniform(0, 9, (n, width)), np.nan).astype(np.float32),
        lengths,
    )
    counters = UserCounters(
        rng.integers(0, 2**32, (n, len(EVENTS))),
        rng.integers(0, 2**50, n),
        rng.integers(0, 2**32, (n, HOUR_BUCKETS)),
        rng.integers(0, 2**32, (n, len(DEVICES))),
        rng.integers(0, 2**42, n),
    )
    received = rng.integers(0, 2**42, n)
    packed = pack_users(histories, counters, received)
    assert len(packed) == n
    for i, one in enumerate(packed):
        back = unpack_user(one, width)
        assert back.received_ms == received[i]
        for name in ("video_keys", "events", "ts_ms", "watch_s", "lengths"):
            np.testing.assert_array_equal(getattr(back.histories, name)[0], getattr(histories, name)[i])
        for name in ("events", "watch_ms", "hours", "devices", "first_ms"):
            np.testing.assert_array_equal(getattr(back.counters, name)[0], getattr(counters, name)[i])


@given(texts)
def test_a_moved_record_says_where_the_user_is(user: str) -> None:
    assert moved_to(pack_moved(user)) == user
    assert moved_to(pack_users(Histories.empty(1), UserCounters.empty(1), np.zeros(1, np.int64))[0]) is None
    assert moved_to(None) is None


@given(texts, texts, texts, st.none() | texts, st.none() | st.floats(0, 1e6, width=32))
def test_events_come_back_as_they_were(
    event: str, user: str, video: str, request: str | None, watch: float | None
) -> None:
    sent = AcceptedEvent(event, 5, video, "play", 17, watch, request, {"position": 3, "device": None})
    said = unpack_event(pack_event(sent, user, 99))
    assert said == {
        "event_id": event,
        "user_id": user,
        "video_id": video,
        "request_id": request,
        "event": "play",
        "ts": 17,
        "received_at": 99,
        "watch_s": watch,
        "position": "3",
        "device": None,
        "excess": False,
    }


def test_a_slate_comes_back_as_it_was() -> None:
    slate = Exposure(
        "r",
        None,
        17,
        "b",
        "full",
        np.array([4, 9]),
        np.array([0.5, 0.25], np.float32),
        np.array([1.0, np.nan]),
        "arm",
    )
    back = unpack_exposure(pack_exposure(slate))
    assert (back.request_id, back.user_id, back.bundle, back.arm, back.policy) == (
        "r",
        None,
        "b",
        "arm",
        None,
    )
    np.testing.assert_array_equal(back.video_keys, slate.video_keys)
    np.testing.assert_array_equal(back.scores, slate.scores)
    np.testing.assert_array_equal(back.propensities, slate.propensities)


def test_another_layout_is_refused_naming_both() -> None:
    packed = bytearray(nobody())
    packed[3] ^= 1
    with pytest.raises(VersionMismatch, match=r"was packed as version 2.*this program reads version 2"):
        unpack_user(bytes(packed))


def test_a_record_cut_short_is_refused() -> None:
    packed = nobody()
    with pytest.raises(BadInput, match="fewer than its header"):
        unpack_user(packed[:5])
    with pytest.raises(BadInput, match="too few for its 1 row"):
        unpack_user(packed[:6] + b"\x01\x00" + packed[8:])
    with pytest.raises(BadInput, match="too few for its 1 row"):
        unpack_user(packed[:20])


def nobody() -> bytes:
    return pack_users(Histories.empty(1), UserCounters.empty(1), np.zeros(1, np.int64))[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event": "yawn"}, "unknown event yawn"),
        ({"ts_ms": 0}, "after 1970"),
        ({"watch_s": float("nan")}, "finite"),
        ({"watch_s": -1.0}, "at least 0"),
        ({"event_id": "x" * 600}, "event_id has 600 bytes"),
        ({"extra": {"shoe": 1}}, "no field shoe"),
        ({"extra": {"position": 1.5}}, "whole number"),
        ({"extra": {"propensity": 0.0}}, "above 0"),
        ({"extra": {"device": 3}}, "must be text"),
    ],
)
def test_an_event_that_cannot_be_stored_is_refused(changes: dict[str, object], said: str) -> None:
    fields = {"event_id": "e", "video_key": 1, "video_id": "v", "event": "play", "ts_ms": 1, **changes}
    with pytest.raises(BadInput, match=said):
        AcceptedEvent(**fields)  # type: ignore[arg-type]
