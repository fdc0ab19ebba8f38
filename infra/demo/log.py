"""The event log of a world: slates of a stated policy with true propensities, and what people find alone.

Policy `popular-softmax-eps10`. The slots of a slate are filled one after the other from the videos that are
out, that the user has not seen and that are not yet in this slate. With probability 0.1 a slot gets any of
them, all alike; else one by a softmax over POLICY_WEIGHT * log(1 + plays, halved every 4 days, up to the last
midnight), plus a bonus for videos younger than 3 days. It knows nothing of tastes. `propensity` is the
probability of the video in its slot, given the slots before it; the product over a slate is the propensity of
the slate.

Some plays come without a slate: `surface` is `search`, and position, policy and propensity are null. Within a
slate people look at one place after the other and stop somewhere: an impression further down is less often
acted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.contracts import DAY_MS, EVENT_CODES, EVENTS, TS, seen_mask
from infra.demo.behaviour import LOOKS_ON, published, react, search_logits, utilities, watch
from infra.demo.world import START_MS, Doubles, Flags, Ints, World

POLICY: Final = "popular-softmax-eps10"
EPSILON: Final = 0.1
POLICY_WEIGHT: Final = 1.3
HALF_LIFE_DAYS: Final = 4.0
FRESH_BONUS: Final = 2.0
FRESH_DAYS: Final = 3.0
SLATE: Final = 5
MAX_SESSIONS: Final = 3
VISIT_GAP_MS: Final = 900_000
SEARCHES: Final = 0.9
"""Mean number of videos that people look for by themselves in one visit."""

Progress = Callable[[int, int], None]
Rows = dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]]


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated log and the policy's state, by which its propensities can be checked."""

    rows: pl.DataFrame
    """Columns of the interactions, sorted by time."""
    policy_logits: Doubles
    """The policy's logits on each day, (days, videos)."""


def simulate_log(world: World, progress: Progress | None = None) -> pl.DataFrame:
    """The interactions of a world, sorted by time; equal worlds give equal rows."""
    return simulate(world, progress).rows


def simulate(world: World, progress: Progress | None = None) -> Simulation:
    """The log together with the policy's logits of every day."""
    rng = world.stream("log")
    seen = np.zeros((world.n_users, world.n_videos), np.bool_)
    plays = np.zeros(world.n_videos)
    parts: list[Rows] = []
    logits = np.zeros((world.days, world.n_videos))
    for day in range(world.days):
        logits[day] = policy_logits(world, day, plays)
        today = _simulate_day(world, day, logits[day], seen, rng)
        parts.extend(today)
        plays = plays * 0.5 ** (1 / HALF_LIFE_DAYS) + _plays(today, world.n_videos)
        if progress:
            progress(day + 1, world.days)
    return Simulation(_frame(world, parts), logits)


def policy_logits(world: World, day: int, plays: Doubles) -> Doubles:
    """The policy's logit of each video at the midnight before a day, (videos,)."""
    young = world.videos.published_day > day - FRESH_DAYS
    return np.asarray(POLICY_WEIGHT * np.log1p(plays) + FRESH_BONUS * young)


def slot_distribution(logits: Doubles, allowed: Flags) -> Doubles:
    """Probability of each video in the next slot, (n, videos); a row where nothing is allowed is all 0.

    Args:
        logits: (videos,), finite.
        allowed: (n, videos), which may stand in the slot of each of n slates.
    """
    powers = np.where(allowed, np.exp(logits - logits.max()), 0.0)
    total = powers.sum(axis=1, keepdims=True)
    count = allowed.sum(axis=1, keepdims=True)
    soft = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    flat = np.divide(allowed, count, out=np.zeros_like(powers), where=count > 0)
    return np.asarray((1 - EPSILON) * soft + EPSILON * flat)


def _simulate_day(
    world: World, day: int, logits: Doubles, seen: Flags, rng: np.random.Generator
) -> list[Rows]:
    """Rows of one day; marks in `seen` what is seen in it."""
    utility = utilities(world, day + 0.5)
    wanted = search_logits(world, day + 0.5, utility)
    out = published(world, day)
    visits = np.minimum(rng.poisson(world.people.sessions_per_day), MAX_SESSIONS)
    starts_ms = _visit_starts(world, day, rng)
    rows: list[Rows] = []
    for visit in range(MAX_SESSIONS):
        who = np.flatnonzero(visits > visit)
        start_ms = starts_ms[who, visit]
        request = np.int64(day * MAX_SESSIONS + visit) * world.n_users + who
        served = _serve(logits, who, out[None, :] & ~seen[who], rng)
        rows += _watch_slates(world, served, who, request, start_ms, utility, seen, rng)
        rows += _search(world, who, start_ms, utility, wanted, out, seen, rng)
    return rows


def _visit_starts(world: World, day: int, rng: np.random.Generator) -> Ints:
    """ms since the epoch, (users, MAX_SESSIONS): near the usual hour, in order, 15 minutes apart or more."""
    people = world.people
    usual = (people.hour - people.utc_offset_min / 60)[:, None]
    hours = np.sort((usual + rng.normal(0, 2, (world.n_users, MAX_SESSIONS))) % 24, axis=1)
    start_ms = (hours / 24 * DAY_MS).astype(np.int64)
    for visit in range(MAX_SESSIONS):
        last_ms = DAY_MS - (MAX_SESSIONS - visit) * VISIT_GAP_MS
        start_ms[:, visit] = np.minimum(start_ms[:, visit], last_ms)
        if visit:
            start_ms[:, visit] = np.maximum(start_ms[:, visit], start_ms[:, visit - 1] + VISIT_GAP_MS)
    return START_MS + day * DAY_MS + start_ms


def _serve(logits: Doubles, who: Ints, allowed: Flags, rng: np.random.Generator) -> tuple[Ints, Doubles]:
    """Slates for n users: videos (-1 where nothing was left) and propensities, (n, SLATE) each."""
    videos = np.full((len(who), SLATE), -1)
    propensity = np.zeros((len(who), SLATE))
    each = np.arange(len(who))
    for slot in range(SLATE):
        chance = slot_distribution(logits, allowed)
        pick = _draw(chance, rng)
        videos[:, slot] = pick
        propensity[:, slot] = np.where(pick >= 0, chance[each, pick], 0)
        allowed[each[pick >= 0], pick[pick >= 0]] = False
    return videos, propensity


def _draw(chance: Doubles, rng: np.random.Generator) -> Ints:
    """One column of each row, by its probabilities; -1 where a row is all zero."""
    sums = chance.cumsum(axis=1)
    total = sums[:, -1]
    at = (sums <= (rng.random(len(chance)) * total)[:, None]).sum(axis=1)
    return np.where(total > 0, np.minimum(at, chance.shape[1] - 1), -1)


def _watch_slates(
    world: World,
    served: tuple[Ints, Doubles],
    who: Ints,
    request: Ints,
    start_ms: Ints,
    utility: Doubles,
    seen: Flags,
    rng: np.random.Generator,
) -> list[Rows]:
    """Impressions of all that was served, and events on those that people looked at."""
    rows: list[Rows] = []
    at_ms = start_ms.copy()
    looking = np.ones(len(who), np.bool_)
    for slot in range(SLATE):
        shown = np.flatnonzero(served[0][:, slot] >= 0)
        looking &= rng.random(len(who)) < (LOOKS_ON if slot else 1.0)
        acting = shown[looking[shown]]
        impression = np.full(len(shown), EVENT_CODES["impression"])
        nothing = np.full(len(shown), np.nan)
        rows.append(
            {
                **_slot_columns(served, slot, who, request, shown),
                "event": impression,
                "ts": at_ms[shown],
                "watch_s": nothing,
            }
        )
        events, spent_ms = _events(
            world, who[acting], served[0][acting, slot], at_ms[acting], utility, seen, rng
        )
        rows += [
            {**_slot_columns(served, slot, who, request, acting[index]), **event} for index, event in events
        ]
        at_ms[acting] += spent_ms
        at_ms += rng.integers(600, 1500, len(who))
    return rows


def _slot_columns(served: tuple[Ints, Doubles], slot: int, who: Ints, request: Ints, index: Ints) -> Rows:
    """What is known of a slot before anybody acts, for the slates at `index`."""
    return {
        "user": who[index],
        "video": served[0][index, slot],
        "request": request[index],
        "position": np.full(len(index), slot),
        "propensity": served[1][index, slot],
    }


def _search(
    world: World,
    who: Ints,
    start_ms: Ints,
    utility: Doubles,
    wanted: Doubles,
    out: Flags,
    seen: Flags,
    rng: np.random.Generator,
) -> list[Rows]:
    """Plays of what people look for by themselves after the slate, by a softmax of what they like."""
    rows: list[Rows] = []
    count = rng.poisson(SEARCHES, len(who))
    at_ms = start_ms + 120_000
    for turn in range(int(count.max(initial=0))):
        user, ms = who[count > turn], at_ms[count > turn]
        logits = np.where(out[None, :] & ~seen[user], wanted[user], -np.inf)
        best = logits.max(axis=1, keepdims=True)
        video = _draw(np.exp(logits - np.where(np.isfinite(best), best, 0)), rng)
        user, ms, video = user[video >= 0], ms[video >= 0], video[video >= 0]
        events, _ = _events(world, user, video, ms + turn * 20_000, utility, seen, rng)
        rows += [
            {
                "user": user[index],
                "video": video[index],
                "request": np.full(len(index), -1),
                "position": np.full(len(index), -1),
                "propensity": np.full(len(index), np.nan),
                **event,
            }
            for index, event in events
        ]
    return rows


def _events(
    world: World,
    user: Ints,
    video: Ints,
    at_ms: Ints,
    utility: Doubles,
    seen: Flags,
    rng: np.random.Generator,
) -> tuple[list[tuple[Ints, Rows]], Ints]:
    """First and second events of n people on one video each, with who did them, and the ms spent watching."""
    worth = utility[user, video]
    share = watch(worth, rng)
    first, second = react(worth, share, rng)
    watch_s = np.round(share * world.videos.duration_s[video], 2)
    spent_ms = (watch_s * 1000).astype(np.int64)
    also, later_ms = np.flatnonzero(second >= 0), at_ms + 300 + spent_ms
    for code in (first, second):
        done = (code >= 0) & seen_mask(code.astype(np.int64).clip(0).astype(np.uint8))
        seen[user[done], video[done]] = True
    return [
        (np.arange(len(user)), {"event": first, "ts": at_ms + 200, "watch_s": watch_s}),
        (also, {"event": second[also], "ts": later_ms[also], "watch_s": np.full(len(also), np.nan)}),
    ], spent_ms


def _plays(rows: list[Rows], n_videos: int) -> Doubles:
    """Plays of each video in these rows, (videos,)."""
    played = [part["video"][part["event"] == EVENT_CODES["play"]] for part in rows]
    return np.bincount(np.concatenate(played), minlength=n_videos).astype(np.float64)


def _frame(world: World, parts: list[Rows]) -> pl.DataFrame:
    """Rows in order of time as a frame of the interactions' columns."""
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((rows["event"], rows["position"], rows["user"], rows["ts"]))
    rows = {name: values[order] for name, values in rows.items()}
    people, videos, user = world.people, world.videos, rows["user"]
    served = rows["request"] >= 0
    return pl.DataFrame(
        {
            "event_id": [f"e{i:07d}" for i in range(len(user))],
            "user_id": np.array(people.ids)[user],
            "video_id": np.array(videos.ids)[rows["video"]],
            "event": np.array(EVENTS)[rows["event"]],
            "ts": pl.Series(rows["ts"]).cast(TS),
            "watch_s": pl.Series(rows["watch_s"].astype(np.float32)).fill_nan(None),
            "request_id": [f"r{r:07d}" if r >= 0 else None for r in rows["request"].tolist()],
            "position": pl.Series([p if p >= 0 else None for p in rows["position"].tolist()], dtype=pl.Int32),
            "policy": [POLICY if s else None for s in served.tolist()],
            "propensity": pl.Series(rows["propensity"]).fill_nan(None),
            "surface": np.where(served, "feed", "search"),
            "device": np.array(people.device)[user],
            "utc_offset_min": people.utc_offset_min[user].astype(np.int16),
        }
    )
