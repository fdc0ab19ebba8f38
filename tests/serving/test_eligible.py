"""Eligibility: what may not be shown here and now is taken out, counted by the rule that took it."""

import dataclasses

import numpy as np
import pytest

from features.contracts import EVENT_CODES, NO_KEY, Histories
from serving.desk import ALWAYS, Shelf, open_desk
from serving.eligible import apply_rules, unseen
from serving.parse import parse_request
from serving.requests import RecommendationRequest
from serving.settings import ServeSettings

NOW = 1_750_000_000_000
ROWS = np.arange(6, dtype=np.int32)


@pytest.fixture(scope="module")
def desk(world):
    return open_desk(world.workspace, world.bundle)


def shelf(**changes):
    none = (None,) * 6
    plain = Shelf(
        none,
        none,
        none,
        np.zeros(6, np.int64),
        np.full(6, ALWAYS),
        np.zeros(6, np.int16),
        {},
        (frozenset(),) * 6,
    )
    return dataclasses.replace(plain, **changes)


def ask(desk, **body):
    request = RecommendationRequest.model_validate(body)
    return parse_request(request, desk, ServeSettings(workspace="."), "r", NOW)


def test_everything_may_be_shown_by_default(desk):
    keep, removed = apply_rules(ROWS, shelf(), ask(desk))
    assert keep.all()
    assert removed == {}


def test_a_video_is_available_from_its_start_until_before_its_end(desk):
    since, until = np.zeros(6, np.int64), np.full(6, ALWAYS)
    since[:2], until[2:4] = (NOW, NOW + 1), (NOW, NOW + 1)
    keep, removed = apply_rules(ROWS, shelf(available_from_ms=since, available_until_ms=until), ask(desk))
    assert keep.tolist() == [True, False, False, True, True, True]
    assert removed == {"unavailable": 2}


def test_age_and_region_count_where_the_request_tells_them(desk):
    limited = shelf(
        min_age=np.array([0, 12, 18, 0, 0, 0], np.int16), regions={3: frozenset({"DE"}), 4: frozenset({"FR"})}
    )
    assert apply_rules(ROWS, limited, ask(desk))[0].all()
    keep, removed = apply_rules(ROWS, limited, ask(desk, context={"age": 12, "country": "de"}))
    assert keep.tolist() == [True, True, False, True, False, True]
    assert removed == {"age": 1, "region": 1}


def test_a_video_is_counted_at_the_first_rule_that_removes_it(desk):
    gone = shelf(available_until_ms=np.full(6, NOW))
    excluded = desk.videos.ids[2]
    assert apply_rules(ROWS, gone, ask(desk, exclude=[excluded]))[1] == {"excluded": 1, "unavailable": 5}


def test_seen_means_played_liked_shared_or_disliked(desk):
    events = ("play", "like", "share", "dislike", "skip", "follow")
    codes = np.array([[EVENT_CODES[e] for e in events] + [0]], np.uint8)
    keys = np.append(desk.videos.keys[:6], NO_KEY)[None]
    past = Histories(
        keys, codes, np.zeros((1, 7), np.int64), np.zeros((1, 7), np.float32), np.array([6], np.int32)
    )
    assert unseen(ROWS, desk.videos, past).tolist() == [False, False, False, False, True, True]


def test_settings_out_of_bounds_are_refused_by_name():
    with pytest.raises(Exception, match="port is 0; 1 to 65535"):
        ServeSettings(workspace=".", port=0)
