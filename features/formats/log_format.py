"""What a format of public logs is: which files belong to it, and how their rows become events and videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from features.errors import BadInput
from features.formats.readers import Source, columns_of, read_chunks

Role = Literal["events", "videos"]


@dataclass(frozen=True, slots=True)
class Batch:
    """A chunk of a log."""

    source: Source
    """Its rows as the file has them."""
    events: pl.DataFrame
    """The same as interactions, as yet unchecked: `row` says from which row each comes; where a row gave
    several, `further` is True for all but the first."""


@dataclass(frozen=True, slots=True)
class LogFormat:
    """How one kind of log is read."""

    name: str
    role: Callable[[Path], Role | None]
    """What a file holds by its name; None where it is not used."""
    needs: Callable[[Path], tuple[str, ...]]
    """Columns that such a file must have; none where it has no header."""
    events: Callable[[Path, int], Iterator[Batch]]
    """A file of events in chunks of about so many bytes."""
    videos: Callable[[Path], pl.DataFrame]
    """A file of videos as rows of the catalogue, `video_id` as the file has it."""

    def recognises(self, path: Path) -> bool:
        """True where both the name and the header of a file say that it is of this format."""
        return self.role(path) is not None and set(self.needs(path)) <= set(columns_of(path))


def mapped(path: Path, chunk_bytes: int, take: Callable[[Source], pl.DataFrame]) -> Iterator[Batch]:
    """A file with a header in chunks, with the events that `take` makes of each."""
    for source in read_chunks(path, chunk_bytes):
        yield Batch(source, take(source))


def read_videos(path: Path, *columns: pl.Expr) -> pl.DataFrame:
    """A file of videos with a header, chunk by chunk; only these columns are kept."""
    return pl.concat(source.frame.select(columns) for source in read_chunks(path))


def check_header(path: Path, needs: tuple[str, ...], name: str) -> None:
    """Raises BadInput naming every column that a file of this format has to have and has not."""
    has = columns_of(path)
    missing = [column for column in needs if column not in has]
    if missing:
        raise BadInput(
            f"{path.name} lacks the required column(s) {', '.join(missing)} of format {name}; "
            f"it has {', '.join(has) or 'none'}"
        )


def divided(column: str, divisor: float) -> pl.Expr:
    """A column of numbers, divided; what is no number stays as the file has it, for the door to refuse."""
    number = pl.col(column).cast(pl.Float64, strict=False)
    return pl.coalesce((number / divisor).cast(pl.String), pl.col(column).cast(pl.String))


def is_set(column: str) -> pl.Expr:
    """True where a flag is above 0."""
    return (pl.col(column).cast(pl.Float64, strict=False) > 0).fill_null(False)


def acts(*kinds: tuple[str, pl.Expr]) -> pl.Expr:
    """The events of a row, in this order: an impression, and each kind whose condition holds."""
    given = [pl.when(holds).then(pl.lit(kind)) for kind, holds in kinds]
    return pl.concat_list(pl.lit("impression"), *given).list.drop_nulls().alias("event")


def one_row_each(
    rows: pl.DataFrame, acted: pl.Expr, *, watched: tuple[str, ...] = ("play", "skip")
) -> pl.DataFrame:
    """One row an event of each row; `watch_s` stays with the kinds that say how long somebody watched.

    Args:
        rows: `row` and columns of INTERACTIONS.
        acted: list of event kinds, the impression first.
        watched: kinds of event that carry `watch_s`.
    """
    each = rows.with_columns(acted).explode("event")
    further = (pl.col("event") != "impression").alias("further")
    if "watch_s" not in rows.columns:
        return each.with_columns(further)
    kept = pl.when(pl.col("event").is_in(watched)).then("watch_s").alias("watch_s")
    return each.with_columns(further, kept)


def optional(column: str, columns: list[str]) -> pl.Expr:
    """The column, or null where the file has none of that name."""
    return pl.col(column) if column in columns else pl.lit(None, dtype=pl.String)


def id_text(column: str) -> pl.Expr:
    """An id as text; a whole number that a file spells 12.0 is 12."""
    return pl.col(column).cast(pl.String).str.strip_chars().str.replace(r"^(\d+)\.0+$", "${1}")
