"""Third stage: a few hundred candidates from every source, and which source found each."""

from __future__ import annotations

from ranker.retrieve import Candidates, retrieve
from serving.desk import Desk
from serving.fetch_user import Visitor
from serving.parse import Ask


def retrieve_candidates(desk: Desk, visitor: Visitor, ask: Ask) -> Candidates:
    """Candidates of one request, without what the visitor has seen unless the request wants that."""
    wanted = min(ask.candidates, len(desk.videos))
    return retrieve(desk.bundle, visitor.histories, ask.context, wanted, exclude_seen=not ask.include_seen)
