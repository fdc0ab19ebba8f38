"""Second rung: decord, scaled in the decoder, on one thread, at sorted indices chosen by timestamp."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ingest.failures import MediaRefused
from ingest.media.pictures import TIME_ERROR_S, Pictures, Size
from ingest.media.probe import Media
from ingest.media.sampling import Places
from ingest.media.scan import Index


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


def read_frames(media: Media, index: Index, places: Places, size: Size) -> Pictures:
    """The frames at these places of the track.

    Raises:
        MediaRefused: decord cannot read it, or counts its frames otherwise than a player does.
    """
    starts = index.track.starts_s
    if media.found.trimmed or not index.plain or starts[0] < 0:
        raise MediaRefused("decode", "corrupt", "it hides frames, or stores them across key frames")
    decord = load_decord()
    with _ours(decord):
        name = os.path.abspath(media.name)
        reader = decord.VideoReader(name, width=size.width, height=size.height, num_threads=1)
        if len(reader) != len(starts):
            raise MediaRefused("decode", "corrupt", f"it counts {len(reader)} frames of {len(starts)}")
        times = np.asarray(reader.get_frame_timestamp(np.append(0, places)), np.float64)[:, 0]
        if not np.allclose(times[1:] - times[0], starts[places] - starts[0], rtol=1e-6, atol=TIME_ERROR_S):
            raise MediaRefused("decode", "corrupt", "its times are not those of the packets")
        frames = reader.get_batch(places.tolist()).asnumpy()
    return Pictures(frames, starts[places] - starts[0], index.track.duration_s, "decord")


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
