"""A user deleted: from Redis, from the tables and their files, from reports; with a proof.

First the id is refused everywhere, so that nothing comes in meanwhile; then what is found is noted, removed,
and looked for again. Each step may be repeated: a deletion that was cut off is begun again and goes on. The
merges go last: they say what else the user is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from features.contracts import check_id
from features.erasure.in_redis import NAMESPACE, erase_from_redis, find_in_redis, rewrite_append_only
from features.erasure.in_reports import WriteReport, drop_examples, reports_showing
from features.erasure.in_tables import (
    UserTable,
    abandoned,
    abandoned_imports,
    drop_from_file,
    drop_old_files,
    drop_rows,
    merge_rows,
    old_files,
    other_files,
    remove,
    remove_folder,
    user_tables,
)
from features.erasure.journal import Journal, open_journal
from features.erasure.tombstones import readmit_users, refuse_users
from features.errors import BadInput, RecError
from features.merges import merges, sources_of
from features.store import Store
from features.wire.nodes import Client
from features.workspace import Workspace

FUTURES: Final = ("refuse", "accept")

HOLDS_NO_IDS: Final = (
    "catalogue, embeddings, spaces, thumbnails, duplicates, graph: of videos",
    "models: weights, statistics and vectors of videos; no row is of a user",
    "runs: counts, times, versions and settings",
    "tombstones, erasures: hashes of ids",
    "activity and statistics of videos in Redis: counts; they lose the user's events within a day",
)
"""Places that are not searched, because no id of a user is in them."""

NOT_REACHED: Final = (
    "what imports and training sets under way have laid aside: it goes when they end",
    "copies outside the workspace: imported files, files written by `recommend`, training sets, backups",
    "snapshots and replicas of a Redis that is not the workspace's own, until it writes its files anew",
)
"""Where the user may still be."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A deletion that is complete."""

    removed: dict[str, int]
    """What went, by place, in all runs that it took."""
    left: dict[str, int]
    """What the search afterwards found, by place: all 0."""
    commits: dict[str, int]
    """Number of the last run's commit, by table."""
    proof: Path
    """The same as JSON, and what was found by each run."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where users are held: a workspace and its Redis."""

    workspace: Workspace
    store: Store
    client: Client
    """Of the same Redis, for calls that may take their time."""
    own_redis: bool
    """True for the workspace's private server: then its append-only file is written anew."""
    write_report: WriteReport
    namespace: str = NAMESPACE


def erase_user(home: Home, user_id: str, *, future: str = "refuse") -> Erasure:
    """Removes a user, and everybody who was merged into that user, from all places. Safe to repeat.

    Args:
        home: where.
        user_id: whom; need not be held anywhere.
        future: `refuse` what comes under these ids from now on, or `accept` it.

    Raises:
        BadInput: the id is empty or too long, or that user was merged into another.
        RecError: something is left, because others wrote it meanwhile; run again.
    """
    if future not in FUTURES:
        raise BadInput(f"future is {future!r}; it is {' or '.join(FUTURES)}")
    workspace, ids = home.workspace, _all_ids(home.workspace, user_id)
    journal = open_journal(workspace, ids, future)
    refuse_users(workspace, ids)
    journal.note("found", find_everywhere(home, ids))
    _remove(home, ids, journal)
    left = find_everywhere(home, ids)
    if any(left.values()):
        said = ", ".join(f"{place} {count}" for place, count in left.items() if count)
        raise RecError(f"something of the user is left ({said}), written meanwhile; run the command again")
    if future == "accept":
        _readmit(home, ids)
    journal.note("not_searched", list(HOLDS_NO_IDS))
    journal.note("not_reached", list(NOT_REACHED))
    commits = journal.said["runs"][-1]["commits"]
    proof = journal.finish(left)
    return Erasure(journal.said["removed"], left, commits, proof)


def find_everywhere(home: Home, ids: Sequence[str]) -> dict[str, int]:
    """What is held of a user who is called by these ids, by place: rows, keys, stream entries, files."""
    tables = user_tables(home.workspace, ids)
    places = [*tables, merge_rows(home.workspace, ids)]
    found = find_in_redis(home.store, home.client, ids, home.namespace)
    return {
        **{f"redis {place}": count for place, count in found.items()},
        **{f"{place.name} rows": place.rows() for place in places},
        **{f"{place.name} old files": len(old_files(place)) for place in places},
        "abandoned imports": len(abandoned_imports(home.workspace)),
        "other files rows": sum(other_files(home.workspace, places, ids).values()),
        "reports": len(reports_showing(home.workspace, ids)),
    }


def _remove(home: Home, ids: list[str], journal: Journal) -> None:
    workspace, tables = home.workspace, user_tables(home.workspace, ids)
    merged = merge_rows(workspace, ids)
    gone = erase_from_redis(home.store, home.client, ids, home.namespace)
    journal.note("removed", {f"redis {place}": count for place, count in gone.items()})
    log = rewrite_append_only(home.client) if home.own_redis else "not the workspace's own: left as it is"
    journal.note("append_only_file", log)
    for place in tables:
        _clear(place, journal)
    leftovers = abandoned([*tables, merged])
    for path in leftovers:
        remove(path)
    imports = abandoned_imports(workspace)
    for folder in imports:
        remove_folder(folder)
    journal.note("removed", {"abandoned files": len(leftovers), "abandoned imports": len(imports)})
    others = other_files(workspace, [*tables, merged], ids)
    for path in others:
        drop_from_file(path, ids)
    journal.note("removed", {"other files rows": sum(others.values())})
    _clear_reports(home, ids, journal)
    _clear(merged, journal)


def _clear(place: UserTable, journal: Journal) -> None:
    """Drops rows of one table and what held them; notes the commit."""
    commit, rows, files = drop_rows(place)
    files += drop_old_files(place)
    journal.note("commits", {place.name: commit})
    journal.note("removed", {f"{place.name} rows": rows, f"{place.name} old files": files})


def _clear_reports(home: Home, ids: Sequence[str], journal: Journal) -> None:
    """Reports that show the user, and those that a run before meant to write anew and may not have."""
    showing = reports_showing(home.workspace, ids)
    journal.note("reports", showing)
    for name in sorted({name for names in journal.noted("reports") for name in names}):
        drop_examples(home.workspace, name, ids, home.write_report)
    journal.note("removed", {"reports": len(showing)})


def _readmit(home: Home, ids: Sequence[str]) -> None:
    readmit_users(home.workspace, ids)
    for user_id in ids:
        home.store.readmit(user_id)


def _all_ids(workspace: Workspace, user_id: str) -> list[str]:
    """The id, and those of all who were merged into that user."""
    check_id(user_id, "user_id")
    pairs: list[tuple[Any, Any]] = list(merges(workspace))
    into = dict(pairs).get(user_id)
    if into is not None:
        raise BadInput(f"user {user_id!r} was merged into {into!r}: they are one; delete {into!r}")
    return [user_id, *sources_of(pairs, user_id)]
