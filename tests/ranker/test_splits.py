"""What is held out, and that nothing of it leaks."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from features.contracts import EVENT_CODES
from features.errors import BadInput
from ranker.splits import Holdout, is_positive, split

NAN = float("nan")


@pytest.mark.parametrize(
    ("event", "watch_s", "duration_s", "liked"),
    [
        ("play", NAN, 10, True),
        ("play", 5, 10, True),
        ("play", 4.9, 10, False),
        ("play", 5, NAN, True),
        ("play", 4, NAN, False),
        ("like", 0, 10, True),
        ("share", NAN, NAN, True),
        ("follow", NAN, NAN, True),
        ("skip", 10, 10, False),
        ("dislike", 10, 10, False),
        ("impression", NAN, 10, False),
    ],
)
def test_what_counts_as_liked(event: str, watch_s: float, duration_s: float, liked: bool) -> None:
    said = is_positive(
        np.array([EVENT_CODES[event]], np.uint8),
        np.array([watch_s], np.float32),
        np.array([duration_s], np.float32),
    )
    assert said.tolist() == [liked]


def test_a_time_split_trains_on_the_past_and_asks_for_unseen_likes_of_the_future(world) -> None:
    features = world()
    until = int(np.quantile(features.log.ts_ms, 0.8))
    cut = split(features, Holdout("time", until_ms=until))
    assert cut.train.log.ts_ms.max() < until
    assert len(cut.train.log.events) < len(features.log.events)
    assert (cut.truth.at_ms == until).all()
    for user, code, relevant in zip(cut.truth.users, cut.truth.user_codes, cut.truth.relevant, strict=True):
        assert cut.train.log.user_code(user) == code
        events = cut.train.interactions.filter(
            pl.col("user_id") == user, pl.col("event").is_in(["play", "like", "share", "dislike"])
        )
        assert len(relevant)
        assert not np.isin(events["video_key"].to_numpy(), relevant).any()


@pytest.mark.parametrize("times", [True, False])
def test_leave_last_takes_one_liked_video_of_each_user(world, times: bool) -> None:
    features = world(times=times)
    cut = split(features, Holdout("leave_last", n=1))
    assert len(cut.truth) > 0.9 * len(features.log.user_ids)
    for user, relevant, at in zip(cut.truth.users, cut.truth.relevant, cut.truth.at_ms, strict=True):
        assert len(relevant) == 1
        left = cut.train.interactions.filter(pl.col("user_id") == user)
        assert relevant[0] not in left["video_key"]
        if times:
            assert left["ts"].dt.epoch("ms").max() <= at


def test_a_share_of_users_gives_up_videos(world) -> None:
    cut = split(world(times=False), Holdout("leave_last", n=1, share=0.25))
    assert 10 <= len(cut.truth) <= 50


def test_the_order_of_rows_does_not_matter(world) -> None:
    features = world(times=False)
    shuffled = dataclasses.replace(
        features, interactions=features.interactions.sample(fraction=1, shuffle=True, seed=3)
    )
    one, other = (split(f, Holdout("leave_last", n=2)).truth for f in (features, shuffled))
    assert one.users == other.users
    assert all(np.array_equal(a, b) for a, b in zip(one.relevant, other.relevant, strict=True))


def test_nothing_held_out_keeps_everything(world) -> None:
    features = world()
    cut = split(features, Holdout())
    assert cut.train is features
    assert not len(cut.truth)


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "time"},
        {"kind": "leave_last"},
        {"kind": "weekly"},
        {"kind": "leave_last", "n": 1, "share": 0},
    ],
)
def test_a_senseless_holdout_is_refused(said: dict) -> None:
    with pytest.raises(BadInput):
        Holdout(**said)


def test_a_holdout_of_everything_is_refused(world) -> None:
    with pytest.raises(BadInput, match="leaves no positive event"):
        split(world(), Holdout("time", until_ms=1))
