"""How much memory a deployment of so many users and videos needs, from what one of each was measured at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.activity_board import KEPT_S
from features.errors import BadInput
from features.memory.cost import Cost, Measured, buckets
from features.store import EXPOSURES_KEPT, OUTBOX_KEPT
from features.wire.scripts import DEDUPE_WINDOW_S
from features.wire.store_keys import EXPOSURE_SHARDS, USER_SHARDS

DAY_S: Final = 86_400
DRAIN_S: Final = 60
"""How often the streams are drained."""

MARGIN: Final = 0.10
"""Added to what is measured in the upper bound: allocators and servers differ."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to be planned for."""

    users: int
    videos: int
    events_a_day: float = 10.0
    """Of one user, impressions included."""
    slates_a_day: float = 2.0
    """Of one user."""
    replicas: int = 1
    """Copies of the Redis besides itself."""

    def __post_init__(self) -> None:
        for name, least in (
            ("users", 0),
            ("videos", 0),
            ("events_a_day", 0),
            ("slates_a_day", 0),
            ("replicas", 0),
        ):
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be at least {least}")

    @property
    def window_events(self) -> int:
        """Events of one user whose identities are kept."""
        return round(self.events_a_day * DEDUPE_WINDOW_S / DAY_S)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that needs memory."""

    name: str
    usual: float
    """On an ordinary day, bytes."""
    most: float
    """At worst, bytes."""
    why: str
    """What the worst is."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The memory of one Redis that holds all."""

    parts: tuple[Part, ...]
    held: Cost
    """Server, users and videos alone, as Redis would report them."""
    redis: float
    """On an ordinary day, bytes."""
    redis_most: float
    """Upper bound: at worst, a table being resized, and MARGIN, bytes."""
    with_replicas: float
    """The upper bound for the Redis and its replicas, bytes."""
    events_bound: float
    """Events that the outboxes hold before they refuse, bytes."""
    slates_bound: float
    """Slates that the streams hold before the oldest are dropped, bytes."""
    hours_to_bound: float
    """Without a drain until the outboxes are full; infinite without events."""


def forecast_memory(measured: Measured, plan: Deployment) -> Forecast:
    """The memory of a deployment, in bytes.

    Args:
        measured: of users like its own, with its `window_events`.
        plan: the deployment.
    """
    held = held_by(measured, plan.users, plan.videos)
    identities = Cost(measured.identities, 0, 1, 1).times(plan.users if plan.window_events else 0)
    keys, expiring = held.keys + identities.keys, held.expiring + identities.expiring
    tables = buckets(keys) + buckets(expiring)
    parts = (
        _same("server", measured.base.used),
        _same("users: records", measured.user.used * plan.users),
        _same("users: identities of 48 h", identities.used),
        _rows(measured, plan),
        _activity(measured, plan),
        _stream("events on their way", measured.event, plan.users * plan.events_a_day, _events_kept()),
        _stream("slates on their way", measured.slate, plan.users * plan.slates_a_day, _slates_kept()),
        # While a table grows the old one stays beside the new, which has twice its size.
        Part("hash tables", tables, tables * 3, "all grow at once"),
    )
    usual, most = sum(part.usual for part in parts), sum(part.most for part in parts) * (1 + MARGIN)
    a_day = plan.users * plan.events_a_day
    return Forecast(
        parts, held, usual, most, most * (1 + plan.replicas),
        _events_kept() * measured.event, _slates_kept() * measured.slate,
        24 * _events_kept() / a_day if a_day else float("inf"),
    )  # fmt: skip


def held_by(measured: Measured, users: int, videos: int) -> Cost:
    """What Redis reports with so many users and videos loaded, and nothing else."""
    rows = measured.video.times(videos).plus(measured.load.times(1 if videos else 0))
    return measured.base.plus(measured.user.times(users)).plus(rows)


def _same(name: str, held: float) -> Part:
    return Part(name, held, held, "")


def _rows(measured: Measured, plan: Deployment) -> Part:
    once = (measured.video.used * plan.videos + measured.load.used) if plan.videos else 0.0
    return Part("videos: feature rows", once, 2 * once, "two loads, while workers change over")


def _activity(measured: Measured, plan: Deployment) -> Part:
    hours = KEPT_S / 3600
    most = hours * plan.videos
    usual = min(most, plan.users * plan.events_a_day * hours / 24)
    return Part(
        "videos: activity", usual * measured.activity, most * measured.activity, "every video every hour"
    )


def _stream(name: str, each: float, a_day: float, kept: int) -> Part:
    usual = min(a_day * DRAIN_S / DAY_S, kept)
    return Part(name, usual * each, min(a_day, kept) * each, "a day without a drain")


def _events_kept() -> int:
    return OUTBOX_KEPT * USER_SHARDS


def _slates_kept() -> int:
    return EXPOSURES_KEPT * EXPOSURE_SHARDS
