"""Text files in chunks: blocks of whole rows, parsed one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import polars as pl

from features.errors import BadInput

CHUNK_BYTES: Final = 8 << 20
"""About how much of a file is in memory at a time."""

LONGEST_ROW: Final = 256 << 20
"""A row of more bytes than this is none: a quote was opened and never closed."""

MOST_CONTENT: Final = 2000
"""Characters kept of a refused row."""

EXACT_BELOW: Final = 2**53
"""From here on a float does not tell whole numbers apart."""

_BOM: Final = b"\xef\xbb\xbf"

Cut = Callable[[bytes], int]


def csv_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES, *, lossy: bool = False) -> Iterator[pl.DataFrame]:
    """The rows of a CSV file with a header, all columns as text, with their place in `row`.

    Args:
        path: the file.
        chunk_bytes: size of a block.
        lossy: take bytes that are no UTF-8 as the replacement character, instead of refusing the file.

    Raises:
        BadInput: the file is not UTF-8, or a quoted value never ends.
    """
    header, start = b"", 0
    for block in blocks(path, chunk_bytes, row_end):
        if not header and not (block := block.lstrip(b"\r\n")):
            continue
        if not lossy and not is_utf8(block):
            raise BadInput(f"{path} is not UTF-8: ids in it would be altered; save it as UTF-8")
        content = header + block
        header = header or _first_row(block) or block
        frame = pl.read_csv(content, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
        yield frame.drop("row", strict=False).select(
            (pl.int_range(pl.len(), dtype=pl.Int64) + start).alias("row"), pl.all()
        )
        start += len(frame)
    if not header:
        raise BadInput(f"{path} holds empty lines only; expected a header")


def header_of_csv(path: Path) -> tuple[str, ...]:
    """Names of the columns in the first line of a CSV file."""
    with open(path, "rb") as stream:
        line = stream.readline(1 << 20)
    return tuple(pl.read_csv(line, infer_schema=False, encoding="utf8-lossy").columns) if line.strip() else ()


def json_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The rows of a JSON lines file with their place among its filled lines, and the lines that are none."""
    start = 0
    for block in blocks(path, chunk_bytes, line_end):
        lines = [line for line in block.splitlines() if line.strip()]
        frame, broken = _read_json_lines(block, lines)
        yield frame.with_columns(pl.col("row") + start), broken.with_columns(pl.col("row") + start)
        start += len(lines)


def blocks(path: Path, size: int, cut: Cut) -> Iterator[bytes]:
    """A file in blocks of whole rows, about `size` bytes each.

    Args:
        path: the file.
        size: bytes.
        cut: where the last whole row of a block ends, 0 where none does.

    Raises:
        BadInput: a row has no end for LONGEST_ROW bytes.
    """
    with open(path, "rb") as stream:
        rest = _without_mark(stream)
        while read := stream.read(min(size, LONGEST_ROW)):
            rest += read
            end = cut(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
            elif len(rest) > LONGEST_ROW:
                begin = rest[:60].decode("utf-8", "replace")
                raise BadInput(
                    f"{path} has a row of more than {LONGEST_ROW >> 20} MiB that begins {begin!r}; "
                    "close its quote or shorten it"
                )
        if rest:
            yield rest


def line_end(block: bytes) -> int:
    """Where the last line of a block ends, 0 where none does."""
    return block.rfind(b"\n") + 1


def row_end(block: bytes) -> int:
    """Where the last row of CSV ends, outside quotes; 0 where none does. The block begins with a row."""
    end = line_end(block)
    if block.count(b'"', 0, end) % 2 == 0:
        return end
    content = np.frombuffer(block, np.uint8)
    quoted = np.bitwise_xor.accumulate((content == ord('"')).view(np.uint8))
    ends = np.flatnonzero((content == ord("\n")) & (quoted == 0))
    return int(ends[-1]) + 1 if len(ends) else 0


def is_utf8(content: bytes) -> bool:
    """True where the bytes are text in UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def no_lines() -> pl.DataFrame:
    """No line that could not be read: row, content."""
    return pl.DataFrame(schema={"row": pl.Int64(), "content": pl.String()})


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _without_mark(stream: BinaryIO) -> bytes:
    begin = stream.read(len(_BOM))
    return b"" if begin == _BOM else begin


def _first_row(block: bytes) -> bytes:
    """The header of a CSV file with its line end; it may hold quoted line ends."""
    end = block.find(b"\n") + 1
    while end and block.count(b'"', 0, end) % 2:
        end = block.find(b"\n", end) + 1
    return block[:end]


def _read_json_lines(block: bytes, lines: list[bytes]) -> tuple[pl.DataFrame, pl.DataFrame]:
    try:
        frame = pl.read_ndjson(block, infer_schema_length=None)
        if frame.columns and len(frame) == len(lines) and not _has_rounded_ids(frame):
            return _numbered(frame), no_lines()
    except pl.exceptions.PolarsError:
        pass  # one bad line must not cost the others: they are read one by one
    rows: list[dict[str, object]] = []
    broken: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            rows.append(said | {"row": number})
        else:
            broken.append((number, line[: 4 * MOST_CONTENT].decode("utf-8", "replace")[:MOST_CONTENT]))
    return _frame_of(rows), pl.DataFrame(broken, schema=no_lines().schema, orient="row")


def _has_rounded_ids(frame: pl.DataFrame) -> bool:
    """True where one fraction made floats of a column of ids, and others in it are too large for that."""
    ids = [n for n, dtype in frame.schema.items() if n.endswith("_id") and dtype.is_float()]
    return any((frame[name].abs() >= EXACT_BELOW).any() for name in ids)


def _frame_of(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Objects as rows: lists where a column has nothing else, and text elsewhere."""
    others = {key for row in rows for key, value in row.items() if not isinstance(value, list | type(None))}
    plain = [{key: _plain(value, key in others) for key, value in row.items()} for row in rows]
    try:
        frame = (
            pl.from_dicts(plain, infer_schema_length=None, strict=False)
            if plain
            else pl.DataFrame({"row": []})
        )
    except pl.exceptions.PolarsError:  # lists of different things
        texts = [{key: _plain(value, True) for key, value in row.items()} for row in plain]
        frame = pl.from_dicts(texts, infer_schema_length=None)
    return frame.cast({"row": pl.Int64})


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("row", strict=False).with_row_index("row").cast({"row": pl.Int64})


def _plain(value: object, as_text: bool) -> object:
    """A value that fits a column of mixed types: its JSON text, unless it is text, null or one of lists."""
    if value is None or isinstance(value, str) or (isinstance(value, list) and not as_text):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_BELOW:
        value = int(value)  # 2.0 and 2 are one id, whatever the lines around it are like
    return json.dumps(value, ensure_ascii=False)
