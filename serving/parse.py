"""First stage of a slate: the request's words turned into what the stages compute with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from features.contracts import EVENT_CODES, Context, Histories
from features.errors import NotFound
from serving.desk import Desk, Rows
from serving.problems import FieldError
from serving.requests import Event, EventsRequest, PastEvent, RecommendationRequest
from serving.settings import ServeSettings

ARM: Final = "default"
"""The experiment arm of every request: there is one."""

CLOCK_SKEW_MS: Final = 300_000
"""How far ahead of our clock a caller's clock may be, ms."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a slate, understood."""

    request_id: str
    arm: str
    user_id: str | None
    """None for an anonymous visitor, and where nothing personal may be used."""
    given: Histories
    """History that the request brought along, (1, h); empty where it did not."""
    context: Context
    """Of one request."""
    k: int
    candidates: int
    """How many videos to retrieve."""
    excluded: Rows
    """Rows not to return."""
    country: str | None
    age: int | None
    surface: str | None
    diversity: float
    explain: bool
    include_seen: bool
    store: bool
    """Whether anything of this request may be kept."""
    notes: tuple[str, ...]
    """What was ignored, in words."""

    @property
    def now_ms(self) -> int:
        return int(self.context.now_ms[0])


def parse_request(
    body: RecommendationRequest, desk: Desk, settings: ServeSettings, request_id: str, now_ms: int
) -> Ask:
    """The request, understood; unknown videos in it are ignored and counted in the notes.

    Raises:
        FieldError: both a user and a history are given, or a history lies in the future.
    """
    if body.user_id is not None and body.history is not None:
        raise FieldError("history", "give a user_id or a history, not both; a known user's history is stored")
    past = body.history if body.history is not None and body.personalise else []
    given, unknown = _given_history(past, desk, now_ms)
    excluded = np.array([desk.row_of_id(i) for i in body.exclude], np.int32)
    return Ask(
        request_id=request_id,
        arm=ARM,
        user_id=body.user_id if body.personalise else None,
        given=given,
        context=Context(
            np.array([now_ms], np.int64),
            np.array([body.context.utc_offset_min], np.int16),
            (body.context.device,) if body.context.device else (),
            (body.context.surface,) if body.context.surface else (),
        ),
        k=body.k,
        candidates=settings.candidates + len(excluded),
        excluded=excluded[excluded >= 0],
        country=body.context.country.upper() if body.context.country else None,
        age=body.context.age,
        surface=body.context.surface,
        diversity=settings.diversity if body.diversity is None else body.diversity,
        explain=body.explain,
        include_seen=body.include_seen,
        store=body.personalise,
        notes=tuple(_notes(unknown, int((excluded < 0).sum()))),
    )


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event with its key and instant, ready to be accepted."""

    event: Event
    video_key: int
    ts_ms: int


def parse_events(body: EventsRequest, desk: Desk, now_ms: int) -> list[ParsedEvent]:
    """The events with keys and instants.

    Raises:
        NotFound: a video is unknown to the bundle in service.
        FieldError: an event lies in the future.
    """
    parsed: list[ParsedEvent] = []
    for place, event in enumerate(body.events):
        row = desk.row_of_id(event.video_id)
        if row < 0:
            raise NotFound(f"events[{place}].video_id: no video {event.video_id!r} in bundle {desk.name}")
        ts_ms = _instant(event.ts, now_ms, f"events[{place}].ts")
        parsed.append(ParsedEvent(event, int(desk.videos.keys[row]), ts_ms))
    return parsed


def _given_history(past: list[PastEvent], desk: Desk, now_ms: int) -> tuple[Histories, int]:
    """The known part of a history, newest first, and how many videos of it are unknown."""
    ordered = [
        (_instant(e.ts, now_ms, f"history[{place}].ts") if e.ts else 0, place, e, desk.row_of_id(e.video_id))
        for place, e in enumerate(past)
    ]
    if all(e.ts for e in past):
        ordered.sort(key=lambda item: item[:2])
    known = [(ts, e, row) for ts, _, e, row in reversed(ordered) if row >= 0]
    if not known:
        return Histories.empty(1), len(past)
    history = Histories(
        desk.videos.keys[[row for _, _, row in known]][None, :],
        np.array([[EVENT_CODES[e.event] for _, e, _ in known]], np.uint8),
        np.array([[ts for ts, _, _ in known]], np.int64),
        np.array([[np.nan if e.watch_s is None else e.watch_s for _, e, _ in known]], np.float32),
        np.array([len(known)], np.int32),
    )
    return history, len(past) - len(known)


def _instant(ts: datetime | None, now_ms: int, field: str) -> int:
    if ts is None:
        return now_ms
    ts_ms = round(ts.timestamp() * 1000)
    if ts_ms > now_ms + CLOCK_SKEW_MS:
        raise FieldError(field, f"{ts.isoformat()} lies in the future; the server's clock allows 5 minutes")
    if ts_ms <= 0:
        raise FieldError(field, f"{ts.isoformat()} lies before 1970")
    return min(ts_ms, now_ms)


def _notes(unknown_history: int, unknown_excluded: int) -> list[str]:
    told = ((unknown_history, "history"), (unknown_excluded, "exclude"))
    return [
        f"{count} video(s) in {field} are unknown here and were ignored" for count, field in told if count
    ]
