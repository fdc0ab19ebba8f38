"""The v1 endpoints: what comes over the wire handed to the stages, and their answers handed back."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from features.contracts import EVENTS
from features.errors import NotFound
from features.merging import merge_users
from serving.desk import Desk
from serving.expose import log_exposure
from serving.feedback import accept_events
from serving.live import Live
from serving.parse import ARM
from serving.pipeline import Answer, recommend_slate
from serving.present import Slate, Video, present_video
from serving.problems import request_id_of
from serving.requests import (
    DEFAULT_K,
    EventsRequest,
    Id,
    K,
    MergeRequest,
    Modality,
    RecommendationRequest,
    SearchRequest,
    Text,
)
from serving.search import Found, search_videos, similar_videos

router = APIRouter(prefix="/v1")


class Feedback(BaseModel):
    """What became of the events."""

    request_id: str
    accepted: int
    duplicates: int
    """The same event again: it changed nothing."""
    conflicts: int
    """Another event under an `event_id` that was used: set aside."""
    excess: int
    """Of the accepted, those beyond the rate limit: logged, and counted nowhere."""


class Merged(BaseModel):
    """What became of a merge."""

    request_id: str
    moved: bool
    """False where there was nothing left to move."""


class Hit(Video):
    """One video that was found."""

    score: float
    matched: list[str]


class HitList(BaseModel):
    """Videos that were found."""

    request_id: str
    bundle: str
    arm: str
    served_by: str
    aligned: bool | None
    """Whether words were compared with pictures and sounds too; null where meaning was not asked."""
    items: list[Hit]
    notes: list[str]
    timings_ms: dict[str, float]


class _Query(BaseModel):
    """Base of query strings: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class SlateQuery(_Query):
    """Query string of a user's slate."""

    k: K = DEFAULT_K
    explain: bool = False
    include_seen: bool = False
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    utc_offset_min: Annotated[int, Field(ge=-840, le=840)] = 0
    device: Annotated[Text, Field(max_length=64)] | None = None


class SimilarQuery(_Query):
    """Query string of similar videos."""

    k: K = DEFAULT_K
    by: Modality = "joint"


class SampleQuery(_Query):
    """Query string of lists."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50


@router.post("/recommendations", response_model=Slate)
async def recommendations(
    request: Request, body: RecommendationRequest, after: BackgroundTasks
) -> JSONResponse:
    """One personal slate: for a known user, or for a visitor with the history given in the body."""
    return await _slate(request, body, after)


@router.get("/users/{user_id:path}/recommendations", response_model=Slate)
async def user_recommendations(
    request: Request, user_id: Id, query: Annotated[SlateQuery, Query()], after: BackgroundTasks
) -> JSONResponse:
    """One personal slate for a user."""
    body = RecommendationRequest.model_validate(
        {
            "user_id": user_id,
            "k": query.k,
            "explain": query.explain,
            "include_seen": query.include_seen,
            "diversity": query.diversity,
            "context": {"utc_offset_min": query.utc_offset_min, "device": query.device},
        }
    )
    return await _slate(request, body, after)


@router.post("/events", response_model=Feedback)
async def events(request: Request, body: EventsRequest) -> JSONResponse:
    """Accepts events of one user, all or none; they change that user's very next slate."""
    live = _live(request)
    counts = await live.slates.run(accept_events, body, live.desk, live.kitchen, live.now_ms())
    return JSONResponse({"request_id": request_id_of(request), **counts})


@router.post("/users/{user_id:path}/merge", response_model=Merged)
async def merge(request: Request, user_id: Id, body: MergeRequest) -> JSONResponse:
    """Moves all that is known of a visitor to a known user; sent twice, it happens once."""
    live = _live(request)
    moved = await live.pages.run(merge_users, live.workspace, live.store, body.source, user_id)
    return JSONResponse({"request_id": request_id_of(request), "moved": bool(moved)})


@router.get("/users")
async def users(request: Request, query: Annotated[SampleQuery, Query()]) -> JSONResponse:
    """Users with the most events in the workspace's log."""
    live = _live(request)
    found = await live.pages.run(live.users, query.limit)
    return JSONResponse({"request_id": request_id_of(request), "users": found})


@router.get("/users/{user_id:path}/history")
async def history(request: Request, user_id: Id, query: Annotated[SampleQuery, Query()]) -> JSONResponse:
    """The user's latest events, newest first, as the next slate will see them, and the server's time."""
    live = _live(request)
    items = await live.pages.run(_history, live, user_id, query.limit)
    said = {"request_id": request_id_of(request), "user_id": user_id, "now_ms": live.now_ms(), "items": items}
    return JSONResponse(said)


@router.post("/search", response_model=HitList)
async def search(request: Request, body: SearchRequest) -> JSONResponse:
    """Videos for words, by meaning and by title."""
    live, began = _live(request), time.perf_counter()
    desk = live.desk
    found = await live.pages.run(search_videos, desk, body.text, body.k)
    return _hits(request, desk, found, began)


@router.get("/videos/{video_id:path}/similar", response_model=HitList)
async def similar(request: Request, video_id: Id, query: Annotated[SimilarQuery, Query()]) -> JSONResponse:
    """Videos like this one, by all modalities or one."""
    live, began = _live(request), time.perf_counter()
    desk = live.desk
    hits = await live.pages.run(similar_videos, desk, video_id, query.by, query.k)
    return _hits(request, desk, Found(hits, query.by), began)


@router.get("/videos/{video_id:path}", response_model=Video)
async def video(request: Request, video_id: Id) -> JSONResponse:
    """One video of the bundle in service."""
    desk = _live(request).desk
    row = desk.row_of_id(video_id)
    if row < 0:
        raise NotFound(f"no video {video_id!r} in bundle {desk.name}")
    return JSONResponse(
        {**present_video(desk, row), "request_id": request_id_of(request), "bundle": desk.name}
    )


@router.get("/report")
async def report(request: Request) -> JSONResponse:
    """Where the newest offline A/B report is; null where there is none yet."""
    live = _live(request)
    name = await live.pages.run(_newest_report, live)
    url = None if name is None else f"/reports/{name}"
    return JSONResponse({"request_id": request_id_of(request), "name": name, "url": url})


async def _slate(request: Request, body: RecommendationRequest, after: BackgroundTasks) -> JSONResponse:
    live, request_id = _live(request), request_id_of(request)
    desk = live.desk
    answer: Answer = await live.slates.run(
        recommend_slate, body, desk, live.kitchen, request_id, live.now_ms()
    )
    if answer.ask.store and answer.body["items"]:
        after.add_task(live.slates.run, log_exposure, answer, desk, live.kitchen)
    return JSONResponse(answer.body, background=after)


def _hits(request: Request, desk: Desk, found: Found, began: float) -> JSONResponse:
    hits = found.hits
    items = [
        {**present_video(desk, row), "score": round(score, 6), "matched": list(matched)}
        for row, score, matched in zip(hits.rows.tolist(), hits.scores.tolist(), hits.matched, strict=True)
    ]
    body: dict[str, Any] = {
        "request_id": request_id_of(request),
        "bundle": desk.name,
        "arm": ARM,
        "served_by": found.served_by,
        "aligned": found.aligned,
        "items": items,
        "notes": list(found.notes),
        "timings_ms": {"total": round((time.perf_counter() - began) * 1e3, 3)},
    }
    return JSONResponse(body)


def _history(live: Live, user_id: str, limit: int) -> list[dict[str, Any]]:
    desk = live.desk
    past = live.kitchen.breaker.call(lambda: live.store.read_user(user_id)).histories
    length = min(int(past.lengths[0]), limit)
    rows = desk.videos.rows_of(past.video_keys[0, :length])
    return [
        {**present_video(desk, row), "event": EVENTS[event], "ts_ms": ts_ms or None}
        for row, event, ts_ms in zip(
            rows.tolist(), past.events[0, :length].tolist(), past.ts_ms[0, :length].tolist(), strict=True
        )
        if row >= 0
    ]


def _newest_report(live: Live) -> str | None:
    found = sorted((live.workspace.root / "reports").glob("*/report.html"), key=lambda p: p.stat().st_mtime)
    return found[-1].parent.name if found else None


def _live(request: Request) -> Live:
    live = request.app.state.live
    assert isinstance(live, Live)
    return live
