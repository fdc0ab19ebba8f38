"""A commit that is made from the newest state of a table, and begun again where another writer was first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from features.errors import CommitConflict
from features.tables import Snapshot, Table

ATTEMPTS: Final = 8
"""How often a commit is repeated when another writer was first."""

Made = TypeVar("Made")


def commit_again(table: Table, commit: Callable[[Snapshot], Made]) -> Made:
    """What `commit` makes of the newest snapshot of the table.

    Args:
        table: what is committed to.
        commit: called with a snapshot; commits onto it, or raises CommitConflict.

    Raises:
        CommitConflict: others were first ATTEMPTS times.
    """
    for _ in range(ATTEMPTS):
        try:
            return commit(table.snapshot())
        except CommitConflict:
            continue
    raise CommitConflict(f"table {table.name} was changed by others {ATTEMPTS} times; repeat")
