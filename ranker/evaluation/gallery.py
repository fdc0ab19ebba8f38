"""Section of the report that shows slates: what users watched, and what each arm would show them."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from ranker.evaluation.charts import swatch
from ranker.evaluation.figures import series_of


def example_section(content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    if not content["examples"]:
        return ""
    pictures: dict[int, str | None] = {}

    def cached(key: int) -> str | None:
        if key not in pictures:
            pictures[key] = picture(key)
        return pictures[key]

    users = "".join(_example(one, content, cached) for one in content["examples"])
    return (
        "<h2>Slates side by side</h2><p class='lead'>Users drawn at random, not chosen. Top of each slate; a "
        f"tick marks a video that the user liked after the cut.</p>{users}"
    )


def _example(one: dict[str, Any], content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    watched = "".join(f"<li>{_video(video, picture, video['event'])}</li>" for video in one["watched"])
    before = (
        f'<p class="muted">Latest before the cut</p><ul class="row">{watched}</ul>'
        if watched
        else ('<p class="muted">No history before the cut</p>')
    )
    series = series_of(content)
    columns = "".join(
        f'<div><h4 class="arm">{swatch(series[slate["arm"]])}{escape(slate["arm"])}</h4><ol>'
        + "".join(f"<li>{_video(video, picture, '')}</li>" for video in slate["videos"])
        + "</ol></div>"
        for slate in one["slates"]
    )
    liked = f'<span class="muted">liked {one["liked"]} new video(s) after the cut</span>'
    return (
        f'<section class="user"><h3>User {escape(one["user_id"])} · {liked}</h3>{before}'
        f'<div class="arms" style="--n:{_columns(len(one["slates"]))}">{columns}</div></section>'
    )


def _columns(arms: int) -> int:
    """Columns on a wide page: one an arm, or two even rows where there are many."""
    return arms if arms <= 5 else (arms + 1) // 2


def _video(video: dict[str, Any], picture: Callable[[int], str | None], note: str) -> str:
    name = escape(video["title"] or video["video_id"])
    uri = picture(video["video_key"])
    image = (
        f'<img src="{uri}" alt="" width="72" height="54">' if uri else '<span class="blank">no picture</span>'
    )
    said = (
        '<span class="hit">✓ liked later</span>'
        if video.get("hit")
        else f"<em>{escape(note)}</em>"
        if note
        else ""
    )
    return f'<div class="video">{image}<div><span class="name">{name}</span>{said}</div></div>'
