"""Feature rows as bytes, and whole Redis commands laid out by NumPy: no step is taken row by row.

A row is a header (version of the packing u8, kind u8, hash of the schema u32, columns u16) and its float32
values, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import Floats
from features.errors import VersionMismatch
from features.row_store.keys import Bytes
from features.row_store.schema import RowSchema, describe, schema_hash

ROW_PACKING: Final = 1
HEADER: Final = struct.Struct("<BBIH")
KINDS: Final = {"video": 16, "user": 17}

SET_ROWS: Final = 64
"""Rows of one MSET: few enough that Redis answers others in between, many enough to save replies."""


def header_of(schema: RowSchema) -> bytes:
    """What every row of a schema begins with."""
    return HEADER.pack(ROW_PACKING, KINDS[schema.entity], schema_hash(schema), len(schema.names))


def packed_words(*words: bytes) -> bytes:
    """A Redis command of a few words."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def command(name: bytes, keys: Bytes) -> bytes:
    """A Redis command whose arguments are keys of one length, uint8, (n, length)."""
    n, length = keys.shape
    lead = b"$%d\r\n" % length
    body = np.empty((n, len(lead) + length + 2), np.uint8)
    _fill(body, lead, keys, b"\r\n")
    return b"*%d\r\n$%d\r\n%s\r\n" % (n + 1, len(name), name) + body.tobytes()


def set_commands(schema: RowSchema, keys: Bytes, matrix: Floats) -> tuple[list[memoryview], int]:
    """MSET commands that store rows, and how many they are.

    Args:
        schema: of the rows.
        keys: uint8, (n, length).
        matrix: float32, (n, w).
    """
    whole = len(keys) // SET_ROWS * SET_ROWS
    parts = [(slice(0, whole), SET_ROWS), (slice(whole, len(keys)), len(keys) - whole)]
    blocks = [_block(schema, keys[at], matrix[at], size) for at, size in parts if at.stop > at.start]
    return [block.reshape(-1).data for block in blocks], sum(len(block) for block in blocks)


def _block(schema: RowSchema, keys: Bytes, matrix: Floats, size: int) -> Bytes:
    """One MSET of `size` rows in each row of the answer."""
    n, length = keys.shape
    values = np.ascontiguousarray(matrix, "<f4").view(np.uint8)  # (n, 4 w)
    lead = b"$%d\r\n" % length
    middle = b"\r\n$%d\r\n" % (HEADER.size + values.shape[1]) + header_of(schema)
    stride = len(lead) + length + len(middle) + values.shape[1] + 2
    start = b"*%d\r\n$4\r\nMSET\r\n" % (2 * size + 1)
    out = np.empty((n // size, len(start) + size * stride), np.uint8)
    out[:, : len(start)] = np.frombuffer(start, np.uint8)
    rows = out[:, len(start) :].reshape(n // size, size, stride)  # a view: only the last axis is split
    shape = (n // size, size, -1)
    _fill(rows, lead, keys.reshape(shape), middle, values.reshape(shape), b"\r\n")
    return out


def _fill(out: Bytes, *parts: bytes | Bytes) -> None:
    """Writes parts side by side into the last axis of an array that was just made for them."""
    at = 0
    for part in parts:
        block = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
        out[..., at : at + block.shape[-1]] = block
        at += block.shape[-1]


def decode_rows(schema: RowSchema, values: Sequence[bytes | None]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Rows as one matrix, float32, (n, w), NaN where a row is missing; and which are present, bool, (n,).

    Raises:
        VersionMismatch: a row was packed with another schema, or is cut short.
    """
    header, width = header_of(schema), len(schema.names)
    present = np.ones(len(values), np.bool_)
    if None in values:
        missing = header + np.full(width, np.nan, "<f4").tobytes()
        present = np.array([value is not None for value in values], np.bool_)
        values = [missing if value is None else value for value in values]
    packed = b"".join(values)  # type: ignore[arg-type]  # none is None any more
    row = np.dtype([("header", "<u8"), ("values", "<f4", (width,))])
    if len(packed) != len(values) * row.itemsize:
        _refuse(schema, values)
    rows = np.frombuffer(packed, row)
    if (rows["header"] != int.from_bytes(header, "little")).any():
        _refuse(schema, values)
    return np.ascontiguousarray(rows["values"], np.float32), present


def _refuse(schema: RowSchema, values: Sequence[bytes | None]) -> None:
    ours = (ROW_PACKING, KINDS[schema.entity], schema_hash(schema), len(schema.names))
    size = HEADER.size + 4 * len(schema.names)
    for value in values:
        head = HEADER.unpack_from(value) if value is not None and len(value) >= HEADER.size else None
        if value is None or (head == ours and len(value) == size):
            continue
        said = "no header" if head is None else "packing {}, kind {}, hash {:08x}, {} columns".format(*head)
        raise VersionMismatch(
            f"a {schema.entity} row is stored with {said} in {len(value)} bytes; this program reads "
            f"packing {ROW_PACKING}, kind {KINDS[schema.entity]}, {describe(schema)} in {size} bytes; "
            "load the rows again"
        )
