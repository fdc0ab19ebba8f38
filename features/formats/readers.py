"""Files of events or videos as they come: Parquet, CSV and JSON lines, in chunks that fit in memory.

Nothing is judged here: every value keeps the text or type that the file gave it, and a line that cannot be
read comes back with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.errors import BadInput, NotFound
from features.formats.readers_text import (
    CHUNK_BYTES,
    csv_chunks,
    first_line,
    header_of_csv,
    json_chunks,
    no_lines,
)

TABLES: Final = (".parquet", ".csv", ".jsonl", ".ndjson")
"""Endings of files that hold one table."""

WHOLE: Final = 1 << 62
"""As a size of chunks: the file in one."""

_COMPRESSED: Final = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
"""What compressed files begin with; no text in UTF-8 does."""

_BYTES_A_ROW: Final = 64
"""What a row of a Parquet file is taken to be, to cut it into chunks."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file as read, whole or a chunk of it."""

    path: Path
    digest: str
    """BLAKE2b-128 of the bytes of the whole file, hex."""
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


def read_table(path: Path) -> Source:
    """All rows of one Parquet, CSV or JSON lines file.

    Raises:
        BadInput: the ending is another one, or the file cannot be read as what it claims to be.
    """
    parts = list(read_chunks(path, WHOLE))
    frames, broken = (
        pl.concat([p.frame for p in parts], how="diagonal_relaxed"),
        pl.concat([p.broken for p in parts]),
    )
    return Source(path, parts[0].digest, frames, broken)


def read_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Source]:
    """The rows of one Parquet, CSV or JSON lines file, at least one chunk, together the whole file.

    Args:
        path: the file.
        chunk_bytes: about how much of it is in memory at a time.

    Raises:
        BadInput: the ending is another one, or the file cannot be read as what it claims to be.
    """
    kind = path.suffix.lower()
    if kind not in TABLES:
        raise BadInput(f"{path} ends in {kind or 'nothing'}; this reads {', '.join(TABLES)}")
    if not path.stat().st_size:
        raise BadInput(f"{path} is empty; expected a table with a header or at least one row")
    if kind != ".parquet":
        _refuse_compressed(path)
    digest = digest_of(path)
    try:
        if kind == ".parquet":
            for frame in _parquet_chunks(path, max(1, chunk_bytes // _BYTES_A_ROW)):
                yield Source(path, digest, frame, no_lines())
        elif kind == ".csv":
            for frame in csv_chunks(path, chunk_bytes):
                yield Source(path, digest, frame, no_lines())
        else:
            for frame, broken in json_chunks(path, chunk_bytes):
                yield Source(path, digest, frame, broken)
    except (pl.exceptions.PolarsError, OSError) as error:
        quotes = "; close each quote, and double one within a value" if kind == ".csv" else ""
        said = f"{path} cannot be read as {kind.removeprefix('.')}: {first_line(error)}{quotes}"
        raise BadInput(said) from error


def columns_of(path: Path) -> tuple[str, ...]:
    """Names of the columns that a CSV or Parquet file begins with; none where it does not say so."""
    try:
        if path.suffix.lower() == ".parquet":
            return tuple(pl.read_parquet_schema(path))
        return header_of_csv(path) if path.suffix.lower() == ".csv" else ()
    except (pl.exceptions.PolarsError, OSError):
        return ()  # whoever reads it says what is wrong with it


def digest_of(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _refuse_compressed(path: Path) -> None:
    with open(path, "rb") as stream:
        begin = stream.read(4)
    for name, mark in _COMPRESSED.items():
        if begin.startswith(mark):
            raise BadInput(f"{path} is compressed with {name}; unpack it first")


def _parquet_chunks(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    start, seen = 0, False
    for frame in pl.scan_parquet(path, glob=False).collect_batches(chunk_size=rows, maintain_order=True):
        yield numbered(frame, start)
        start, seen = start + len(frame), True
    if not seen:
        yield numbered(pl.read_parquet(path), 0)


def numbered(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    """The frame with `row`, the place in the file; the file's own column of that name is dropped."""
    rows = pl.int_range(pl.len(), dtype=pl.Int64) + start
    return frame.drop("row", strict=False).select(rows.alias("row"), pl.all())
