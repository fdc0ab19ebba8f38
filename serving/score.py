"""Fifth stage: one score a candidate, best first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts import Floats
from ranker.bundle import SOURCES
from ranker.score import score
from serving.desk import Desk, Rows
from serving.eligible import Eligible
from serving.fetch_user import Visitor
from serving.parse import Ask


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates of one request, best first; ties go to the older video."""

    rows: Rows
    """int32, (n,), unique."""
    scores: Floats
    """float32, (n,), not increasing; not a probability."""
    sources: tuple[tuple[str, ...], ...]
    """Which retrieval sources found each, (n,)."""


def score_candidates(eligible: Eligible, desk: Desk, visitor: Visitor, ask: Ask) -> Scored:
    """The eligible candidates with their scores."""
    candidates = eligible.candidates
    rows = candidates.rows[0]
    if not len(rows):
        return Scored(rows, np.zeros(0, np.float32), ())
    scores = score(desk.bundle, candidates, visitor.histories, ask.context, counters=visitor.counters)[0]
    order = np.lexsort((rows, -scores))
    found = candidates.found[0][order]
    return Scored(rows[order], scores[order], tuple(_names(row) for row in found.tolist()))


def _names(found: list[bool]) -> tuple[str, ...]:
    """Names of the sources; a small catalogue is scored whole, so that none may have brought it."""
    return tuple(name for name, there in zip(SOURCES, found, strict=True) if there) or ("catalogue",)
