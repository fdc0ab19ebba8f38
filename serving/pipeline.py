"""One request in, one slate out, inside a time budget; this page is the order of the stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from features.contracts import Histories, UserCounters
from features.store import Store
from serving.degrade import Breaker, first_that_works
from serving.desk import Desk
from serving.diversify import Picked, diversify
from serving.eligible import apply_rules, keep_eligible, unseen
from serving.fetch_user import Visitor, fetch_user
from serving.metrics import SLATE_SECONDS, SLATES, STAGE_SECONDS, Metrics
from serving.parse import Ask, parse_request
from serving.present import present_items
from serving.requests import RecommendationRequest
from serving.retrieve import retrieve_candidates
from serving.score import score_candidates
from serving.settings import ServeSettings
from serving.timing import Stopwatch


@dataclass(frozen=True, slots=True)
class Kitchen:
    """What a worker makes slates with, whichever bundle is on the desk."""

    settings: ServeSettings
    store: Store
    breaker: Breaker
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Made:
    """A slate on its way out."""

    picked: Picked
    items: list[dict[str, Any]]
    retrieved: int
    removed: dict[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the caller, and what is remembered of it."""

    body: dict[str, Any]
    ask: Ask
    picked: Picked
    bundle: str
    served_by: str
    latency_ms: float
    history_ms: int
    """When the newest event arrived that the slate knew of the visitor, ms since the epoch; 0 for none."""


def recommend_slate(
    body: RecommendationRequest, desk: Desk, kitchen: Kitchen, request_id: str, now_ms: int
) -> Answer:
    """The slate for one request: the best rung of the ladder that works.

    Raises:
        FieldError: the request contradicts itself.
    """
    watch = Stopwatch(kitchen.settings.budget_ms)
    with watch.stage("parse"):
        ask = parse_request(body, desk, kitchen.settings, request_id, now_ms)
    with watch.stage("fetch_user"):
        visitor = fetch_user(kitchen.store, kitchen.breaker, ask)
    served = first_that_works(
        (
            ("full", lambda: full_slate(desk, kitchen.settings, ask, visitor, watch)),
            ("popular", lambda: popular_slate(desk, ask, visitor, watch)),
            ("static", lambda: static_slate(desk, ask)),
        ),
        request_id,
    )
    answer = _answer(served.value, served.served_by, served.reasons, desk, ask, visitor, watch)
    _measure(kitchen.metrics, answer, watch)
    return answer


def full_slate(desk: Desk, settings: ServeSettings, ask: Ask, visitor: Visitor, watch: Stopwatch) -> Made:
    """The personal slate: every stage, in order.

    Raises:
        RecError: the visitor's history could not be read.
        OutOfTime: the budget was spent before a stage.
    """
    if visitor.lost is not None:
        raise visitor.lost
    watch.check("retrieval")
    with watch.stage("retrieve"):
        candidates = retrieve_candidates(desk, visitor, ask)
    with watch.stage("filter"):
        eligible = keep_eligible(candidates, desk.shelf, ask)
    watch.check("scoring")
    with watch.stage("score"):
        scored = score_candidates(eligible, desk, visitor, ask)
    with watch.stage("diversify"):
        content, creators = desk.bundle.content, desk.videos.creators
        picked = diversify(scored, content, creators, ask.k, ask.diversity, settings.creator_cap)
    with watch.stage("present"):
        items = present_items(desk, picked, visitor, ask)
    return Made(picked, items, eligible.retrieved, eligible.removed)


def popular_slate(desk: Desk, ask: Ask, visitor: Visitor, watch: Stopwatch) -> Made:
    """The most popular videos that this visitor may see and, as far as is known, has not seen."""
    with watch.stage("popular"):
        rows = desk.popular
        if not ask.include_seen:
            rows = rows[unseen(rows, desk.videos, visitor.histories)]
        keep, removed = apply_rules(rows, desk.shelf, ask)
        picked = _in_order(rows[keep][: ask.k], "popular")
        nobody = Visitor(Histories.empty(1), UserCounters.empty(1))
        items = present_items(desk, picked, nobody, ask)
    return Made(picked, items, len(rows), removed)


def static_slate(desk: Desk, ask: Ask) -> Made:
    """The head of the popularity list as it was loaded, less what must not be shown, with no model at all."""
    keep, removed = apply_rules(desk.popular, desk.shelf, ask)
    picked = _in_order(desk.popular[keep][: ask.k], "static")
    items = present_items(desk, picked, None, ask)
    return Made(picked, items, len(desk.popular), removed)


def _in_order(rows: np.ndarray[Any, np.dtype[np.int32]], source: str) -> Picked:
    """Rows that come in order, with scores that say no more than that."""
    scores = (1 / np.arange(1, len(rows) + 1)).astype(np.float32)
    return Picked(rows, scores, ((source,),) * len(rows))


def _answer(
    made: Made,
    served_by: str,
    degraded: tuple[str, ...],
    desk: Desk,
    ask: Ask,
    visitor: Visitor,
    watch: Stopwatch,
) -> Answer:
    notes = list(ask.notes)
    if len(made.items) < ask.k:
        fell = ", ".join(f"{count} {name}" for name, count in made.removed.items())
        notes.append(
            f"{len(made.items)} of {ask.k} videos: {made.retrieved} unseen candidates were found"
            + (f", of which were removed: {fell}" if fell else "")
        )
    latency_ms = watch.elapsed_ms()
    body = {
        "request_id": ask.request_id,
        "bundle": desk.name,
        "arm": ask.arm,
        "served_by": served_by,
        "degraded": list(degraded),
        "items": made.items,
        "notes": notes,
        "retrieved": made.retrieved,
        "removed": made.removed,
        "timings_ms": {**{k: round(v, 3) for k, v in watch.stages_ms.items()}, "total": round(latency_ms, 3)},
    }
    return Answer(body, ask, made.picked, desk.name, served_by, latency_ms, visitor.received_ms)


def _measure(metrics: Metrics, answer: Answer, watch: Stopwatch) -> None:
    for stage, spent_ms in watch.stages_ms.items():
        metrics.observe(STAGE_SECONDS, spent_ms / 1e3, stage)
    metrics.observe(SLATE_SECONDS, answer.latency_ms / 1e3, answer.served_by)
    metrics.count(SLATES, answer.served_by)
