"""Pieces that several sections of the report share: a chart in its two widths, a legend, an arm's label."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Final

from ranker.evaluation.charts import Dot, swatch

WIDE: Final = 520
"""CSS pixels: half a page."""
NARROW: Final = 346
"""CSS pixels: a telephone of 390 px less its margins."""


def figure(draw: Callable[[int], str], caption: str, kind: str) -> str:
    return (
        f'<figure data-chart="{kind}"><div class="wide">{draw(WIDE)}</div>'
        f'<div class="narrow">{draw(NARROW)}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def legend(content: dict[str, Any]) -> str:
    items = "".join(f"<li>{arm_label(i, arm)}</li>" for i, arm in enumerate(content["arms"]))
    return f'<ul class="legend">{items}</ul>'


def arm_label(i: int, arm: dict[str, Any]) -> str:
    return f'<span class="arm">{swatch(i)}{escape(arm["name"])}</span>'


def series_of(content: dict[str, Any]) -> dict[str, int]:
    return {arm["name"]: i for i, arm in enumerate(content["arms"])}


def dot(estimate: dict[str, Any] | None) -> Any:
    return None if estimate is None else Dot(estimate["value"], estimate["low"], estimate["high"])
