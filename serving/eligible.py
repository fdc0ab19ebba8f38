"""Fourth stage: only what may be shown to this visitor now; what is removed is counted by reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts import Histories, VideoTable, seen_mask
from ranker.retrieve import Candidates
from serving.desk import Rows, Shelf
from serving.parse import Ask

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Eligible:
    """Candidates of one request that may be shown."""

    candidates: Candidates
    """One user's, without padding."""
    retrieved: int
    removed: dict[str, int]
    """How many fell to each rule; a video is counted at the first rule that removes it."""


def keep_eligible(candidates: Candidates, shelf: Shelf, ask: Ask) -> Eligible:
    """The candidates that pass every rule."""
    real = candidates.rows[0] >= 0
    rows = candidates.rows[0][real]
    keep, removed = apply_rules(rows, shelf, ask)
    kept = Candidates(
        rows[keep][None, :],
        candidates.scores[0][real][keep][None, :],
        candidates.found[0][real][keep][None, :],
    )
    return Eligible(kept, len(rows), removed)


def apply_rules(rows: Rows, shelf: Shelf, ask: Ask) -> tuple[Mask, dict[str, int]]:
    """Which rows may be shown, (n,), and how many each rule removed."""
    keep, removed = np.ones(len(rows), np.bool_), {}
    for name, allowed in _rules(rows, shelf, ask):
        fell = int((keep & ~allowed).sum())
        if fell:
            removed[name] = fell
        keep &= allowed
    return keep, removed


def unseen(rows: Rows, videos: VideoTable, histories: Histories) -> Mask:
    """True for rows that the user has not seen, (n,)."""
    length = int(histories.lengths[0])
    keys = histories.video_keys[0, :length]
    seen = keys[seen_mask(histories.events[0, :length])]
    return ~np.isin(videos.keys[rows], seen)


def _rules(rows: Rows, shelf: Shelf, ask: Ask) -> Iterator[tuple[str, Mask]]:
    yield "excluded", ~np.isin(rows, ask.excluded)
    yield (
        "unavailable",
        (shelf.available_from_ms[rows] <= ask.now_ms) & (ask.now_ms < shelf.available_until_ms[rows]),
    )
    if ask.age is not None:
        yield "age", shelf.min_age[rows] <= ask.age
    if ask.country is not None and shelf.regions:
        yield "region", np.array([_allowed_in(shelf, int(row), ask.country) for row in rows], np.bool_)


def _allowed_in(shelf: Shelf, row: int, country: str) -> bool:
    allowed = shelf.regions.get(row)
    return allowed is None or country in allowed
