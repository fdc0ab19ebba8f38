"""Last stage before the answer: rows of the bundle turned into what a caller reads."""

from __future__ import annotations

import math
from typing import Any, TypedDict

from pydantic import BaseModel

from ranker.explain import explain
from serving.desk import Desk
from serving.diversify import Picked
from serving.fetch_user import Visitor
from serving.parse import Ask


class Video(BaseModel):
    """One video as the API shows it."""

    video_id: str
    title: str | None
    creator_id: str | None
    duration_s: float | None
    published_at_ms: int | None
    tags: list[str]
    modalities: list[str]
    thumbnail: str
    preview: str
    media: str | None


class Item(Video):
    """One video of a slate."""

    position: int
    score: float
    sources: list[str]
    propensity: float
    reasons: list[str]


class Slate(BaseModel):
    """One slate."""

    request_id: str
    bundle: str
    arm: str
    served_by: str
    degraded: list[str]
    items: list[Item]
    notes: list[str]
    retrieved: int
    removed: dict[str, int]
    timings_ms: dict[str, float]


class VideoFields(TypedDict):
    """A `Video` as plain values: what is sent, without the cost of checking what we made."""

    video_id: str
    title: str | None
    creator_id: str | None
    duration_s: float | None
    published_at_ms: int | None
    tags: list[str]
    modalities: list[str]
    thumbnail: str
    preview: str
    media: str | None


def present_video(desk: Desk, row: int) -> VideoFields:
    """One row of the bundle as a caller reads it."""
    videos, key = desk.videos, int(desk.videos.keys[row])
    duration, published = float(videos.duration_s[row]), int(videos.published_ms[row])
    mask = int(videos.mask[row])
    return {
        "video_id": videos.ids[row],
        "title": desk.shelf.titles[row],
        "creator_id": desk.shelf.creator_ids[row],
        "duration_s": None if math.isnan(duration) else round(duration, 2),
        "published_at_ms": published or None,
        "tags": list(videos.tags[row]),
        "modalities": [name for bit, name in ((1, "visual"), (2, "audio"), (4, "text")) if mask & bit],
        "thumbnail": f"/thumbnails/{key}.webp",
        "preview": f"/thumbnails/{key}.preview.webp",
        "media": f"/media/{key}" if desk.shelf.uris[row] else None,
    }


def present_items(desk: Desk, picked: Picked, visitor: Visitor | None, ask: Ask) -> list[dict[str, Any]]:
    """The slate's items in order; reasons where they were asked for and there is a visitor.

    Every slot is filled without chance, so its propensity is 1.
    """
    rows = picked.rows
    if not len(rows):
        return []
    told = [""] * len(rows)
    if ask.explain and visitor is not None:
        told = explain(desk.bundle, visitor.histories, rows, ask.now_ms)
    return [
        {
            **present_video(desk, row),
            "position": position,
            "score": round(score, 6),
            "sources": list(sources),
            "propensity": 1.0,
            "reasons": [reason] if reason else [],
        }
        for position, (row, score, sources, reason) in enumerate(
            zip(rows.tolist(), picked.scores.tolist(), picked.sources, told, strict=True)
        )
    ]
