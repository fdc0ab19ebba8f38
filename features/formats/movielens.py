"""MovieLens in all its spellings: ratings as plays, movies as the catalogue.

Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015, and the README of
each release: `u.data` and `u.item` (100K), `*.dat` (1M, 10M), `*.csv` (since 20M).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from features.errors import BadInput
from features.formats.log_format import Batch, LogFormat, Role, mapped, read_videos
from features.formats.readers import Source, digest_of, numbered
from features.formats.readers_text import CHUNK_BYTES, blocks, first_line, is_utf8, line_end, no_lines

RATINGS: Final = ("ratings.csv", "ratings.dat", "u.data")
MOVIES: Final = ("movies.csv", "movies.dat", "u.item")

_RATING: Final = ("user_id", "video_id", "rating", "ts")
_SEPARATORS: Final = {"u.data": "\t", "u.item": "|"}
_GENRES_100K: Final = (
    *("unknown", "action", "adventure", "animation", "children's", "comedy", "crime", "documentary", "drama"),
    *("fantasy", "film-noir", "horror", "musical", "mystery", "romance", "sci-fi", "thriller", "war"),
    "western",
)


def _role(path: Path) -> Role | None:
    if path.name in RATINGS:
        return "events"
    return "videos" if path.name in MOVIES else None


def _needs(path: Path) -> tuple[str, ...]:
    if path.suffix != ".csv":
        return ()
    named = ("userId", "movieId", "rating", "timestamp")
    return named if path.name in RATINGS else ("movieId", "title", "genres")


def _events(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    """Ratings: every one a play with its `rating`."""
    if path.suffix == ".csv":
        taken = [pl.col(old).alias(new) for old, new in zip(_needs(path), _RATING, strict=True)]
        yield from mapped(path, chunk_bytes, lambda source: source.frame.select("row", *taken))
        return
    digest, start = digest_of(path), 0
    for frame in _delimited(path, list(_RATING), chunk_bytes):
        rows = numbered(frame, start)
        start += len(rows)
        yield Batch(Source(path, digest, rows, no_lines()), rows)


def _videos(path: Path) -> pl.DataFrame:
    """Movies: video_id, title, tags (the genres)."""
    if path.name == "u.item":
        names = ["video_id", "title", "released", "_", "url", *_GENRES_100K]
        frame = pl.concat(_delimited(path, names, CHUNK_BYTES))
        flags = [pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in _GENRES_100K if g != "unknown"]
        return frame.select("video_id", "title", tags=pl.concat_list(flags).list.drop_nulls())
    if path.suffix == ".csv":
        return read_videos(path, pl.col("movieId").alias("video_id"), pl.col("title"), _genres())
    frame = pl.concat(_delimited(path, ["video_id", "title", "genres"], CHUNK_BYTES))
    return frame.select("video_id", "title", _genres())


def _genres() -> pl.Expr:
    genres = pl.col("genres").fill_null("").str.to_lowercase()
    genres = genres.str.replace("(no genres listed)", "", literal=True)
    return genres.str.split("|").list.eval(pl.element().filter(pl.element() != "")).alias("tags")


def _delimited(path: Path, names: list[str], chunk_bytes: int) -> Iterator[pl.DataFrame]:
    """Lines without a header, parted by `::`, `|` or tabs, in Latin-1 as the older releases are."""
    separator = _SEPARATORS.get(path.name, "::")
    for block in blocks(path, chunk_bytes, line_end):
        text = block.decode("utf-8" if is_utf8(block) else "latin-1").replace(separator, "\t")
        try:
            frame = pl.read_csv(
                text.encode(),
                has_header=False,
                new_columns=names,
                separator="\t",
                quote_char=None,
                infer_schema=False,
                truncate_ragged_lines=True,
            )
            yield frame.select(names)
        except pl.exceptions.PolarsError as error:
            raise BadInput(
                f"{path} is not a MovieLens file of {len(names)} columns: {first_line(error)}"
            ) from error


MOVIELENS: Final = LogFormat("movielens", _role, _needs, _events, _videos)
