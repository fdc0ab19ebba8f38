"""How numbers are written for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

EMPTY: Final = "\u2013"
"""In a cell without a number."""


def percent(share: float) -> str:
    """A signed share as a percentage, with the true minus sign: `+12.3%`."""
    return f"{share:+.1%}".replace("-", "\u2212")


def share(value: float) -> str:
    """A signed share on an axis: `+20%`, `0`."""
    if not value:
        return "0"
    return (f"{value:+.0%}" if abs(value) >= 0.01 else f"{value:+.2%}").replace("-", "\u2212")


def signed(value: float) -> str:
    """A signed difference: `+0.0123`."""
    return f"{value:+.4f}".replace("-", "\u2212")


def span(estimate: dict[str, Any], write: Callable[[float], str]) -> str:
    """An estimate with its interval: `0.12 [0.10, 0.14]`."""
    if estimate["low"] is None:
        return write(estimate["value"])
    return f"{write(estimate['value'])} [{write(estimate['low'])}, {write(estimate['high'])}]"


def written(value: float | None, how: str) -> str:
    """The value in a format, or EMPTY."""
    return EMPTY if value is None else how.format(value)


def first_line(text: str | None) -> str:
    """First line of a docstring."""
    return (text or "").strip().partition("\n")[0]
