"""What the header of an MP4 or MOV says that decoders do not: is it trimmed, and how is it turned?

A trimmed file keeps frames that no player shows. decord counts them, so its frame numbers are wrong there;
the decoder asks this before it chooses the rung. Read from the boxes themselves: no decoder, no frame.
Source: ISO/IEC 14496-12, sections 8.2.2 (movie header), 8.3.2 (track header), 8.4.2 (media header),
8.6.5 and 8.6.6 (edit list).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

FIRST_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
BRANCHES: Final = frozenset({b"moov", b"trak", b"edts", b"mdia"})
MAX_BOXES: Final = 4096
MAX_EDITS: Final = 1024
TOLERANCE_S: Final = 0.1
"""A last frame's length and an encoder's padding may differ between two headers; no trim is meant."""


@dataclass(frozen=True, slots=True)
class MovieHeader:
    """Of the first video track."""

    trimmed: bool
    """Several edits, or an edit that ends before the track's frames do."""
    rotation: int
    """Clockwise turn before display: 0, 90, 180 or 270 degrees."""


@dataclass(slots=True)
class _Track:
    edits: tuple[tuple[int, int], ...] = ()
    """(length in the movie's time scale, start in the track's time scale; -1 for an empty edit)."""
    scale: int = 0
    duration: int = 0
    rotation: int = 0
    is_video: bool = False


def read_movie_header(path: Path) -> MovieHeader:
    """The header of the first video track; untrimmed and upright for files of another kind.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        if stream.read(8)[4:] not in FIRST_BOXES:
            return MovieHeader(False, 0)
        scale, tracks = _read_tracks(stream)
    videos = [track for track in tracks if track.is_video]
    return MovieHeader(any(_shows_less(t, scale) for t in videos), videos[0].rotation if videos else 0)


def _shows_less(track: _Track, movie_scale: int) -> bool:
    shown = [edit for edit in track.edits if edit[1] >= 0]
    if len(shown) > 1:
        return True
    if not shown or not track.scale or not movie_scale or not shown[0][0]:
        return False
    length, start = shown[0]
    return start / track.scale + length / movie_scale < track.duration / track.scale - TOLERANCE_S


def _read_tracks(stream: BinaryIO) -> tuple[int, list[_Track]]:
    movie_scale = 0
    tracks: list[_Track] = []
    for kind, at, size in _boxes(stream):
        if kind == b"mvhd":
            movie_scale, _ = _times(stream, at)
        elif kind == b"trak":
            tracks.append(_Track())
        elif tracks:
            _read_leaf(stream, kind, at, size, tracks[-1])
    return movie_scale, tracks


def _read_leaf(stream: BinaryIO, kind: bytes, at: int, size: int, track: _Track) -> None:
    if kind == b"tkhd":
        track.rotation = _rotation(stream, at)
    elif kind == b"mdhd":
        track.scale, track.duration = _times(stream, at)
    elif kind == b"hdlr":
        track.is_video |= _bytes(stream, at + 8, 4) == b"vide"
    elif kind == b"elst":
        track.edits = _edits(stream, at, size)


def _boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the content, its size), branches before their leaves; stops at nonsense."""
    waiting = [(0, stream.seek(0, os.SEEK_END))]
    for _ in range(MAX_BOXES):
        while waiting and waiting[-1][0] + 8 > waiting[-1][1]:
            waiting.pop()
        if not waiting:
            return
        start, end = waiting.pop()
        size, kind = struct.unpack(">I4s", _bytes(stream, start, 8))
        header = 8
        if size == 1:
            (size,), header = struct.unpack(">Q", _bytes(stream, start + 8, 8)), 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        waiting.append((start + size, end))
        if kind in BRANCHES:
            waiting.append((start + header, start + size))
        yield kind, start + header, size - header


def _times(stream: BinaryIO, at: int) -> tuple[int, int]:
    """Time scale and duration of an `mvhd` or `mdhd`."""
    if _bytes(stream, at, 1) == b"\1":
        scale, duration = struct.unpack(">IQ", _bytes(stream, at + 20, 12))
    else:
        scale, duration = struct.unpack(">II", _bytes(stream, at + 12, 8))
    return scale, duration


def _rotation(stream: BinaryIO, at: int) -> int:
    """Clockwise degrees from the matrix of a `tkhd`, to the next quarter turn."""
    matrix_at = at + (52 if _bytes(stream, at, 1) == b"\1" else 40)
    a, b = struct.unpack(">ii", _bytes(stream, matrix_at, 8))
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360


def _edits(stream: BinaryIO, at: int, size: int) -> tuple[tuple[int, int], ...]:
    version, count = struct.unpack(">B3xI", _bytes(stream, at, 8))
    entry = struct.Struct(">Qq4x" if version == 1 else ">Ii4x")
    count = min(count, MAX_EDITS, max(0, size - 8) // entry.size)
    return tuple(entry.iter_unpack(_bytes(stream, at + 8, count * entry.size)))


def _bytes(stream: BinaryIO, at: int, n: int) -> bytes:
    """n bytes at a place; zeros stand for what lies past the end."""
    stream.seek(at)
    return stream.read(n).ljust(n, b"\0")
