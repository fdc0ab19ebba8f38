"""A visitor who turns out to be a known user: one step that the log and the store both follow."""

from __future__ import annotations

import polars as pl

from features.erasure.tombstones import refused_users
from features.errors import BadInput, Erased
from features.merges import forget_merge, record_merge
from features.store import Store
from features.workspace import Workspace


def merge_users(workspace: Workspace, store: Store, source: str, into: str) -> int:
    """Makes one user another, in the workspace's merges and in the store. Safe to repeat.

    The table comes first: a merge that was cut off before the store knew of it is done by the next load, and
    by the same call again.

    Returns:
        When the source's events arrived at the other user, ms since the epoch; 0 where there was nothing left
        to move.

    Raises:
        BadInput: both are the same user, or the source was merged into somebody else.
        Erased: one of them was deleted and may not come back.
    """
    refused = refused_users(workspace, pl.Series([source, into], dtype=pl.String))
    if refused.any():
        gone = source if refused[0] else into
        raise Erased(f"user {gone!r} was deleted; `reelrank user delete --future accept` lets the id return")
    new = record_merge(workspace, source, into, store.clock_ms())
    try:
        return store.merge_users(source, into)
    except BadInput:
        if new:
            forget_merge(workspace, source)
        raise
