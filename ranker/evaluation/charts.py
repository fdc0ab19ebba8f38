"""Charts as SVG text: intervals, curves and a scatter, drawn here so that a report needs nothing from
outside.

Every chart is drawn for a given width in CSS pixels, so its text keeps its size on a telephone and on paper;
a page carries a wide and a narrow drawing and shows one. Series differ in colour and in the shape of their
mark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLOURS: Final = ("#5b6470", "#1f5f99", "#b35900", "#2e7d4f", "#7a4fa0", "#8c6d00", "#0f7c86", "#9c3d6a")
"""Of the series in order; the control is grey. All have a contrast of at least 4.5 to white."""
ALARM: Final = "#b3261e"
INK, MUTED, RULE = "#1b1f24", "#59626d", "#d9dde2"
CHARACTER: Final = 6.9
"""Mean width of a character at 12 px, for fitting text."""

Write = Callable[[float], str]
Box = tuple[float, float, float]
"""Left, right and base line of a text, pixels."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A number, with its interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The bounds, or the number twice."""
        return (self.value if self.low is None else self.low), (
            self.value if self.high is None else self.high
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an interval plot."""

    label: str
    dot: Dot
    series: int
    note: str
    """Written at the right end."""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One series of a curve plot; None where a category has no number."""

    series: int
    dots: Sequence[Dot | None]


@dataclass(frozen=True, slots=True)
class Point:
    """One mark of a scatter, with the interval of its height."""

    label: str
    series: int
    x: float
    y: Dot


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers to pixels; `log` spaces changes by their ratio, so that halving and doubling look alike."""

    low: float
    high: float
    left: float
    right: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where the value lies, kept inside the axis."""
        low, high, at = (
            self._bent(self.low),
            self._bent(self.high),
            self._bent(min(max(value, self.low), self.high)),
        )
        return self.left + (at - low) / (high - low) * (self.right - self.left)

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round numbers on the axis."""
        if not self.log:
            return nice_ticks(self.low, self.high, most)
        ratios = [base * 10.0**power for power in range(-3, 6) for base in (1, 2, 5)]
        inside = [ratio - 1 for ratio in ratios if self.low <= ratio - 1 <= self.high]
        return [
            tick
            for i, tick in enumerate(inside)
            if (i - inside.index(0.0)) % max(1, -(-len(inside) // most)) == 0
        ]

    def _bent(self, value: float) -> float:
        return math.log1p(max(value, -0.999)) if self.log else value


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high], at most `most` + 1 of them."""
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * base for base in (1, 2, 5, 10) if power * base >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def interval_plot(groups: Sequence[tuple[str, Sequence[Row]]], width: int, write: Write, label: str) -> str:
    """Rows of a dot on its interval, under headings, over one axis that holds 0.

    Args:
        groups: heading and rows; an empty heading is left out.
        width: pixels.
        write: how a tick is written.
        label: what the picture shows, for readers who do not see it.
    """
    ends = [end for _, rows in groups for row in rows for end in row.dot.ends]
    scale = _interval_scale(ends, width)
    body: list[str] = []
    top = 4.0
    for heading, rows in groups:
        if heading:
            body.append(_text(8, top + 15, heading, weight=600))
            top += 24
        for row in rows:
            body.append(_interval_row(row, top, width, scale))
            top += 38
        top += 8
    return _svg(width, top + 22, label, "".join(body) + _axis_below(scale, top, width, write))


def curve_plot(
    categories: Sequence[str],
    notes: Sequence[str],
    curves: Sequence[Curve],
    width: int,
    write: Write,
    label: str,
) -> str:
    """Series over ordered categories: a mark and its interval in each, joined by a line.

    Args:
        categories: names along the axis, oldest or smallest first.
        notes: a line under each name, such as its number of users.
        curves: the series.
        width, write, label: as for `interval_plot`; ticks are those of the upright axis.
    """
    height = 268 if width > 400 else 244
    ends = [end for curve in curves for dot in curve.dots if dot for end in dot.ends]
    up = Scale(min(0.0, min(ends)), (max(ends) or 1.0) * 1.04, height - 46, 12)
    slot = (width - 60) / len(categories)
    dodge = min(9.0, slot / (len(curves) + 1))
    body = _axis_left(up, width, write, 5)
    every = max(1, math.ceil(max(len(text) for text in (*categories, *notes)) * CHARACTER / slot + 0.15))
    for i, (name, note) in enumerate(zip(categories, notes, strict=True)):
        if i % every == 0:
            body += _text(52 + (i + 0.5) * slot, height - 26, name, anchor="middle")
            body += _text(52 + (i + 0.5) * slot, height - 10, note, anchor="middle", colour=MUTED, size=11)
    for place, curve in enumerate(curves):
        shift = (place - (len(curves) - 1) / 2) * dodge
        body += _curve(curve, [52 + (i + 0.5) * slot + shift for i in range(len(categories))], up)
    return _svg(width, height, label, body)


def scatter_plot(
    points: Sequence[Point], width: int, x_name: str, y_name: str, write: Write, label: str
) -> str:
    """Marks by two numbers, each with the interval of its height and its name beside it."""
    height = 300 if width > 400 else 280
    xs = [point.x for point in points]
    room = (max(xs) - min(xs)) * 0.12 or max(abs(xs[0]) * 0.1, 0.05)
    across = Scale(min(xs) - room, max(xs) + room, 58, width - 14)
    ends = [end for point in points for end in point.y.ends]
    up = Scale(min(0.0, min(ends)), (max(ends) or 1.0) * 1.08, height - 48, 24)
    body = _axis_left(up, width, write, 5) + _text(8, 12, y_name, colour=MUTED)
    for tick in across.ticks(5):
        body += _line(across(tick), height - 48, across(tick), height - 44, MUTED)
        body += _text(across(tick), height - 30, f"{tick:.4g}", anchor="middle", colour=MUTED)
    body += _text((58 + width - 14) / 2, height - 10, x_name, anchor="middle", colour=MUTED)
    taken: list[Box] = [(across(point.x) - 7, across(point.x) + 7, up(point.y.value) + 4) for point in points]
    for point in sorted(points, key=lambda p: -p.y.value):
        x, y = across(point.x), up(point.y.value)
        low, high = point.y.ends
        body += _line(x, up(low), x, up(high), COLOURS[point.series % len(COLOURS)], 1.6)
        body += mark(point.series, x, y)
        body += _beside(point, x, up, width, taken)
    return _svg(width, height, label, body)


def mark(series: int, x: float, y: float, colour: str | None = None) -> str:
    """The mark of a series: its shape and colour, centred."""
    fill = colour or COLOURS[series % len(COLOURS)]
    shapes = (
        "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0Z",
        "M-4.2,-4.2H4.2V4.2H-4.2Z",
        "M0,-5.4L5,3.8H-5Z",
        "M0,-5.6L5.6,0L0,5.6L-5.6,0Z",
        "M0,5.4L5,-3.8H-5Z",
        "M-5.2,-1.7H-1.7V-5.2H1.7V-1.7H5.2V1.7H1.7V5.2H-1.7V1.7H-5.2Z",
    )
    shape = shapes[series % len(shapes)]
    where = f'transform="translate({x:.1f},{y:.1f})"'
    return f'<path d="{shape}" {where} fill="{fill}" stroke="#fff" stroke-width="1"/>'


def swatch(series: int) -> str:
    """A small picture of a series' mark, for legends and tables."""
    return f'<svg class="swatch" width="14" height="14" aria-hidden="true">{mark(series, 7, 7)}</svg>'


def _interval_scale(ends: Sequence[float], width: int) -> Scale:
    low, high = min(0.0, *ends), max(0.0, *ends)
    if high > 2.0:  # growth beyond threefold would press all losses into a corner
        return Scale(max(low * 1.05, -0.99), high * 1.3, 14, width - 14, log=True)
    room = (high - low) * 0.04 or 0.01
    return Scale(low - (room if low < 0 else 0), high + room, 14, width - 14)


def _interval_row(row: Row, top: float, width: int, scale: Scale) -> str:
    colour = ALARM if row.alarm else COLOURS[row.series % len(COLOURS)]
    low, high = row.dot.ends
    y = top + 24
    note = _text(width - 8, top + 13, row.note, anchor="end", colour=ALARM if row.alarm else INK)
    name = _text(
        8, top + 13, fit(row.label, width - 30 - len(row.note) * CHARACTER), colour=colour, weight=600
    )
    track = _line(scale.left, y, scale.right, y, "#eef0f3", 1)
    track += _line(scale(0), y - 8, scale(0), y + 9, MUTED, 1.2)
    whisker = _line(scale(low), y, scale(high), y, colour, 2.4)
    caps = "".join(_line(scale(end), y - 4, scale(end), y + 4, colour, 1.6) for end in (low, high))
    return name + note + track + whisker + caps + mark(row.series, scale(row.dot.value), y, colour)


def _curve(curve: Curve, xs: Sequence[float], up: Scale) -> str:
    colour = COLOURS[curve.series % len(COLOURS)]
    known = [(x, dot) for x, dot in zip(xs, curve.dots, strict=True) if dot is not None]
    path = " ".join(f"{x:.1f},{up(dot.value):.1f}" for x, dot in known)
    out = (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4" stroke-opacity="0.55"/>'
    )
    for x, dot in known:
        low, high = dot.ends
        out += _line(x, up(low), x, up(high), colour, 1.4) + mark(curve.series, x, up(dot.value))
    return out


def _beside(point: Point, x: float, up: Scale, width: int, taken: list[Box]) -> str:
    """The name of a point where it covers nothing: right, left, above or below of its mark."""
    text = fit(point.label, 150)
    size, y, (low, high) = len(text) * CHARACTER, up(point.y.value), point.y.ends
    places = [
        ("start", x + 10, y + 4, x + 10),
        ("end", x - 10, y + 4, x - 10 - size),
        ("middle", x, up(high) - 6, x - size / 2),
        ("middle", x, up(low) + 15, x - size / 2),
    ]
    free = [place for place in places if _is_free(place[3], place[3] + size, place[2], width, taken)]
    anchor, at, line, start = (free or places)[0]
    taken.append((start, start + size, line))
    return _text(at, line, text, anchor=anchor)


def _is_free(start: float, end: float, line: float, width: int, taken: list[Box]) -> bool:
    inside = start >= 54 and end <= width - 4
    return inside and not any(
        abs(line - other) < 14 and start < right and left < end for left, right, other in taken
    )


def _axis_below(scale: Scale, top: float, width: int, write: Write) -> str:
    out = _line(scale.left, top, scale.right, top, MUTED)
    for tick in scale.ticks(6 if width > 400 else 4):
        anchor = "start" if scale(tick) < 30 else "end" if scale(tick) > width - 30 else "middle"
        x = {"start": min(scale(tick), scale.left), "end": scale.right, "middle": scale(tick)}[anchor]
        out += _line(scale(tick), top, scale(tick), top + 4, MUTED)
        out += _text(x, top + 17, write(tick), anchor=anchor, colour=MUTED, size=11)
    return out


def _axis_left(up: Scale, width: int, write: Write, most: int) -> str:
    out = ""
    for tick in up.ticks(most):
        out += _line(52, up(tick), width - 8, up(tick), MUTED if tick == 0 else RULE)
        out += _text(46, up(tick) + 4, write(tick), anchor="end", colour=MUTED, size=11)
    return out


def fit(text: str, pixels: float) -> str:
    """The text, cut with an ellipsis where it is wider than so many pixels at 12 px."""
    most = max(4, int(pixels / CHARACTER))
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(width: float, height: float, label: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">{body}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, thick: float = 1.0) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{thick:g}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = INK,
    weight: int = 400,
    size: int = 12,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
