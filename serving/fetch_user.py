"""Second stage: the visitor's counters and latest events, in one round trip to Redis."""

from __future__ import annotations

from dataclasses import dataclass

from features.contracts import Histories, UserCounters
from features.counters import counters_of_histories
from features.errors import RecError, StoreUnavailable, VersionMismatch
from features.store import Store
from serving.degrade import Breaker
from serving.parse import Ask


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as far as is known."""

    histories: Histories
    """Of one user, (1, h); empty for a new one."""
    counters: UserCounters
    """Of the same user."""
    received_ms: int = 0
    """When the newest event arrived that is known of the user, ms since the epoch; 0 for none."""
    lost: RecError | None = None
    """Why the history could not be read, where it could not."""

    @property
    def is_new(self) -> bool:
        return not int(self.histories.lengths[0])


def fetch_user(store: Store, breaker: Breaker, ask: Ask) -> Visitor:
    """What is known of the visitor: what is stored of a known user, else the history the request brought.

    A store that does not answer is a value here, since there is still a slate to make.
    """
    if ask.user_id is None:
        return Visitor(ask.given, counters_of_histories(ask.given, ask.context))
    user_id = ask.user_id
    try:
        state = breaker.call(lambda: store.read_user(user_id))
    except (StoreUnavailable, VersionMismatch) as error:
        return Visitor(Histories.empty(1), UserCounters.empty(1), lost=error)
    return Visitor(state.histories, state.counters, state.received_ms)
