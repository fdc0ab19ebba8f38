"""Times as senders write them, brought to UTC milliseconds."""

from __future__ import annotations

from typing import Final

import polars as pl

from features.contracts import TS

LATEST_MS: Final = 253_402_300_799_999
"""End of the year 9999; a time beyond it is no time."""

_SECONDS_BELOW: Final = 1e11
_MILLISECONDS_BELOW: Final = 1e14
_MICROSECONDS_BELOW: Final = 1e17


def parse_times(values: pl.Series) -> pl.Series:
    """The column as UTC datetimes of ms; null where a value is null or no time after 1970.

    Args:
        values: datetimes (without a zone: UTC), dates, ISO 8601 text, or epoch numbers (also as text) in
        seconds,
            milliseconds, microseconds or nanoseconds, told apart by their size.

    Example:
        >>> parse_times(pl.Series(["2026-01-31T10:00:00+02:00", "1767225600"])).dt.to_string().to_list()
        ['2026-01-31 08:00:00.000+00:00', '2026-01-01 00:00:00.000+00:00']
    """
    kind = values.dtype
    if kind == pl.String:
        numbers = values.cast(pl.Float64, strict=False)
        epoch = pl.select(pl.coalesce(_from_epoch(numbers), _from_iso(values))).to_series()
    elif kind.is_numeric():
        epoch = _from_epoch(values.cast(pl.Float64) if kind.is_float() else values)
    elif isinstance(kind, pl.Datetime):
        zoned = values if kind.time_zone else values.dt.replace_time_zone("UTC")
        epoch = zoned.dt.convert_time_zone("UTC").dt.epoch("ms")
    elif kind == pl.Date:
        epoch = values.cast(pl.Datetime("ms")).dt.epoch("ms")
    else:
        epoch = pl.Series([None] * len(values), dtype=pl.Int64)
    sound = (epoch > 0) & (epoch <= LATEST_MS)
    return pl.select(pl.when(sound).then(epoch)).to_series().cast(TS).alias(values.name)


def _from_epoch(numbers: pl.Series) -> pl.Series:
    n = pl.lit(numbers)
    whole = (
        pl.when(n < _SECONDS_BELOW)
        .then(n * 1000)
        .when(n < _MILLISECONDS_BELOW)
        .then(n)
        .when(n < _MICROSECONDS_BELOW)
        .then(n / 1e3)
        .otherwise(n / 1e6)
    )
    # Seconds with a fraction are not exact in binary: 1593878903.438 s is a hair below its millisecond.
    near = whole.round() if numbers.dtype.is_float() else whole
    return pl.select(near.cast(pl.Int64, strict=False)).to_series()


def _from_iso(text: pl.Series) -> pl.Series:
    """Epoch ms of ISO 8601 text; every form is first brought to `YYYY-MM-DDThh:mm:ss[.f]+hh:mm`."""
    full = (
        pl.lit(text)
        .str.strip_chars()
        .str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T")
        .str.replace(r"(T\d{2}:\d{2})($|[Zz+-])", "${1}:00${2}")
        .str.replace(r"[Zz]$| UTC$", "+00:00")
        .str.replace(r"(T[\d:.]+)$", "${1}+00:00")
        .str.replace(r"(T[\d:.]+[+-]\d{2})(\d{2})$", "${1}:${2}")
        .str.replace(r"(T[\d:.]+[+-]\d{2})$", "${1}:00")
    )
    parsed = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="ms", strict=False)
    return pl.select(parsed.dt.epoch("ms")).to_series()
