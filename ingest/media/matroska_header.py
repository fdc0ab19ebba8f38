"""How a Matroska or WebM file is turned: the roll of its projection, which no decoder tells before a frame.

Source: RFC 9559 (Matroska), section 5.1.4.1.28, Projection and its ProjectionPoseRoll; sizes as in RFC 8794.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

SIGNATURE: Final = b"\x1a\x45\xdf\xa3"
PROJECTION: Final = b"\x76\x70"
ROLL: Final = b"\x76\x75"
HEAD: Final = 1 << 16
"""The tracks are described within so many bytes of the start."""
LONGEST: Final = 64
"""A projection without data of its own is shorter."""


def read_roll(path: Path) -> int:
    """Clockwise turn before display, degrees: 0, 90, 180 or 270; 0 where none is given, or several.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        head = stream.read(HEAD)
    if not head.startswith(SIGNATURE):
        return 0
    turns = {turn for part in head.split(PROJECTION)[1:] if (turn := _turn(part[:LONGEST]))}
    return turns.pop() if len(turns) == 1 else 0


def _turn(projection: bytes) -> int:
    _, found, rest = projection.partition(ROLL)
    size = rest[0] & 0x7F if found and len(rest) > 8 and rest[0] & 0x80 else 0
    if size not in (4, 8):
        return 0
    (degrees,) = struct.unpack(">f" if size == 4 else ">d", rest[1 : 1 + size])
    return int(-degrees) % 360 if degrees in (90.0, 180.0, 270.0, -90.0, -180.0, -270.0) else 0
