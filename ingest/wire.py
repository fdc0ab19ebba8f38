"""Between a worker and its decoder child: one JSON header, then arrays as plain bytes.

The child reads untrusted media, so what comes from it is not trusted either: sizes and types are checked
against bounds before memory is taken, and nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LENGTH: Final = struct.Struct(">I")
MAX_HEADER: Final = 1 << 16
MAX_ARRAYS: Final = 1 << 29
"""Bytes of all arrays of one message."""
DTYPES: Final = frozenset({"uint8", "float32", "float64"})

Array = npt.NDArray[Any]
Part = bytes | memoryview


class WireError(Exception):
    """What arrived is no message of ours."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: named values and named arrays."""

    fields: Mapping[str, Any]
    arrays: Mapping[str, Array]


def pack(fields: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> list[Part]:
    """The parts of a message, to be written one after the other; arrays are not copied."""
    solid = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    layout = [[name, array.dtype.name, list(array.shape)] for name, array in solid.items()]
    header = json.dumps({"fields": fields, "arrays": layout}).encode()
    if len(header) > MAX_HEADER:
        raise WireError(f"a header of {len(header)} bytes; {MAX_HEADER} are allowed")
    contents = [array.reshape(-1).view(np.uint8).data for array in solid.values()]
    return [LENGTH.pack(len(header)) + header, *contents]


def unpack(read: Callable[[int], bytes | bytearray]) -> Message:
    """The next message.

    Args:
        read: gives exactly so many bytes, or raises.

    Raises:
        WireError: what arrives is no message, or is over a bound.
    """
    (size,) = LENGTH.unpack(read(LENGTH.size))
    if size > MAX_HEADER:
        raise WireError(f"a header of {size} bytes; {MAX_HEADER} are allowed")
    try:
        header = json.loads(bytes(read(size)))
        layout = [(str(name), str(dtype), tuple(map(int, shape))) for name, dtype, shape in header["arrays"]]
        fields = dict(header["fields"])
    except (ValueError, KeyError, TypeError) as error:
        raise WireError("the header is no JSON of ours") from error
    _check(layout)
    return Message(fields, {name: _array(read, dtype, shape) for name, dtype, shape in layout})


def _check(layout: list[tuple[str, str, tuple[int, ...]]]) -> None:
    total = 0
    for name, dtype, shape in layout:
        if dtype not in DTYPES or any(side < 0 for side in shape):
            raise WireError(f"array {name} is {dtype}{shape}")
        total += np.dtype(dtype).itemsize * math.prod(shape)
    if total > MAX_ARRAYS:
        raise WireError(f"arrays of {total} bytes; {MAX_ARRAYS} are allowed")


def _array(read: Callable[[int], bytes | bytearray], dtype: str, shape: tuple[int, ...]) -> Array:
    content = read(np.dtype(dtype).itemsize * math.prod(shape))
    return np.frombuffer(content, dtype).reshape(shape)
