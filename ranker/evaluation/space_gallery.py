"""Sections of a space's report to look at: neighbours of random videos, and videos that conflict."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from ranker.evaluation.space_words import PROMISES, SPACES, plain_number, video_name

Picture = Callable[[int], str | None]


def example_section(content: dict[str, Any], picture: Picture) -> str:
    if not content["examples"]:
        return "<h2>Neighbours of random videos</h2><p>No video of this space has a joint vector.</p>"
    shown = "".join(_example(one, picture) for one in content["examples"])
    return (
        "<h2>Neighbours of random videos</h2><p class='lead'>Drawn at random, not chosen; others for every "
        f"version of the space. With each neighbour stands its cosine.</p>{shown}"
    )


def _example(one: dict[str, Any], picture: Picture) -> str:
    rows = "".join(
        f'<div class="near"><h4>{name}</h4>{_neighbours(one["neighbours"][name], picture)}</div>'
        for name in SPACES
        if name in one["neighbours"]
    )
    asked = _video(one, picture, one["video_id"])
    return f'<section class="user example"><div class="asked">{asked}</div>{rows}</section>'


def _neighbours(found: list[dict[str, Any]], picture: Picture) -> str:
    if not found:
        return '<p class="muted">no other video has one</p>'
    items = "".join(
        f"<li>{_video(one, picture, plain_number(one['cosine'], '{:.3f}'))}</li>" for one in found
    )
    return f"<ol>{items}</ol>"


def conflict_section(content: dict[str, Any], picture: Picture) -> str:
    found = content["conflicts"]
    if found["why"]:
        return f"<h2>Titles and sounds to look at</h2><p>{escape(found['why'])}</p>"
    lists = "".join(_conflicts(name, found, picture) for name in PROMISES)
    return (
        "<h2>Titles and sounds to look at</h2><p class='lead'>Worst first. A fit of 3% means that 97 in 100 "
        "titles (sounds) of other videos would fit this video better; under "
        f"{found['low_fit']:.0%} most of them would.</p>{lists}"
    )


def _conflicts(name: str, found: dict[str, Any], picture: Picture) -> str:
    heading, what = PROMISES[name]
    one = found[name]
    if not one["known"]:
        body = f'<p class="muted">The fit of no {what} is known.</p>'
    else:
        videos = "".join(f"<li>{_conflict(video, picture)}</li>" for video in one["videos"])
        body = (
            f'<p class="muted">{one["low"]:,} of {one["known"]:,} {what}s fit worse than most would.</p>'
            + (f'<ul class="odd" data-list="{name}">{videos}</ul>' if videos else "<p>None to list.</p>")
        )
    return f'<section class="list"><h3>{heading}</h3>{body}</section>'


def _conflict(video: dict[str, Any], picture: Picture) -> str:
    agreement = video["agreement"]
    said = f"fit {video['fit']:.1%} · odd: {video['odd']}"
    if agreement is not None:
        said += f" · agreement {plain_number(agreement, '{:.2f}')}"
    return _video(video, picture, said)


def _video(video: dict[str, Any], picture: Picture, note: str) -> str:
    uri = picture(video["video_key"])
    image = (
        f'<img src="{uri}" alt="" width="72" height="54">' if uri else '<span class="blank">no picture</span>'
    )
    kind = "video pictured" if uri else "video"
    return (
        f'<div class="{kind}">{image}<div><span class="name">{escape(video_name(video))}</span>'
        f"<em>{escape(note)}</em></div></div>"
    )
