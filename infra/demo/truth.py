"""What only the maker of the world knows: who will like what, and how far one gets without knowing it."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from features.contracts import DAY_MS, SEEN_EVENTS
from infra.demo.behaviour import LOOKS_ON, enjoys, published, search_logits, utilities
from infra.demo.log import SEARCHES, SLATE, Simulation, simulate, slot_distribution
from infra.demo.topics import TOPICS
from infra.demo.world import HELD_OUT_DAYS, START_MS, Doubles, Flags, Ints, World

CUTOFF: Final = 10
"""Length of the lists that are judged."""
POPULAR_HALF_LIFE_DAYS: Final = 7.0
PRAISE: Final = ("like", "share", "follow")


def oracle(world: World, simulation: Simulation, at_day: int) -> Doubles:
    """Expected number of times that each user newly enjoys each video in one visit, (users, videos).

    It knows the tastes of the held-out days, the policy's state at that midnight and what each user had seen;
    videos that are not out or are seen get 0.
    """
    middle = at_day + HELD_OUT_DAYS / 2
    utility = utilities(world, middle)
    open_to = published(world, at_day)[None, :] & ~seen_before(world, simulation.rows, at_day)
    logits = np.where(open_to, search_logits(world, middle, utility), -np.inf)
    best = logits.max(axis=1, keepdims=True)
    powers = np.exp(logits - np.where(np.isfinite(best), best, 0))
    total = powers.sum(axis=1, keepdims=True)
    found = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    looks = sum(LOOKS_ON**slot for slot in range(SLATE))
    shown = slot_distribution(simulation.policy_logits[min(at_day, world.days - 1)], open_to)
    return np.asarray((SEARCHES * found + looks * shown) * enjoys(utility))


def difficulty(world: World, simulation: Simulation | None = None) -> dict[str, float]:
    """nDCG@10 of three rankers on what people newly enjoy in the held-out days, and shares of the oracle's.

    Ranked is, for each user with such a video, every video that is out at the cut and not seen by this user.
    `random` is the mean over five shuffles, `popular` counts plays before the cut, halved every week.
    """
    simulation = simulation or simulate(world)
    open_to = published(world, world.cut_day)[None, :] & ~seen_before(world, simulation.rows, world.cut_day)
    relevant = enjoyed_after(world, simulation.rows, world.cut_day) & open_to
    rng = world.stream("random ranker")

    def judged(scores: Doubles) -> float:
        return ndcg(np.where(open_to, scores, -np.inf), relevant)

    best = judged(oracle(world, simulation, world.cut_day))
    popular = judged(np.broadcast_to(popularity(world, simulation.rows, world.cut_day), open_to.shape))
    chance = float(np.mean([judged(rng.random(open_to.shape)) for _ in range(5)]))
    return {
        "random": chance,
        "popular": popular,
        "oracle": best,
        "random_share": chance / best,
        "popular_share": popular / best,
        "users": float(relevant.any(axis=1).sum()),
        "relevant": float(relevant.sum()),
    }


def ndcg(scores: Doubles, relevant: Flags) -> float:
    """Mean nDCG@10 with gain 1 over the users who have a relevant video; the log's base is 2.

    Source: Järvelin and Kekäläinen, TOIS 2002, section 3, with the discount log2(1 + rank) in use since.
    """
    judged = relevant.any(axis=1)
    order = np.argsort(-scores[judged], axis=1, kind="stable")[:, :CUTOFF]
    hits = np.take_along_axis(relevant[judged], order, axis=1)
    discount = 1 / np.log2(np.arange(2, 2 + CUTOFF))
    best = np.array([discount[:n].sum() for n in range(CUTOFF + 1)])
    ideal = best[np.minimum(relevant[judged].sum(axis=1), CUTOFF)]
    return float(((hits * discount[: hits.shape[1]]).sum(axis=1) / ideal).mean())


def seen_before(world: World, rows: pl.DataFrame, day: int) -> Flags:
    """What each user had seen before a midnight, (users, videos)."""
    return _pairs(world, rows.filter((pl.col("ts") < _midnight(day)) & pl.col("event").is_in(SEEN_EVENTS)))


def enjoyed_after(world: World, rows: pl.DataFrame, day: int) -> Flags:
    """What each user played by half, liked, shared or followed from a midnight on, (users, videos)."""
    duration = pl.DataFrame({"video_id": world.videos.ids, "duration_s": world.videos.duration_s})
    later = rows.filter(pl.col("ts") >= _midnight(day)).join(duration, on="video_id", how="left")
    half = (pl.col("event") == "play") & (pl.col("watch_s") >= 0.5 * pl.col("duration_s"))
    return _pairs(world, later.filter(half | pl.col("event").is_in(PRAISE)))


def popularity(world: World, rows: pl.DataFrame, day: int) -> Doubles:
    """Plays of each video before a midnight, halved every week, (videos,)."""
    played = rows.filter((pl.col("ts") < _midnight(day)) & (pl.col("event") == "play"))
    age_days = (_instant(day) - played["ts"].dt.epoch("ms").to_numpy()) / DAY_MS
    weights = 0.5 ** (age_days / POPULAR_HALF_LIFE_DAYS)
    counted = np.bincount(_codes(played["video_id"], world.videos.ids), weights, minlength=world.n_videos)
    return counted.astype(np.float64)


def truth_of_pairs(world: World, simulation: Simulation) -> pl.DataFrame:
    """`user_id`, `video_id` and the oracle's relevance of every pair at the cut, users first."""
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.array(world.people.ids), world.n_videos),
            "video_id": np.tile(np.array(world.videos.ids), world.n_users),
            "relevance": oracle(world, simulation, world.cut_day).ravel().astype(np.float32),
        }
    )


def truth_of_videos(world: World) -> pl.DataFrame:
    """What is planted in each file; broken files have nothing but their kind."""
    videos = world.videos
    names = np.array([topic.name for topic in TOPICS])
    readable = pl.DataFrame(
        {
            "video_id": videos.ids,
            "topic": names[videos.topic],
            "text_topic": names[videos.text_topic],
            "sound_topic": names[videos.sound_topic],
            "mixture": videos.mixture.tolist(),
            "has_sound": videos.has_sound,
            "has_title": [title is not None for title in videos.titles],
            "conflict": (videos.text_topic != videos.topic) | (videos.sound_topic != videos.topic),
            "pace": videos.pace,
            "appeal": videos.appeal,
        }
    )
    broken = pl.DataFrame(world.broken, schema={"video_id": pl.String, "broken": pl.String}, orient="row")
    return pl.concat([readable, broken], how="diagonal")


def _midnight(day: int) -> pl.Expr:
    return pl.lit(_instant(day)).cast(pl.Datetime("ms", "UTC"))


def _instant(day: int) -> int:
    return START_MS + day * DAY_MS


def _pairs(world: World, rows: pl.DataFrame) -> Flags:
    pairs = np.zeros((world.n_users, world.n_videos), np.bool_)
    pairs[_codes(rows["user_id"], world.people.ids), _codes(rows["video_id"], world.videos.ids)] = True
    return pairs


def _codes(values: pl.Series, ids: tuple[str, ...]) -> Ints:
    """Place of each value among the ids, (n,); the ids are sorted by how they are made."""
    return np.searchsorted(np.array(ids), values.to_numpy())
