"""First rung: decord, scaled in the decoder, on one thread, at sorted indices chosen by timestamp."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.failures import MediaRefused
from ingest.pictures import Pictures, Size, midpoints
from ingest.probe import Probe
from ingest.pyav_rung import Sound


def load_decord() -> Any:
    """The decord module, loaded without the CUDA libraries that it would preload.

    Its import opens every library of the installed `nvidia` packages for all to see: 650 MiB that a decoder
    has no use for, and a crash in a torch that is imported later. They are hidden during that import only.
    """
    if "decord" in sys.modules:
        return sys.modules["decord"]
    with _without_package("nvidia"):
        decord = importlib.import_module("decord")
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def read_frames(path: Path, found: Probe, wanted: int, size: Size) -> Pictures:
    """Frames shown at the midpoints of `wanted` equal parts.

    Raises:
        MediaRefused: decord cannot read it, or would give wrong frames (an edit list).
    """
    if found.trimmed:
        raise MediaRefused("decode", "corrupt", "its edit list shows less than the file holds")
    decord = load_decord()
    with _ours(decord):
        name = os.path.abspath(path)
        reader = decord.VideoReader(name, width=size.width, height=size.height, num_threads=1)
        if not len(reader):
            raise MediaRefused("decode", "corrupt", "no frame")
        spans = np.asarray(reader.get_frame_timestamp(np.arange(len(reader))), np.float64)  # (n, 2)
        indices = _choose(spans, wanted)
        frames = reader.get_batch(indices.tolist()).asnumpy()
    start_s = spans[0, 0]
    return Pictures(frames, spans[indices, 0] - start_s, float(spans[-1, 1] - start_s), "decord")


def read_sound(path: Path, found: Probe, max_s: float) -> Sound:
    """The whole track, mono, at its native rate.

    Raises:
        MediaRefused: decord cannot read it.
    """
    decord = load_decord()
    with _ours(decord):
        reader = decord.AudioReader(os.path.abspath(path), sample_rate=-1, mono=False)
        # A slice is copied value by value (1.2 s for a minute of sound); the array behind it is there.
        channels = reader._array if hasattr(reader, "_array") else reader[:].asnumpy()
        return Sound.mixed(channels, found.sample_rate_hz, max_s, "decord")


def _choose(spans: npt.NDArray[np.float64], wanted: int) -> npt.NDArray[np.int64]:
    """Index of the frame shown at each midpoint, each once, increasing."""
    starts = spans[:, 0]
    if starts[0] < 0:
        raise MediaRefused("decode", "corrupt", f"an edit list hides its start ({starts[0]:.3f} s)")
    if (np.diff(starts) < 0).any():
        raise MediaRefused("decode", "corrupt", "its frames are not in order of time")
    targets = midpoints(wanted, starts[0], max(spans[-1, 1], starts[-1]))
    return np.unique(np.clip(np.searchsorted(starts, targets, side="right") - 1, 0, len(starts) - 1))


@contextmanager
def _ours(decord: Any) -> Iterator[None]:
    """decord's own errors, and those of the Python around it, as a refusal."""
    try:
        yield
    except MemoryError:
        raise
    except (decord.DECORDError, RuntimeError, IndexError, ValueError, TypeError) as error:
        raise MediaRefused("decode", "corrupt", _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """Without the path of decord's source, which says nothing to the reader."""
    return str(error).splitlines()[0].split(": ", 1)[-1][:200] if str(error) else type(error).__name__


@contextmanager
def _without_package(hidden: str) -> Iterator[None]:
    find = importlib.util.find_spec

    def find_others(name: str, package: str | None = None) -> Any:
        return None if name.partition(".")[0] == hidden else find(name, package)

    importlib.util.find_spec = find_others
    try:
        yield
    finally:
        importlib.util.find_spec = find
