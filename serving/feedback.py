"""Events on their way in: checked as a whole, accepted in one atomic step; a repeat changes nothing."""

from __future__ import annotations

import hashlib
from typing import Any

from features.packing import AcceptedEvent
from features.store import Accepted, OutboxFull
from serving.desk import Desk
from serving.metrics import EVENTS, Metrics
from serving.parse import ParsedEvent, parse_events
from serving.pipeline import Kitchen
from serving.requests import EventsRequest


def accept_events(body: EventsRequest, desk: Desk, kitchen: Kitchen, now_ms: int) -> dict[str, int]:
    """What became of the events: accepted, duplicates, conflicts; `excess` of the accepted count nowhere.

    Raises:
        NotFound: a video is unknown; nothing was accepted.
        FieldError: an event lies in the future; nothing was accepted.
        Erased: the user was deleted.
        OutboxFull: no drain runs; slates go on being made as ever.
        StoreUnavailable: Redis does not answer; the sender repeats, and what has arrived counts once.
    """
    parsed = parse_events(body, desk, now_ms)
    events = [_accepted(body, p) for p in parsed]
    # A recorded world has a clock of its own; elsewhere events arrive by the clock of Redis.
    now = now_ms if kitchen.settings.clock_shift_ms else None

    def send() -> Accepted | OutboxFull:
        try:
            return kitchen.store.accept_events(body.user_id, events, now_ms=now)
        except OutboxFull as error:  # as a value: the breaker would keep slates from a Redis that is well
            return error

    done = kitchen.breaker.call(send)
    if isinstance(done, OutboxFull):
        raise done
    counts = {
        "accepted": done.accepted,
        "duplicates": done.duplicates,
        "conflicts": done.conflicts,
        "excess": done.excess,
    }
    _count(kitchen.metrics, counts)
    return counts


def _accepted(body: EventsRequest, parsed: ParsedEvent) -> AcceptedEvent:
    event, given = parsed.event, body.context
    extra: dict[str, Any] = {
        "position": event.position,
        "surface": event.surface or given.surface,
        "device": given.device,
        "country": given.country,
        "utc_offset_min": given.utc_offset_min or None,
    }
    return AcceptedEvent(
        event_id=event.event_id or _identity(body.user_id, parsed),
        video_key=parsed.video_key,
        video_id=event.video_id,
        event=event.event,
        ts_ms=_said_ms(parsed),
        watch_s=event.watch_s,
        request_id=event.request_id,
        extra={name: value for name, value in extra.items() if value is not None},
        ts_given=event.ts is not None,
    )


def _identity(user_id: str, parsed: ParsedEvent) -> str:
    """Identity of an event whose sender gave none: the same user, video, time and kind are the same event."""
    parts = (user_id, parsed.event.video_id, str(_said_ms(parsed)), parsed.event.event)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _said_ms(parsed: ParsedEvent) -> int:
    """When it happened by the sender's clock, ms since the epoch, whatever that says: so do repeats.

    The store moves what lies in the future to its arrival.
    """
    said = parsed.event.ts
    return parsed.ts_ms if said is None else round(said.timestamp() * 1000)


def _count(metrics: Metrics, counts: dict[str, int]) -> None:
    for outcome, number in counts.items():
        metrics.count(EVENTS, outcome, by=number)
