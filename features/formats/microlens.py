"""MicroLens: micro-videos with the comments of users as interactions.

Source: Ni et al., "A Content-Driven Micro-Video Recommendation Dataset at Scale", 2023. `*_pairs.csv` has
user, item and timestamp; `*_pairs.tsv` the same without times, a user and a sequence of videos in each line;
`*title*.csv` the titles. Where a folder has pairs in both, those with times are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from features.errors import BadInput
from features.formats.log_format import Batch, LogFormat, Role, id_text, mapped, read_videos
from features.formats.readers import Source, columns_of, digest_of
from features.formats.readers_text import blocks, first_line, is_utf8, line_end, no_lines

_USER: Final = ("user", "userID", "user_id")
_ITEM: Final = ("item", "videoID", "item_id")


def _role(path: Path) -> Role | None:
    name = path.name.lower()
    if "pairs" in name and name.endswith((".csv", ".tsv")):
        return "events"
    return "videos" if "title" in name and name.endswith(".csv") else None


def _needs(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() == ".tsv":
        return ()
    columns = columns_of(path)
    item = next((name for name in _ITEM if name in columns), _ITEM[0])
    if _role(path) == "videos":
        return (item, "title") if "title" in columns else ()  # some releases have no header
    return next((name for name in _USER if name in columns), _USER[0]), item, "timestamp"


def _events(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    if path.suffix.lower() == ".tsv":
        return _sequences(path, chunk_bytes)
    user, item, _ = _needs(path)

    def take(source: Source) -> pl.DataFrame:
        return source.frame.select(
            "row",
            id_text(user).alias("user_id"),
            id_text(item).alias("video_id"),
            pl.col("timestamp").alias("ts"),
        )

    return mapped(path, chunk_bytes, take)


def _sequences(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    """Lines of a user, a tab, and videos parted by blanks, oldest first; `row` counts the pairs.

    Lines of one pair, with a time as a third column or without, are read the same way.
    """
    digest, start = digest_of(path), 0
    for block in blocks(path, chunk_bytes, line_end):
        lines = _lines(path, block).with_columns(pl.col("video_id").str.strip_chars().str.split(" "))
        pairs = lines.explode("video_id")
        pairs = pairs.select((pl.int_range(pl.len(), dtype=pl.Int64) + start).alias("row"), pl.all())
        start += len(pairs)
        yield Batch(Source(path, digest, pairs, no_lines()), pairs)


def _lines(path: Path, block: bytes) -> pl.DataFrame:
    if not is_utf8(block):
        raise BadInput(f"{path} is not UTF-8: ids in it would be altered; save it as UTF-8")
    try:
        lines = pl.read_csv(
            block,
            has_header=False,
            separator="\t",
            quote_char=None,
            infer_schema=False,
            truncate_ragged_lines=True,
        )
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path} cannot be read as tsv: {first_line(error)}") from error
    if lines.width < 2:
        raise BadInput(f"{path} has one column; expected a user, a tab and videos in each line")
    return lines.select(
        pl.col(old).alias(new) for old, new in zip(lines.columns, ("user_id", "video_id", "ts"), strict=False)
    )


def _videos(path: Path) -> pl.DataFrame:
    needs = _needs(path)
    if needs:
        return read_videos(path, id_text(needs[0]).alias("video_id"), pl.col("title"))
    try:
        rows = pl.read_csv(path, has_header=False, infer_schema=False, truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path} cannot be read as csv: {first_line(error)}") from error
    if rows.width < 2:
        raise BadInput(f"{path} has one column; expected an item and its title")
    return rows.select(id_text(rows.columns[0]).alias("video_id"), pl.col(rows.columns[1]).alias("title"))


MICROLENS: Final = LogFormat("microlens", _role, _needs, _events, _videos)
