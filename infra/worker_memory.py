"""What a serving worker holds in memory for each video: everything on its desk, counted."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.workspace import Workspace
from serving.desk import open_desk

_INDEXES = ("index.faiss", "content.faiss")


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """Of one bundle, on the desk of one worker."""

    bundle: str
    videos: int
    bytes_a_video: float
    """Arrays, texts and indexes, bytes."""
    bytes_fixed: float
    """Weights of the models, bytes; the program itself and its libraries come on top."""


def measure_worker(workspace: Workspace) -> WorkerMemory | None:
    """What the published bundle takes on a worker's desk; None where none is published."""
    published = workspace.published_bundles()
    if not published:
        return None
    desk = open_desk(workspace, published[-1])
    _ = desk.bundle.centred  # made at the first request, and kept
    directory = workspace.model(published[-1])
    seen: set[int] = set()
    trees = directory / "trees.txt"
    fixed = _size_of(desk.bundle.tower, seen) + (trees.stat().st_size if trees.exists() else 0)
    indexes = sum((directory / name).stat().st_size for name in _INDEXES)
    centred = _size_of(desk.bundle.centred, seen)
    a_video = (_size_of(desk, seen) + centred + indexes) / len(desk.videos)
    return WorkerMemory(desk.name, len(desk.videos), a_video, fixed)


def _size_of(thing: Any, seen: set[int]) -> int:
    """Bytes of arrays, texts and containers within records, each counted once."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return int(thing.nbytes)
    if dataclasses.is_dataclass(thing):
        return sum(_size_of(getattr(thing, field.name), seen) for field in dataclasses.fields(thing))
    size = sys.getsizeof(thing, 0)
    if isinstance(thing, dict):
        return size + sum(_size_of(key, seen) + _size_of(value, seen) for key, value in thing.items())
    if isinstance(thing, list | tuple | set | frozenset):
        return size + sum(_size_of(one, seen) for one in thing)
    return size
