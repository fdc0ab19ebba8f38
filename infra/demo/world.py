"""The hidden world: topics, videos, creators and people with tastes that drift. No ranker reads any of it.

Every part has a random stream of its own: a world with more missing titles, or with planted conflicts, has
the same people, the same videos and the same log as one without.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import BadInput
from infra.demo.topics import ADJECTIVES, ENDINGS, TOPICS

WORLD_VERSION: Final = "1"
"""Goes up with any change of what a seed gives; figures of two versions are not comparable."""

START_MS: Final = 1_767_225_600_000
"""2026-01-01 00:00 UTC: the first midnight of every world, ms since the epoch."""

HELD_OUT_DAYS: Final = 3
"""The last days, kept for measuring; no video is published in them."""

CARRIES: Final = 0.3
"""A video carries a topic from this share of its mixture on."""

APPEAL_STRATA: Final = 12
"""So many videos that follow one another hold one of each twelfth of the range of appeal."""

APPEAL_CAP: Final = 2.0
"""Bound of appeal: no single video carries a world."""

BROKEN_KINDS: Final = ("zero", "truncated", "random")

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Videos:
    """All readable videos, column by column."""

    ids: tuple[str, ...]
    """`video_id`, (n,)."""
    mixture: Doubles
    """Share of each topic, rows sum to 1, (n, topics); one or two topics a video."""
    topic: Ints
    """The main topic, (n,)."""
    text_topic: Ints
    """Topic of title and tags, (n,); another one where a wrong title is planted."""
    sound_topic: Ints
    """Topic of the sound, (n,); another one where a wrong sound is planted."""
    titles: tuple[str | None, ...]
    """(n,); None where the title is missing."""
    tags: tuple[tuple[str, ...], ...]
    """(n,); empty where the title is missing."""
    has_sound: Flags
    """False where the file has no sound track, (n,)."""
    creator: Ints
    """Code of the creator, (n,)."""
    pace: Doubles
    """Speed of motion and beat, 0 slow to 1 fast, (n,)."""
    appeal: Doubles
    """What everybody likes or dislikes in it, about normal, within 2, (n,)."""
    duration_s: Doubles
    """Seconds, (n,), 4 to 6."""
    published_day: Doubles
    """Days after the world's start, (n,); negative before it."""


@dataclass(frozen=True, slots=True)
class People:
    """All users, column by column."""

    ids: tuple[str, ...]
    """`user_id`, (n,)."""
    interest: Doubles
    """Leaning to each topic at the start, logits, (n, topics)."""
    later_interest: Doubles
    """Leaning after the change of taste, (n, topics); equal to `interest` for those who never change."""
    change_day: Doubles
    """Middle of that change, days after the start, (n,)."""
    drift: Doubles
    """Slow drift of the leanings, logits a day, (n, topics)."""
    pace: Doubles
    """Pace they like, 0 to 1, (n,)."""
    favourite: Ints
    """Code of the creator they follow, (n,)."""
    sessions_per_day: Doubles
    """(n,)."""
    hour: Doubles
    """Usual local hour of a visit, (n,)."""
    utc_offset_min: Ints
    """(n,)."""
    device: tuple[str, ...]
    """(n,)."""


@dataclass(frozen=True, slots=True)
class Query:
    """Words for a planted topic that stand together in no title."""

    text: str
    topic: int


@dataclass(frozen=True)
class World:
    """Parameters of a world; all the rest follows from them, so equal parameters are equal worlds."""

    seed: int = 7
    n_videos: int = 120
    """Readable videos; broken files come on top."""
    n_users: int = 600
    days: int = 30
    missing_audio: float = 0.1
    """Share of videos without a sound track."""
    missing_title: float = 0.1
    """Share of videos without title and tags."""
    wrong_audio: float = 0.0
    """Share of videos with the sound of another topic."""
    wrong_title: float = 0.0
    """Share of videos with the title and tags of another topic."""
    n_broken: int = 3
    """Unreadable files, of the kinds in turn."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadInput(f"seed {self.seed} is negative; give 0 or more")
        for name, least in (("n_videos", 1), ("n_users", 1), ("days", HELD_OUT_DAYS + 2), ("n_broken", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}; a demo world needs at least {least}")
        for name in ("missing_audio", "missing_title", "wrong_audio", "wrong_title"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is {getattr(self, name)}; give a share from 0 to 1")

    @property
    def cut_day(self) -> int:
        """First held-out day."""
        return self.days - HELD_OUT_DAYS

    def stream(self, name: str) -> np.random.Generator:
        """The random stream of one part of this world."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    @cached_property
    def videos(self) -> Videos:
        return _make_videos(self)

    @cached_property
    def people(self) -> People:
        return _make_people(self)

    @cached_property
    def broken(self) -> tuple[tuple[str, str], ...]:
        """(`video_id`, kind) of each unreadable file."""
        kinds = [BROKEN_KINDS[i % len(BROKEN_KINDS)] for i in range(self.n_broken)]
        return tuple((f"broken-{i + 1:02d}", kind) for i, kind in enumerate(kinds))

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """Six queries a topic, each of two words that never stand in one title."""
        return tuple(
            Query(f"{topic.words[i]} {topic.words[i + 1]}", code)
            for code, topic in enumerate(TOPICS)
            for i in range(0, len(topic.words), 2)
        )


def creator_count(n_videos: int) -> int:
    """How many people upload that many videos."""
    return max(len(TOPICS), n_videos // 6)


def _make_videos(world: World) -> Videos:
    n, rng = world.n_videos, world.stream("videos")
    creators = creator_count(n)
    creator_pace = rng.beta(2, 2, creators)
    creator = rng.integers(0, creators, n)
    topic = np.where(rng.random(n) < 0.85, creator % len(TOPICS), rng.integers(0, len(TOPICS), n))
    pace = np.clip(creator_pace[creator] + rng.normal(0, 0.12, n), 0, 1)
    mixture = _mixtures(topic, rng)
    duration_s = np.round(rng.uniform(4, 6, n) * 4) / 4
    published_day = _published(world, rng)
    appeal = _appeal(published_day, rng)
    text_topic = _planted(topic, world.wrong_title, world.stream("wrong title"))
    untitled = world.stream("missing title").random(n) < world.missing_title
    titles, tags = _texts(mixture, topic, text_topic, pace, world.stream("titles"))
    return Videos(
        ids=tuple(f"clip-{i + 1:04d}" for i in range(n)),
        mixture=mixture,
        topic=topic,
        text_topic=text_topic,
        sound_topic=_planted(topic, world.wrong_audio, world.stream("wrong sound")),
        titles=tuple(None if gone else title for gone, title in zip(untitled, titles, strict=True)),
        tags=tuple(() if gone else said for gone, said in zip(untitled, tags, strict=True)),
        has_sound=world.stream("missing sound").random(n) >= world.missing_audio,
        creator=creator,
        pace=pace,
        appeal=appeal,
        duration_s=duration_s,
        published_day=published_day,
    )


def _mixtures(topic: Ints, rng: np.random.Generator) -> Doubles:
    """One topic in most videos; in three of ten a second one with a share of 0.3 to 0.45."""
    n = len(topic)
    other = (topic + rng.integers(1, len(TOPICS), n)) % len(TOPICS)
    share = np.where(rng.random(n) < 0.3, rng.uniform(CARRIES, 0.45, n), 0.0)
    mixture = np.zeros((n, len(TOPICS)))
    mixture[np.arange(n), topic] = 1 - share
    mixture[np.arange(n), other] += share
    return mixture


def _published(world: World, rng: np.random.Generator) -> Doubles:
    """Half before the first day, half evenly over the first four fifths of the days before the cut."""
    n = world.n_videos
    fresh = rng.random(n) < 0.5
    return np.where(fresh, rng.uniform(0, 0.8 * world.cut_day, n), rng.uniform(-60, 0, n))


def _appeal(published_day: Doubles, rng: np.random.Generator) -> Doubles:
    """Quantiles of a bounded normal, spread evenly over time: hits come at a steady pace in every world.

    Without that, popularity is a good ranker in those worlds where a great hit happens to come late.
    """
    n = len(published_day)
    blocks = -(-n // APPEAL_STRATA)
    strata = np.concatenate([rng.permutation(APPEAL_STRATA) for _ in range(blocks)])[:n]
    within = (np.concatenate([rng.permutation(blocks) for _ in range(APPEAL_STRATA)])[:n] + 0.5) / blocks
    normal = np.array([NormalDist().inv_cdf(float(q)) for q in (strata + within) / APPEAL_STRATA])
    appeal = np.empty(n)
    appeal[np.argsort(published_day, kind="stable")] = APPEAL_CAP * np.tanh(normal / APPEAL_CAP)
    return appeal


def _planted(topic: Ints, share: float, rng: np.random.Generator) -> Ints:
    """The topics, but another for a share of the videos; a larger share keeps a smaller one's choices."""
    wrong = rng.random(len(topic)) < share
    other = (topic + rng.integers(1, len(TOPICS), len(topic))) % len(TOPICS)
    return np.where(wrong, other, topic)


def _texts(
    mixture: Doubles, topic: Ints, text_topic: Ints, pace: Doubles, rng: np.random.Generator
) -> tuple[list[str], list[tuple[str, ...]]]:
    titles: list[str] = []
    tags: list[tuple[str, ...]] = []
    for row, main in enumerate(text_topic):
        second = [t for t in np.flatnonzero(mixture[row] >= CARRIES) if t != topic[row]]
        words = _title_words(int(main), rng)
        if second and main == topic[row]:
            words[-1] = str(rng.choice(TOPICS[int(second[0])].words))
        titles.append(_title(words, float(pace[row]), rng))
        tags.append(TOPICS[int(main)].tags[: 1 + int(rng.random() < 0.4)])
    return titles, tags


def _title_words(topic: int, rng: np.random.Generator) -> list[str]:
    """Two or three words of a topic, never both of a pair that is kept for queries."""
    words = TOPICS[topic].words
    pairs = rng.permutation(len(words) // 2)[: 2 + int(rng.random() < 0.5)]
    return [words[2 * int(pair) + int(rng.integers(2))] for pair in pairs]


def _title(words: list[str], pace: float, rng: np.random.Generator) -> str:
    adjective = str(rng.choice(ADJECTIVES[min(int(pace * 3), 2)]))
    ending = str(rng.choice(ENDINGS))
    if len(words) == 3:
        text = f"{adjective} {words[0]} and {words[1]}, {words[2]} {ending}"
    else:
        joint = str(rng.choice(["and", "meets", "under the", "near the"]))
        text = f"{adjective} {words[0]} {joint} {words[1]} {ending}"
    return text[0].upper() + text[1:]


def _make_people(world: World) -> People:
    n, rng = world.n_users, world.stream("people")
    topics = len(TOPICS)
    interest = _interests(n, rng)
    changes = rng.random(n) < 0.15
    later = np.where(changes[:, None], _interests(n, rng), interest)
    offsets = np.array([-300, 0, 60, 120, 330, 540])
    devices = np.array(["phone", "tablet", "desktop", "tv"])
    return People(
        ids=tuple(f"user-{i + 1:04d}" for i in range(n)),
        interest=interest,
        later_interest=later,
        change_day=rng.uniform(0.15, 0.55, n) * world.days,
        drift=rng.normal(0, 0.02, (n, topics)),
        pace=rng.beta(2, 2, n),
        favourite=_favourites(world, interest, rng),
        sessions_per_day=np.clip(rng.gamma(6.0, 0.085, n), 0.15, 1.5),
        hour=rng.choice([8.0, 12.5, 18.0, 21.0], n, p=[0.2, 0.2, 0.25, 0.35]),
        utc_offset_min=rng.choice(offsets, n, p=[0.2, 0.2, 0.25, 0.15, 0.1, 0.1]),
        device=tuple(str(d) for d in rng.choice(devices, n, p=[0.65, 0.1, 0.2, 0.05])),
    )


def _interests(n: int, rng: np.random.Generator) -> Doubles:
    """Logits of leanings: two or three topics that matter, some topics dearer to the world than others."""
    worldwide = np.linspace(0.4, -0.4, len(TOPICS))[rng.permutation(len(TOPICS))]
    return np.asarray(np.log(rng.gamma(0.35, 1.0, (n, len(TOPICS))) + 1e-3) + worldwide)


def _favourites(world: World, interest: Doubles, rng: np.random.Generator) -> Ints:
    """A creator who mostly uploads in the user's dearest topic."""
    creators, topics = creator_count(world.n_videos), len(TOPICS)
    dearest = interest.argmax(axis=1)
    of_topic = np.maximum((creators - dearest + topics - 1) // topics, 1)
    return np.asarray(dearest + topics * rng.integers(0, of_topic))
