"""Rows of a log at the door: brought to the columns of INTERACTIONS, and judged one by one.

A file is refused as a whole where a required column is absent or a column is of a kind that no value of it
can be taken; everything that is wrong is named at once. A bad row is refused with its reason, and the rest is
used.
"""

from __future__ import annotations

import datetime
import json
import math
from typing import Any, Final

import polars as pl

from features.contracts import EVENTS, INTERACTIONS, MAX_ID_BYTES, TS, Column
from features.errors import BadInput
from features.formats.readers_text import EXACT_BELOW, MOST_CONTENT
from features.timestamps import parse_times

SKEW_MS: Final = 5 * 60_000
"""How far the clock of a sender may be ahead of ours."""

COMPUTED: Final = ("event_key", "order")

_LIST_ITEMS: Final = 50
"""Items kept of a list in a refused row."""

_DAY_MIN: Final = 24 * 60
_IDS: Final = ("user_id", "video_id", "event_id")
_BANDIT_EVENTS: Final = ("impression", "play")
"""A log of a bandit need not name users: a slate's place and a click on it say enough."""


def check_columns(rows: pl.DataFrame, required: tuple[str, ...], what: str) -> None:
    """Raises BadInput with all that is wrong with the columns of a file; nothing where they will do.

    Args:
        rows: of the file, with `row`.
        required: columns that have to be there; `user_id` may be absent beside `propensity` or `policy`.
        what: name of the file.
    """
    has = [name for name in rows.columns if name not in ("row", "further")]
    bandit = "propensity" in has or "policy" in has
    missing = [name for name in required if name not in has and not (bandit and name == "user_id")]
    wrong = [
        f"{column.name} is {rows.schema[column.name]}, not {_called(column)} (in {filled:,} row(s))"
        for column in INTERACTIONS
        if column.name in has
        and (filled := len(rows) - rows[column.name].null_count())
        and not _is_taken(rows.schema[column.name], column)
    ]
    if missing:
        wrong.insert(
            0, f"lacks the required column(s) {', '.join(missing)}; it has {', '.join(has) or 'none'}"
        )
    if wrong:
        raise BadInput(f"{what} {'; '.join(wrong)}")


def take_columns(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """All columns of INTERACTIONS but the computed, null where a value is of the wrong kind; with `row`.

    Beside them comes, for each column that the file gave, `bad_<name>`: a value was there and could not be
    taken. These columns are named in the second value. `event` is `play` where it is null or absent.
    """
    out: list[pl.Series] = [rows[name] for name in ("row", "further") if name in rows.columns]
    given: list[str] = []
    for column in INTERACTIONS:
        if column.name in COMPUTED:
            continue
        if column.name not in rows.columns:
            out.append(pl.Series(column.name, [None] * len(rows), dtype=column.dtype))
            continue
        values = rows[column.name]
        taken = _take(values, column)
        out += [taken, (taken.is_null() & values.is_not_null()).alias(f"bad_{column.name}")]
        given.append(column.name)
    return pl.DataFrame(out).with_columns(pl.col("event").fill_null("play")), given


def reason(given: list[str], now_ms: int) -> pl.Expr:
    """The first thing wrong with a row of `take_columns`, or null.

    Args:
        given: columns that the file gave.
        now_ms: the present, ms since the epoch.
    """
    ts, received = (pl.col(name).dt.epoch("ms") for name in ("ts", "received_at"))
    checks = [*_ids(), ("unknown event", ~pl.col("event").is_in(EVENTS))]
    checks += [
        (f"{name} not readable", pl.col(f"bad_{name}")) for name in given if name not in ("event", *_IDS)
    ]
    checks += [(f"{name} not finite", ~pl.col(name).is_finite()) for name in _floats()]
    checks += [
        ("negative watch_s", pl.col("watch_s") < 0),
        ("negative position", pl.col("position") < 0),
        ("propensity outside (0, 1]", ~pl.col("propensity").is_between(0, 1, closed="right")),
        ("utc_offset_min beyond a day", ~pl.col("utc_offset_min").is_between(-_DAY_MIN, _DAY_MIN)),
        ("ts in the future", ts > now_ms + SKEW_MS),
        ("received_at in the future", received > now_ms + SKEW_MS),
        ("ts after received_at", ts > received + SKEW_MS),
    ]
    return pl.coalesce(pl.when(wrong.fill_null(False)).then(pl.lit(why)) for why, wrong in checks).alias(
        "reason"
    )


def not_after_receipt() -> pl.Expr:
    """`ts`, at most `received_at`: a sender's clock that is a little ahead does not make an event early."""
    late = pl.col("ts") > pl.col("received_at")
    return pl.when(late).then("received_at").otherwise("ts").alias("ts")


def contents(rows: pl.DataFrame) -> pl.Series:
    """Each row as JSON, cut at MOST_CONTENT characters; what is longer is cut before the whole is built."""
    short = rows.drop("row", strict=False).select(
        _shortened(name, dtype).alias(name) for name, dtype in rows.schema.items() if name != "row"
    )
    texts = [
        json.dumps(row, default=_as_text, ensure_ascii=False)[:MOST_CONTENT]
        for row in short.iter_rows(named=True)
    ]
    return pl.Series("content", texts, dtype=pl.String)


def _ids() -> list[tuple[str, pl.Expr]]:
    checks: list[tuple[str, pl.Expr]] = []
    nameless = pl.col("event").is_in(_BANDIT_EVENTS) & (
        pl.col("propensity").is_not_null() | pl.col("policy").is_not_null()
    )
    for name in _IDS:
        size = pl.col(name).str.len_bytes()
        if name != "event_id":
            absent = pl.col(name).is_null()
            checks.append((f"no {name}", (absent & ~nameless if name == "user_id" else absent) | (size == 0)))
        checks.append((f"{name} too long", size > MAX_ID_BYTES))
        checks.append((f"{name} holds a null character", pl.col(name).str.contains("\0", literal=True)))
    return checks


def _floats() -> list[str]:
    return [column.name for column in INTERACTIONS if column.dtype.is_float()]


def _is_taken(dtype: pl.DataType, column: Column) -> bool:
    """Whether some value of a type can become one of the column's."""
    if dtype.is_nested():
        return False
    if column.dtype == TS:
        return dtype == pl.String or dtype.is_numeric() or dtype in (pl.Datetime, pl.Date)
    if column.dtype == pl.Boolean:
        return dtype in (pl.String, pl.Boolean) or dtype.is_integer()
    try:
        pl.Series([], dtype=dtype).cast(column.dtype)
    except pl.exceptions.PolarsError:
        return False
    return column.dtype == pl.String or dtype == pl.String or dtype.is_numeric() or dtype == pl.Boolean


def _called(column: Column) -> str:
    return "a time" if column.dtype == TS else str(column.dtype)


def _take(values: pl.Series, column: Column) -> pl.Series:
    if not _is_taken(values.dtype, column):  # a later chunk of a file may differ from its first
        return pl.Series(column.name, [None] * len(values), dtype=column.dtype)
    if values.dtype == pl.String and column.dtype != pl.String:
        stripped = values.str.strip_chars()
        values = pl.select(pl.when(pl.lit(stripped) != "").then(pl.lit(stripped))).to_series()
    if column.dtype == TS:
        return parse_times(values).alias(column.name)
    if column.name == "event" and values.dtype == pl.String:
        values = values.str.strip_chars().str.to_lowercase()
    if column.dtype == pl.Boolean and values.dtype == pl.String:
        words = {"true": True, "1": True, "false": False, "0": False}
        values = values.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    if column.dtype.is_integer() and values.dtype == pl.String:
        values = values.cast(pl.Float64, strict=False)  # a CSV may write 3.0
    if column.dtype == pl.String and values.dtype.is_float():
        return _text_of_numbers(values).alias(column.name)
    return values.cast(column.dtype, strict=False).alias(column.name)


def _text_of_numbers(values: pl.Series) -> pl.Series:
    """Floats as text, whole ones as whole numbers: a table keeps ids as floats where one is missing."""
    number = pl.lit(values)
    whole = (number == number.round()) & (number.abs() < EXACT_BELOW)
    text = pl.when(whole).then(number.cast(pl.Int64, strict=False).cast(pl.String))
    return pl.select(text.when(number.is_finite()).then(number.cast(pl.String))).to_series()


def _shortened(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return column.str.slice(0, MOST_CONTENT)
    if dtype == pl.Binary:
        return column.bin.slice(0, MOST_CONTENT)
    if isinstance(dtype, pl.List):
        items = column.list.head(_LIST_ITEMS)
        return items.list.eval(pl.element().str.slice(0, MOST_CONTENT)) if dtype.inner == pl.String else items
    if isinstance(dtype, pl.Struct):
        return column.struct.json_encode().str.slice(0, MOST_CONTENT)
    return column


def _as_text(value: Any) -> str:
    if isinstance(value, datetime.date):
        return value.isoformat()
    return "NaN" if isinstance(value, float) and math.isnan(value) else repr(value)
