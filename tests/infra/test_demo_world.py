"""The demo world keeps its promises: one seed, one log; true propensities; a frozen difficulty."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.contracts import EVENTS, INTERACTIONS, SEEN_EVENTS, conform
from features.errors import BadInput
from infra.demo import World, generate_world, generator_hash
from infra.demo.behaviour import tastes
from infra.demo.log import SLATE, Simulation, simulate, slot_distribution
from infra.demo.topics import TOPICS
from infra.demo.truth import difficulty, ndcg, oracle, seen_before, truth_of_videos
from infra.demo.world import CARRIES, START_MS

SMALL = World(seed=5, n_videos=40, n_users=60, days=10)


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=11)


@pytest.fixture(scope="module")
def simulation(world: World) -> Simulation:
    return simulate(world)


def test_the_same_seed_gives_the_same_bytes_of_log_and_another_seed_others(tmp_path: Path) -> None:
    first = generate_world(SMALL, tmp_path / "first", media=False)
    again = generate_world(World(5, 40, 60, 10), tmp_path / "again", media=False)
    other = generate_world(World(6, 40, 60, 10), tmp_path / "other", media=False)
    for name in ("interactions", "manifest", "truth", "truth_videos", "truth_queries"):
        assert getattr(first, name).read_bytes() == getattr(again, name).read_bytes()
    assert first.interactions.read_bytes() != other.interactions.read_bytes()


def test_the_log_meets_the_contract_of_interactions(world: World, simulation: Simulation) -> None:
    rows = simulation.rows
    assert 60_000 <= len(rows) <= 100_000
    keyed = rows.with_columns(pl.col("event_id").alias("event_key")).with_row_index("order")
    assert len(conform(keyed, INTERACTIONS, "the log")) == len(rows)
    assert rows["event_id"].is_unique().all()
    assert rows["ts"].is_sorted()
    assert set(rows["event"].unique()) == set(EVENTS)
    assert rows["ts"].dt.epoch("ms").min() >= START_MS  # type: ignore[operator]
    assert set(rows["video_id"].unique()) <= set(world.videos.ids)


def test_no_event_is_older_than_its_video(world: World, simulation: Simulation) -> None:
    out = pl.DataFrame({"video_id": world.videos.ids, "out_day": world.videos.published_day})
    joined = simulation.rows.join(out, on="video_id")
    day = (joined["ts"].dt.epoch("ms") - START_MS) / 86_400_000
    assert (day >= joined["out_day"]).all()


def test_every_play_and_skip_says_how_long_it_was_watched(world: World, simulation: Simulation) -> None:
    longest = float(world.videos.duration_s.max())
    watched = simulation.rows.filter(pl.col("event").is_in(["play", "skip"]))["watch_s"]
    assert watched.null_count() == 0
    assert watched.is_between(0, longest + 0.01).all()


def test_the_probabilities_of_a_slot_sum_to_one_over_what_is_allowed() -> None:
    rng = np.random.default_rng(0)
    allowed = rng.random((50, 12)) < 0.5
    allowed[0] = False
    chance = slot_distribution(rng.normal(0, 3, 12), allowed)
    np.testing.assert_allclose(chance.sum(axis=1), allowed.any(axis=1), atol=1e-12)
    assert (chance[allowed] > 0).all()
    assert (chance[~allowed] == 0).all()


def test_logged_propensities_are_what_the_policy_gives_from_the_log_alone(
    world: World, simulation: Simulation
) -> None:
    codes = {video: i for i, video in enumerate(world.videos.ids)}
    slates = simulation.rows.filter(pl.col("event") == "impression").partition_by("request_id")
    seen_rows = simulation.rows.filter(pl.col("event").is_in(SEEN_EVENTS))
    for slate in slates[:: len(slates) // 25]:
        day = int((slate["ts"].dt.epoch("ms")[0] - START_MS) // 86_400_000)
        before = seen_rows.filter(
            (pl.col("user_id") == slate["user_id"][0]) & (pl.col("ts") < slate["ts"].min())
        )
        allowed = world.videos.published_day <= day
        allowed[[codes[v] for v in before["video_id"]]] = False
        for video, said in zip(slate["video_id"], slate["propensity"], strict=True):
            chance = slot_distribution(simulation.policy_logits[day], allowed[None, :])[0]
            assert chance[codes[video]] == pytest.approx(said, rel=1e-12)
            allowed[codes[video]] = False


def test_weighting_by_propensity_counts_what_could_have_been_shown(
    world: World, simulation: Simulation
) -> None:
    first = simulation.rows.filter((pl.col("event") == "impression") & (pl.col("position") == 0))
    last_day = first.filter(pl.col("ts").dt.epoch("ms") >= START_MS + 25 * 86_400_000)
    users = last_day["user_id"].to_list()
    open_to = (~seen_before(world, simulation.rows, 25)).sum(axis=1)
    could = np.mean([open_to[world.people.ids.index(user)] for user in users])
    # E[1 / p] over what was drawn is the number of videos that had a chance.
    assert (1 / last_day["propensity"]).mean() == pytest.approx(could, rel=0.1)


def test_what_people_find_by_themselves_has_no_propensity_and_slates_are_full(simulation: Simulation) -> None:
    rows = simulation.rows
    found = rows.filter(pl.col("surface") == "search")
    assert found["propensity"].null_count() == found["policy"].null_count() == len(found) > 0
    sizes = rows.filter(pl.col("event") == "impression").group_by("request_id").len()["len"]
    assert sizes.min() == sizes.max() == SLATE


@pytest.mark.parametrize("seed", [7, 21, 22])
def test_popularity_reaches_half_of_the_oracle_and_random_a_tenth_at_most(seed: int) -> None:
    found = difficulty(World(seed))
    assert 0.4 <= found["popular_share"] <= 0.6
    assert found["random_share"] <= 0.1
    assert found["users"] >= 200


def test_the_oracle_expects_nothing_of_what_is_seen(world: World, simulation: Simulation) -> None:
    expected = oracle(world, simulation, world.cut_day)
    assert expected.shape == (world.n_users, world.n_videos)
    assert np.isfinite(expected).all()
    assert (expected[seen_before(world, simulation.rows, world.cut_day)] == 0).all()


def test_ndcg_is_what_a_hand_computes() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    relevant = np.array([[True, False, True], [True, False, False], [False, False, False]])
    ideal = 1 + 1 / np.log2(3)
    assert ndcg(scores, relevant) == pytest.approx(((1 + 0.5) / ideal + 0.5) / 2)


def test_tastes_are_shares_that_drift() -> None:
    start, end = tastes(SMALL, 0), tastes(SMALL, 10)
    np.testing.assert_allclose(start.sum(axis=1), 1)
    moved = np.abs(start - end).sum(axis=1)
    assert (moved > 0).all()
    assert (moved > 0.5).mean() < 0.3  # most keep their main interest


def test_words_of_a_query_stand_in_no_title_together_yet_often_alone() -> None:
    world = World(seed=3, n_videos=2000, n_users=1)
    titles = [set((title or "").lower().replace(",", "").split()) for title in world.videos.titles]
    assert len(world.queries) == 6 * len(TOPICS)
    for query in world.queries:
        words = query.text.split()
        assert not any(set(words) <= title for title in titles)
        assert all(sum(word in title for title in titles) >= 20 for word in words)


def test_a_query_word_belongs_to_one_topic() -> None:
    words = [word for topic in TOPICS for word in topic.words]
    assert len(words) == len(set(words)) == 12 * len(TOPICS)


def test_missing_modalities_and_conflicts_change_neither_people_nor_log() -> None:
    plain = World(5, 200, 30, 8)
    hard = World(5, 200, 30, 8, missing_audio=0.5, missing_title=0.25, wrong_audio=0.05, wrong_title=0.05)
    assert simulate(plain).rows.equals(simulate(hard).rows)
    assert 0.4 < 1 - hard.videos.has_sound.mean() < 0.6
    assert 0.15 < np.mean([title is None for title in hard.videos.titles]) < 0.35
    assert set(np.flatnonzero(~plain.videos.has_sound)) <= set(np.flatnonzero(~hard.videos.has_sound))
    truth = truth_of_videos(hard)
    planted = truth.filter(pl.col("conflict"))
    assert 10 <= len(planted) <= 32
    assert not truth_of_videos(plain)["conflict"].any()
    assert ((planted["topic"] != planted["text_topic"]) | (planted["topic"] != planted["sound_topic"])).all()


def test_a_video_carries_one_or_two_topics_and_its_main_one_leads() -> None:
    videos = SMALL.videos
    np.testing.assert_allclose(videos.mixture.sum(axis=1), 1)
    assert (videos.mixture.argmax(axis=1) == videos.topic).all()
    carried = (videos.mixture >= CARRIES).sum(axis=1)
    assert set(carried) == {1, 2}


def test_tiny_worlds_work_and_impossible_ones_are_refused() -> None:
    assert len(simulate(World(1, 1, 1, 5)).rows) >= 0
    with pytest.raises(BadInput, match="n_videos is 0"):
        World(1, n_videos=0)
    with pytest.raises(BadInput, match=r"missing_audio is 1\.5"):
        World(1, missing_audio=1.5)


def test_the_hash_of_the_generator_is_twelve_hex_digits() -> None:
    assert len(generator_hash()) == 12
    assert int(generator_hash(), 16) >= 0
