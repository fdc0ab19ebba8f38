"""Second stage: the visitor's latest events, in one round trip to Redis."""

from __future__ import annotations

from dataclasses import dataclass

from features.contracts import Histories
from features.errors import RecError, StoreUnavailable, VersionMismatch
from features.store import Store
from serving.degrade import Breaker
from serving.parse import Ask


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as far as is known."""

    histories: Histories
    """Of one user, (1, h); empty for a new one."""
    lost: RecError | None = None
    """Why the history could not be read, where it could not."""

    @property
    def is_new(self) -> bool:
        return not int(self.histories.lengths[0])


def fetch_user(store: Store, breaker: Breaker, ask: Ask) -> Visitor:
    """The visitor's history: the stored one of a known user, else the one the request brought.

    A store that does not answer is a value here, since there is still a slate to make.
    """
    if ask.user_id is None:
        return Visitor(ask.given)
    user_id = ask.user_id
    try:
        return Visitor(breaker.call(lambda: store.read_user(user_id)))
    except (StoreUnavailable, VersionMismatch) as error:
        return Visitor(Histories.empty(1), lost=error)
