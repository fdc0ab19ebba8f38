"""Who was merged into whom: the log keeps what happened, and is read as if it had been one user all along.

The store moves a user's record at once; this table is what later loads and trainings follow. An event of the
source is the other's, and known of the other from the merge on: what a live request could not know before it,
no training row knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import polars as pl

from features.commits import commit_again
from features.contracts import TS, Column, check_id
from features.errors import BadInput
from features.tables import Snapshot, Table
from features.workspace import Workspace

MERGES: Final = (
    Column("source", pl.String(), True, "who was merged; at most once"),
    Column("into", pl.String(), True, "into whom; may have been merged into a third since"),
    Column("at", TS, True, "when, UTC"),
)

Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)


def merges_table(workspace: Workspace) -> Table:
    """All merges, oldest first."""
    return Table(workspace.root / "merges", MERGES)


def merges(workspace: Workspace) -> list[tuple[str, str]]:
    """Every user who was merged, and whom that user has become at the end of all merges."""
    return resolve_merges(merges_table(workspace).read(["source", "into"]).rows())


def record_merge(workspace: Workspace, source: str, into: str, at_ms: int) -> bool:
    """Notes a merge, before the store is told of it; False where it was noted before.

    Args:
        workspace: whose log the users are in.
        source: who becomes the other.
        into: whom; where that user was merged too, the merge follows.
        at_ms: when, ms since the epoch.

    Raises:
        BadInput: an id is empty or too long, both are one user already, or the source was merged elsewhere.
    """
    table = merges_table(workspace)
    check_id(source, "user_id")
    check_id(into, "user_id")
    row = pl.DataFrame({"source": [source], "into": [into], "at": [at_ms]}).cast({"at": TS})

    def add(before: Snapshot) -> bool:
        known = dict(resolve_merges(table.read(["source", "into"], at=before).rows()))
        if not _is_new(known, source, into):
            return False
        table.append_parts({"": row}, onto=before)
        return True

    return commit_again(table, add)


def forget_merge(workspace: Workspace, source: str) -> None:
    """Takes back a merge that the store refused. Safe to repeat."""
    table = merges_table(workspace)
    commit_again(table, lambda before: table.rewrite(pl.col("source") != source, onto=before))


def sources_of(pairs: Iterable[tuple[str, str]], user_id: str) -> list[str]:
    """Users who have become this one, by resolved pairs, in order."""
    return sorted(source for source, into in pairs if into == user_id)


def resolve_merges(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each source with the user at the end of its chain: a to b and b to c give a to c and b to c.

    Raises:
        BadInput: a source was merged into two users, or merges go in a circle.
    """
    step: dict[str, str] = {}
    for source, into in pairs:
        if step.setdefault(source, into) != into:
            raise BadInput(f"user {source!r} was merged into {step[source]!r} and {into!r}; keep one of both")
    end: dict[str, str] = {}
    for source in step:
        path = [source]
        while (last := path[-1]) in step and last not in end:
            if step[last] in path:
                raise BadInput(f"merges go in a circle: {' to '.join([*path, step[last]])}; drop one of them")
            path.append(step[last])
        final = end.get(path[-1], path[-1])
        end.update(dict.fromkeys(path[:-1], final))
    return [(source, end[source]) for source in step]


def apply_merges(rows: Rows, pairs: Iterable[tuple[str, str]]) -> Rows:
    """The rows with each merged `user_id` replaced by whom that user has become.

    Args:
        rows: with a column `user_id`, String; nulls stay.
        pairs: source and into; chains are resolved.

    Raises:
        BadInput: merges go in a circle, or one source into two users.
    """
    final = dict(resolve_merges(pairs))
    if not final:
        return rows
    return rows.with_columns(pl.col("user_id").replace(list(final), list(final.values())))


def with_merges(rows: Rows, workspace: Workspace) -> Rows:
    """The log as it is read: `apply_merges`, and when a source's events came to the other user.

    Args:
        rows: columns of INTERACTIONS.
        workspace: whose merges.

    Returns:
        The rows with a further column `joined_at`, UTC, null where the user was always this one. It bears on
        what is known of the user; what is known of videos was known before.
    """
    noted = merges_table(workspace).read().with_columns(pl.col("at").dt.epoch("ms")).rows()
    known = _known_since(noted)
    joined = pl.col("user_id").replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Int64
    )
    return apply_merges(rows.with_columns(joined_at=joined.cast(TS)), [pair[:2] for pair in noted])


def _known_since(noted: list[tuple[str, str, int]]) -> dict[str, int]:
    """When each source's events became known of whom that user has become, ms since the epoch."""
    step = {source: (into, at) for source, into, at in noted}
    resolve_merges([(source, into) for source, into, _ in noted])  # refuses what goes in a circle
    out: dict[str, int] = {}
    for source, (into, at) in step.items():
        while into in step:
            into, later = step[into]
            at = max(at, later)
        out[source] = at
    return out


def _is_new(known: dict[str, str], source: str, into: str) -> bool:
    """False for a merge that is noted already; BadInput for one that cannot be."""
    final = known.get(into, into)
    if final == source:
        same = "itself" if into == source else f"{into!r}, which was merged into it"
        raise BadInput(f"user {source!r} cannot be merged into {same}")
    if known.get(source, final) != final:
        raise BadInput(f"user {source!r} was merged into {known[source]!r} before; name that user instead")
    return source not in known
