"""Slates to look at: what a few users watched last, and what each arm would show them next."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from features.contracts import EVENT_CODES, EVENTS, NO_KEY, Int64s
from ranker.evaluation.metrics import KeySets, find_hits
from ranker.evaluation.slates import Slates

if TYPE_CHECKING:
    import polars as pl

    from ranker.splits import Split

USERS: Final = 3
SHOWN: Final = 5
"""Videos of a slate that are shown."""
WATCHED: Final = 4
"""Latest videos of a history that are shown."""
THUMBNAIL_WIDTH: Final = 144
"""Pixels, twice the width they are shown at."""


def draw_users(sizes: Int64s, seed: int) -> list[int]:
    """A few users drawn at random among those with a history, in order; among all where none has one."""
    pool = np.flatnonzero(sizes > 0) if (sizes > 0).any() else np.arange(len(sizes))
    drawn = np.random.default_rng(seed).choice(pool, min(USERS, len(pool)), replace=False)
    return sorted(int(user) for user in drawn)


def examples_of(
    users: list[int], slates: list[Slates], relevant: KeySets, parts: Split, catalogue: pl.DataFrame
) -> list[dict[str, Any]]:
    """For each user: `user_id`, what was `watched` last, how many were `liked` later, and `slates` by arm."""
    titles = dict(zip(catalogue["video_key"], catalogue["title"], strict=True))
    ids = dict(zip(catalogue["video_key"], catalogue["video_id"], strict=True))

    def named(key: int, **more: Any) -> dict[str, Any]:
        return {"video_key": key, "video_id": ids.get(key, str(key)), "title": titles.get(key), **more}

    return [
        {
            "user_id": parts.truth.users[user],
            "watched": [
                named(key, event=event) for key, event in _latest(parts, int(parts.truth.user_codes[user]))
            ],
            "liked": int(relevant.sizes[user]),
            "slates": [
                {"arm": slate.arm.name, "videos": _shown(slate, user, relevant, named)} for slate in slates
            ],
        }
        for user in users
    ]


def thumbnail_uri(path: Path) -> str | None:
    """A small copy of a thumbnail as a data URI; None where there is none, or it cannot be read."""
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
    except (FileNotFoundError, UnidentifiedImageError):
        return None
    small.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "webp", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _latest(parts: Split, code: int) -> list[tuple[int, str]]:
    """Latest videos a user met and did not turn down, newest first, each once."""
    if code < 0:
        return []
    log = parts.train.log
    mine = slice(log.offsets[code], log.offsets[code + 1])
    turned_down = (EVENT_CODES["skip"], EVENT_CODES["dislike"])
    found: dict[int, str] = {}
    for key, event in zip(log.video_keys[mine][::-1], log.events[mine][::-1], strict=True):
        if int(event) not in turned_down:
            found.setdefault(int(key), EVENTS[int(event)])
        if len(found) == WATCHED:
            break
    return list(found.items())


def _shown(
    slate: Slates, user: int, relevant: KeySets, named: Callable[..., dict[str, Any]]
) -> list[dict[str, Any]]:
    keys = slate.keys[user : user + 1, :SHOWN]
    hits = find_hits(keys, relevant.part(user, user + 1))
    return [
        named(int(key), hit=bool(hit)) for key, hit in zip(keys[0], hits[0], strict=True) if key != NO_KEY
    ]
