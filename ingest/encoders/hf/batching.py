"""Rows of many items, brought to batches of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network computes at once."""

    places: list[int]
    """Item that each row belongs to, (n,)."""
    inputs: torch.Tensor
    """(n, …)."""
    mask: torch.Tensor | None = None
    """Of tokens, int64, (n, tokens): 1 where there is one, 0 where there is none; None for other inputs."""


def regroup(rows: Iterable[tuple[int, torch.Tensor]], size: int) -> Iterator[Batch]:
    """Batches of `size` rows, the last one smaller, in order.

    Args:
        rows: (item, its rows (k, …)); of an item that has many, k may be larger than `size`.
        size: >= 1.

    Example:
        >>> [b.places for b in regroup([(0, torch.zeros(3, 2)), (2, torch.zeros(2, 2))], 4)]
        [[0, 0, 0, 2], [2]]
    """
    places: list[int] = []
    parts: list[torch.Tensor] = []
    for place, inputs in rows:
        for part in torch.split(inputs, size):
            room = size - len(places)
            places, parts = places + [place] * min(room, len(part)), [*parts, part[:room]]
            if len(places) == size:
                yield Batch(places, torch.cat(parts))
                places, parts = [place] * (len(part) - room), [part[room:]]
    if places:
        yield Batch(places, torch.cat(parts))
