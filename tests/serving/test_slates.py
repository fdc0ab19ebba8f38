"""Slates: personal, bounded, explained, never a repeat of what was seen, honest about how they came."""

import pytest

TOPICS = ("jazz", "surf", "bread")


def ids(answer):
    return [item["video_id"] for item in answer.json()["items"]]


def topics(answer):
    return [video_id.split("/")[0] for video_id in ids(answer)]


def ask(client, **body):
    answer = client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def test_a_slate_says_what_made_it_and_how_long_each_stage_took(client, world):
    slate = client.get("/v1/users/u00/recommendations?k=5&explain=true").json()
    assert slate["bundle"] == world.bundle
    assert (slate["served_by"], slate["degraded"], slate["arm"]) == ("full", [], "default")
    assert {"fetch_user", "retrieve", "filter", "score", "diversify", "total"} <= slate["timings_ms"].keys()
    assert [item["position"] for item in slate["items"]] == [0, 1, 2, 3, 4]
    for item in slate["items"]:
        assert item["sources"]
        assert item["reasons"]
        assert item["propensity"] == 1.0
        assert item["title"].startswith(tuple(topic.title() for topic in TOPICS))
    assert client.get("/v1/users/u00/recommendations").headers["x-request-id"]


def test_users_with_different_tastes_get_different_slates(client):
    for user, topic in (("u00", "jazz"), ("u01", "surf"), ("u02", "bread")):
        found = topics(ask(client, user_id=user, k=6, diversity=0))
        assert found.count(topic) >= 3, found


def test_get_and_post_give_the_same_slate(client):
    assert ids(client.get("/v1/users/u03/recommendations?k=7")) == ids(ask(client, user_id="u03", k=7))


def test_what_was_seen_is_not_recommended_again_unless_asked_for(client):
    seen = {item["video_id"] for item in client.get("/v1/users/u05/history?limit=500").json()["items"]}
    assert seen
    slate = ask(client, user_id="u05", k=200)
    assert not seen & set(ids(slate))
    assert len(ids(slate)) == 42 - len(seen)
    assert any("of 200 videos" in note for note in slate.json()["notes"])
    assert seen <= set(ids(ask(client, user_id="u05", k=200, include_seen=True)))


def test_excluded_videos_do_not_come_and_unknown_ones_are_told(client):
    first = ids(ask(client, user_id="u06", k=3))
    again = ask(client, user_id="u06", k=3, exclude=[*first, "no/such.mp4"])
    assert not set(first) & set(ids(again))
    assert "1 video(s) in exclude are unknown here and were ignored" in again.json()["notes"]


def test_a_visitor_without_a_name_is_understood_by_the_history_they_bring(client):
    history = [{"video_id": f"bread/{n:02d}.mp4", "watch_s": 19.0} for n in (1, 2, 3)]
    slate = ask(client, history=[*history, {"video_id": "gone.mp4"}], k=6, diversity=0)
    assert topics(slate).count("bread") >= 4
    assert not {item["video_id"] for item in history} & set(ids(slate))
    assert "1 video(s) in history are unknown here and were ignored" in slate.json()["notes"]


def test_the_order_of_a_given_history_is_its_times_where_it_has_them(client):
    old = [{"video_id": f"jazz/{n:02d}.mp4", "ts": f"2026-01-01T0{n}:00:00Z"} for n in range(3)]
    new = [{"video_id": f"surf/{n:02d}.mp4", "ts": f"2026-01-02T0{n}:00:00Z"} for n in range(3)]
    slate = ask(client, history=old + new, k=8)
    assert ids(slate) == ids(ask(client, history=new[::-1] + old, k=8))


def test_someone_unknown_gets_a_full_slate(client):
    slate = ask(client, user_id="nobody-knows-me", k=10)
    assert len(ids(slate)) == 10
    assert slate.json()["served_by"] == "full"


def test_without_personalisation_nothing_of_the_user_is_used(client):
    anyone = ids(ask(client, k=10))
    assert ids(ask(client, user_id="u01", personalise=False, k=10)) == anyone
    given = [{"video_id": "bread/01.mp4"}]
    assert ids(ask(client, history=given, personalise=False, k=10)) == anyone


def test_more_variety_mixes_more_topics(client):
    plain = topics(ask(client, user_id="u00", k=12, diversity=0))
    mixed = topics(ask(client, user_id="u00", k=12, diversity=0.9))
    assert max(map(mixed.count, TOPICS)) <= max(map(plain.count, TOPICS))


@pytest.mark.parametrize("k", [1, 40])
def test_a_slate_is_unique_and_as_long_as_asked(client, k):
    found = ids(ask(client, history=[], k=k))
    assert len(found) == len(set(found)) == k
