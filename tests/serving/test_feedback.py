"""Feedback: an accepted event changes the very next slate, counts once, and reaches the workspace."""

import contextlib
import time

import polars as pl
import pytest

from features.contracts import DEVICES, INTERACTIONS
from features.packing import AcceptedEvent
from features.pipeline import load_store
from features.store import EXPOSURES, Store
from features.tables import Table
from features.workspace import open_workspace
from serving.upkeep import drain_and_count
from tests.serving.conftest import video_id


def send(client, user, *events):
    return client.post("/v1/events", json={"user_id": user, "events": list(events)})


def slate(client, user, k=10):
    return [
        item["video_id"] for item in client.get(f"/v1/users/{user}/recommendations?k={k}").json()["items"]
    ]


def test_events_change_the_very_next_slate(client):
    before = slate(client, "changer")
    liked = [f"surf/{n:02d}.mp4" for n in (3, 4, 5)]
    answer = send(client, "changer", *({"video_id": v, "event": "like", "watch_s": 20.0} for v in liked))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (3, 0)
    after = slate(client, "changer")
    assert after != before
    assert not set(liked) & set(after)
    assert sum(v.startswith("surf/") for v in after) > sum(v.startswith("surf/") for v in before)
    past = client.get("/v1/users/changer/history").json()["items"]
    assert {item["video_id"] for item in past} == set(liked)
    assert {item["event"] for item in past} == {"like"}


def test_a_skip_is_no_reason_to_hide_a_video_for_ever_but_a_dislike_is(client):
    send(
        client,
        "skipper",
        {"video_id": "jazz/01.mp4", "event": "skip"},
        {"video_id": "jazz/02.mp4", "event": "dislike"},
    )
    found = slate(client, "skipper", k=100)
    assert "jazz/01.mp4" in found
    assert "jazz/02.mp4" not in found


def test_the_same_event_twice_counts_once(client):
    event = {"video_id": "jazz/03.mp4", "event": "like", "event_id": "once-only"}
    assert send(client, "twice", event, event).json()["accepted"] == 1
    assert send(client, "twice", event).json()["duplicates"] == 1


def test_an_event_without_identity_is_told_apart_by_user_video_time_and_kind(client):
    event = {"video_id": "jazz/03.mp4", "ts": "2026-01-05T10:00:00Z"}
    assert send(client, "plain", event).json()["accepted"] == 1
    assert send(client, "plain", event).json()["accepted"] == 0
    assert send(client, "plain", {**event, "event": "like"}).json()["accepted"] == 1


@pytest.mark.parametrize(
    ("events", "status", "names"),
    [
        ([{"video_id": "jazz/01.mp4"}, {"video_id": "no.mp4"}], 404, "events[1].video_id"),
        ([{"video_id": "jazz/01.mp4", "ts": "2100-01-01T00:00:00Z"}], 422, "events[0].ts"),
        ([{"video_id": "jazz/01.mp4", "ts": "1950-01-01T00:00:00Z"}], 422, "events[0].ts"),
        ([{"video_id": "jazz/01.mp4", "ts": "2026-01-01T00:00:00"}], 422, "events[0].ts"),
        ([{"video_id": "jazz/01.mp4", "event": "stare"}], 422, "events[0].event"),
        ([{"video_id": "jazz/01.mp4", "watch_s": -1}], 422, "events[0].watch_s"),
        ([], 422, "events"),
    ],
)
def test_a_wrong_event_is_named_and_nothing_of_its_request_is_accepted(client, events, status, names):
    answer = send(client, "strict", *events)
    assert answer.status_code == status, answer.text
    assert names in answer.json()["detail"]
    assert not client.get("/v1/users/strict/history").json()["items"]


def test_feedback_and_what_was_shown_reach_the_workspace_once(world, redis_url, serve, tmp_path):
    store = Store.connect(redis_url, "drained", timeout_s=5)
    with (
        serve(world.workspace.root, redis_url=redis_url, namespace="drained") as client,
        contextlib.closing(store),
    ):
        answer = client.get("/v1/users/u09/recommendations?k=4").json()
        event = {
            "video_id": answer["items"][2]["video_id"], "event": "like", "watch_s": 7.5,
            "event_id": "drain-1",
            "request_id": answer["request_id"], "position": 2, "surface": "home",
        }  # fmt: skip
        assert send(client, "u09", event).status_code == 200
        client.post("/v1/recommendations", json={"user_id": "u09", "personalise": False, "k": 4})
        deadline = time.monotonic() + 20
        while store.pending() < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        apart = open_workspace(tmp_path / "apart", create=True)
        assert store.drain(apart) == 2
        assert store.drain(apart) == 0
    stored = apart.interactions.read().row(0, named=True)
    assert {c.name for c in INTERACTIONS} == stored.keys()
    assert (stored["user_id"], stored["event"], stored["watch_s"], stored["position"]) == (
        "u09",
        "like",
        7.5,
        2,
    )
    assert (stored["request_id"], stored["surface"]) == (answer["request_id"], "home")
    shown = Table(apart.root / "exposures", EXPOSURES).read()
    assert shown.filter(pl.col("request_id") == answer["request_id"]).height in (1, 4)


def test_events_say_where_they_come_from_and_conflicts_and_deleted_users_are_told(client, loaded):
    event = {"video_id": "jazz/03.mp4", "event": "like", "event_id": "clash", "ts": "2026-01-05T10:00:00Z"}
    body = {"user_id": "teller", "events": [event], "context": {"device": "tv", "utc_offset_min": 120}}
    assert client.post("/v1/events", json=body).json()["accepted"] == 1
    other = send(client, "teller", {**event, "video_id": "jazz/04.mp4"}).json()
    assert (other["accepted"], other["conflicts"], other["excess"]) == (0, 1, 0)
    with contextlib.closing(Store.connect(loaded, timeout_s=5)) as store:
        counters = store.read_user("teller").counters
        assert counters.devices[0, DEVICES.index("tv")] == 1
        assert counters.hours[0, 12 // 3] == 1
        store.delete_user("teller")
        gone = send(client, "teller", event)
        store.readmit("teller")
    assert gone.status_code == 410, gone.text
    assert "'teller' was deleted" in gone.json()["detail"]


def test_a_slate_notes_what_it_knew_of_the_user_and_of_the_videos(world, redis_url, serve, tmp_path):
    namespace = "noting"
    store = Store.connect(redis_url, namespace, timeout_s=5)
    with contextlib.closing(store):
        store.accept_events("u01", [AcceptedEvent("n1", 0, video_id("surf", 0), "like", 1_767_000_000_000)])
        apart = open_workspace(tmp_path / "apart", create=True)
        drain_and_count(apart, store)
        load_store(world.features, store, apart)
        with serve(world.workspace.root, redis_url=redis_url, namespace=namespace) as client:
            deadline = time.monotonic() + 20
            shown = apart.interactions.read(["ts"]).head(0)
            while not len(shown) or shown["activity_at"].null_count():
                assert time.monotonic() < deadline
                client.post(
                    "/v1/recommendations",
                    json={"user_id": "u01", "k": 2, "context": {"device": "ios", "surface": "feed"}},
                )
                time.sleep(0.1)
                store.drain(apart)
                shown = Table(apart.root / "exposures", EXPOSURES).read().tail(1)
    row = shown.row(0, named=True)
    assert (row["device"], row["surface"], row["utc_offset_min"]) == ("ios", "feed", 0)
    assert row["history_at"] is not None
    assert row["activity_at"] <= row["ts"]


def test_a_visitor_who_signs_in_is_the_known_user_from_then_on(client):
    send(client, "visitor-1", {"video_id": "jazz/03.mp4", "event": "like", "ts": "2026-01-05T10:00:00Z"})
    send(client, "member-1", {"video_id": "surf/01.mp4", "event": "like", "ts": "2026-01-05T11:00:00Z"})
    answer = client.post("/v1/users/member-1/merge", json={"source": "visitor-1"})
    assert (answer.status_code, answer.json()["moved"]) == (200, True)
    assert client.post("/v1/users/member-1/merge", json={"source": "visitor-1"}).json()["moved"] is False
    send(client, "visitor-1", {"video_id": "jazz/05.mp4", "event": "like", "ts": "2026-01-05T12:00:00Z"})
    past = [item["video_id"] for item in client.get("/v1/users/member-1/history").json()["items"]]
    assert past == ["jazz/05.mp4", "surf/01.mp4", "jazz/03.mp4"]
    circle = client.post("/v1/users/visitor-1/merge", json={"source": "member-1"})
    assert circle.status_code == 400
    assert "merged" in circle.json()["detail"]
