"""Files of events or videos as they come: Parquet, CSV and JSON lines, and the folders of MovieLens.

Nothing is judged here: every value keeps the text or type that the file gave it, and a line that cannot be
read comes back with its reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.errors import BadInput, NotFound

TABLES: Final = (".parquet", ".csv", ".jsonl", ".ndjson")
"""Endings of files that hold one table."""

RATINGS: Final = ("ratings.csv", "ratings.dat", "u.data")
MOVIES: Final = ("movies.csv", "movies.dat", "u.item")

_GENRES_100K: Final = (
    *("unknown", "action", "adventure", "animation", "children's", "comedy", "crime", "documentary", "drama"),
    *(
        "fantasy",
        "film-noir",
        "horror",
        "musical",
        "mystery",
        "romance",
        "sci-fi",
        "thriller",
        "war",
        "western",
    ),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One file as read."""

    path: Path
    digest: str
    """BLAKE2b-128 of the bytes, hex."""
    frame: pl.DataFrame
    """Its rows, with the place of each in the column `row`."""
    broken: pl.DataFrame
    """Lines that could not be parsed: row, content."""


def find_files(paths: list[Path], wanted: Callable[[Path], bool]) -> list[Path]:
    """The named files, and the wanted files directly in the named folders, sorted within a folder.

    Raises:
        NotFound: a path is not there.
        BadInput: nothing is named, or a folder has no wanted file.
    """
    if not paths:
        raise BadInput("no file was named; give at least one")
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and wanted(p))
            if not inside:
                raise BadInput(
                    f"folder {path} has no file that can be read here; expected {', '.join(TABLES)}"
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise NotFound(f"{path} is not there; name a file or a folder that exists")
    return list(dict.fromkeys(found))


def is_table(path: Path) -> bool:
    """True for a name that says it holds a table."""
    return path.suffix.lower() in TABLES and not path.name.startswith(".")


def is_movielens(path: Path) -> bool:
    """True for a file that belongs to a MovieLens release."""
    return path.name in (*RATINGS, *MOVIES)


def read_table(path: Path) -> Source:
    """The rows of one Parquet, CSV or JSON lines file.

    Raises:
        BadInput: the ending is another one, or the file cannot be read as what it claims to be.
    """
    content = path.read_bytes()
    kind = path.suffix.lower()
    if kind not in TABLES:
        raise BadInput(f"{path} ends in {kind or 'nothing'}; this reads {', '.join(TABLES)}")
    if not content:
        raise BadInput(f"{path} is empty; expected a table with a header or at least one row")
    broken = _no_lines()
    try:
        if kind == ".parquet":
            frame = _numbered(pl.read_parquet(path))
        elif kind == ".csv":
            if not _is_utf8(content):
                raise BadInput(f"{path} is not UTF-8: ids in it would be altered; save it as UTF-8")
            frame = _numbered(pl.read_csv(content, infer_schema=False, truncate_ragged_lines=True))
        else:
            frame, broken = _read_json_lines(content)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(f"{path} cannot be read as {kind.removeprefix('.')}: {_first_line(error)}") from error
    return Source(path, _digest(content), frame, broken)


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `row`, the place in the file; the file's own column of that name is dropped."""
    return frame.drop("row", strict=False).with_row_index("row").cast({"row": pl.Int64})


def read_ratings(path: Path) -> Source:
    """MovieLens ratings as interactions: user_id, video_id, rating, ts."""
    content = path.read_bytes()
    names = ["user_id", "video_id", "rating", "ts"]
    frame = _delimited(path, content, names) if path.suffix != ".csv" else _csv(path, content, names)
    return Source(path, _digest(content), _numbered(frame), _no_lines())


def read_movies(path: Path) -> pl.DataFrame:
    """MovieLens movies as videos: video_id, title, tags (the genres)."""
    content = path.read_bytes()
    if path.name == "u.item":
        names = ["video_id", "title", "released", "_", "url", *_GENRES_100K]
        frame = _delimited(path, content, names)
        flags = [pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in _GENRES_100K if g != "unknown"]
        return frame.select("video_id", "title", tags=pl.concat_list(flags).list.drop_nulls())
    names = ["video_id", "title", "genres"]
    frame = _csv(path, content, names) if path.suffix == ".csv" else _delimited(path, content, names)
    genres = (
        pl.col("genres").fill_null("").str.to_lowercase().str.replace("(no genres listed)", "", literal=True)
    )
    tags = genres.str.split("|").list.eval(pl.element().filter(pl.element() != ""))
    return frame.select("video_id", "title", tags=tags)


def _csv(path: Path, content: bytes, names: list[str]) -> pl.DataFrame:
    try:
        frame = pl.read_csv(content, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path} cannot be read as csv: {_first_line(error)}") from error
    if len(frame.columns) < len(names):
        raise BadInput(
            f"{path} has {len(frame.columns)} columns ({', '.join(frame.columns)}), expected {len(names)}"
        )
    return frame.select(pl.col(old).alias(new) for old, new in zip(frame.columns, names, strict=False))


def _delimited(path: Path, content: bytes, names: list[str]) -> pl.DataFrame:
    """Lines without a header, parted by `::`, `|` or tabs, in Latin-1 as the older releases are."""
    separator = {"u.data": "\t", "u.item": "|"}.get(path.name, "::")
    text = content.decode("utf-8" if _is_utf8(content) else "latin-1").replace(separator, "\t")
    try:
        return pl.read_csv(
            text.encode(),
            has_header=False,
            new_columns=names,
            separator="\t",
            quote_char=None,
            infer_schema=False,
            truncate_ragged_lines=True,
        ).select(names)
    except pl.exceptions.PolarsError as error:
        raise BadInput(
            f"{path} is not a MovieLens file of {len(names)} columns: {_first_line(error)}"
        ) from error


def _read_json_lines(content: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    try:
        frame = pl.read_ndjson(content, infer_schema_length=None)
        if frame.columns and len(frame) == sum(1 for line in content.splitlines() if line.strip()):
            return _numbered(frame), _no_lines()
    except pl.exceptions.PolarsError:
        pass  # one bad line must not cost the others: they are read one by one
    rows: list[dict[str, object]] = []
    broken: list[tuple[int, str]] = []
    for number, line in enumerate(content.splitlines()):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if isinstance(said, dict):
            rows.append({key: _plain(value) for key, value in said.items()} | {"row": number})
        else:
            broken.append((number, line[:2000].decode("utf-8", "replace")))
    frame = pl.from_dicts(rows, infer_schema_length=None, strict=False) if rows else pl.DataFrame({"row": []})
    frame = frame.cast({"row": pl.Int64})
    return frame, pl.DataFrame(broken, schema=_no_lines().schema, orient="row")


def _plain(value: object) -> object:
    """A value that fits a column of mixed types: its JSON text, unless it is text, null or a list."""
    return value if value is None or isinstance(value, str | list) else json.dumps(value)


def _no_lines() -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.Int64(), "content": pl.String()})


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
