"""Commands about users: one deleted with a proof, one merged into another, and memory for so many of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table as TextTable

from features.erasure.erase import Erasure, Home, erase_user
from features.memory.cost import Measured
from features.memory.forecast import Deployment, Forecast, forecast_memory
from features.memory.measure import measure
from features.memory.sample import Shapes, given_shapes, logged_shapes
from features.merging import merge_users
from features.redis_server import open_redis
from features.store import BULK_TIMEOUT_S, Store
from features.tables import write_durably
from features.wire.connection import connect
from features.workspace import MARK, Workspace, open_workspace
from infra.commands import Screen
from infra.nightly import open_store
from infra.settings import redis_url_from_environment
from infra.worker_memory import WorkerMemory, measure_worker
from ranker.evaluation.report import write_report

HISTORY_EVENTS = 50
"""Events of a history where neither a log nor --history-events says more."""


def delete(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank user delete ID`: gone from Redis, tables, their files and reports, with a proof."""
    workspace = open_workspace(args.workspace)
    with screen.stages.stage("delete the user"), _home(workspace) as home:
        erasure = erase_user(home, args.user_id, future=args.future)
    _show_erasure(erasure, args.future, screen)
    return {**dataclasses.asdict(erasure), "future": args.future}


def merge(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank user merge FROM INTO`: one user's history and counters become another's."""
    workspace = open_workspace(args.workspace)
    with open_store(redis_url_from_environment(), workspace) as store:
        arrived = merge_users(workspace, store, args.source, args.into)
    moved = "its events are the other's now" if arrived else "there was nothing left to move"
    screen.console.print(f"{args.source} is {args.into}: {moved}", soft_wrap=True, markup=False)
    return {"source": args.source, "into": args.into, "merged_at_ms": arrived or None}


def plan(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank plan --users N --videos N`: the memory that a deployment needs, measured here."""
    workspace = _workspace_if_any(Path(args.workspace))
    wanted = Deployment(args.users, args.videos, args.events_a_day, args.slates_a_day, args.replicas)
    shapes, source = _shapes(workspace, args.history_events)
    with screen.stages.stage("measure users and videos on a private Redis"):
        measured = measure(shapes, wanted.window_events)
        worker = measure_worker(workspace) if workspace else None
    found = forecast_memory(measured, wanted)
    _show_plan(found, measured, worker, wanted, source, screen)
    return _plan_as_json(found, measured, worker, wanted, source)


@contextlib.contextmanager
def _home(workspace: Workspace) -> Iterator[Home]:
    named = redis_url_from_environment()
    with open_redis(named, workspace.root / "redis") as url:
        store, client = Store.connect(url, timeout_s=10.0), connect(url, BULK_TIMEOUT_S)
        try:
            yield Home(
                workspace, store, client, own_redis=named is None,
                write_report=lambda content, directory: _write_report(workspace, content, directory),
            )  # fmt: skip
        finally:
            store.close()
            client.close()


def _write_report(workspace: Workspace, content: dict[str, Any], directory: Path) -> None:
    """A report with its pages; where an earlier release wrote it, its pages go and its numbers stay."""
    try:
        write_report(content, directory, workspace.thumbnail)
    except KeyError:
        write_durably(directory / "report.json", json.dumps(content, indent=1).encode())
        for name in ("report.html", "report.md"):
            (directory / name).unlink(missing_ok=True)


def _show_erasure(erasure: Erasure, future: str, screen: Screen) -> None:
    gone = {place: count for place, count in erasure.removed.items() if count}
    said = ", ".join(f"{place} {count:,}" for place, count in gone.items())
    screen.stages.note(f"removed: {said}" if gone else "nothing was held of this user")
    screen.stages.note(f"searched again in {len(erasure.left)} places: nothing is left")
    kept = "accepted" if future == "accept" else "refused; --future accept lets the id return"
    screen.stages.note(f"later events of this id are {kept}")
    screen.stages.note(f"proof: {erasure.proof}")


def _workspace_if_any(root: Path) -> Workspace | None:
    return open_workspace(root) if (root.expanduser() / MARK).exists() else None


def _shapes(workspace: Workspace | None, history_events: int | None) -> tuple[Shapes, str]:
    """What users are like, and how that is known."""
    if history_events is not None:
        return given_shapes(history_events), f"every history has {history_events} events"
    found = logged_shapes(workspace) if workspace else None
    if found is not None:
        return (
            found,
            f"histories as in the log: {len(found.lengths):,} users, mean {found.lengths.mean():.0f}",
        )
    return given_shapes(HISTORY_EVENTS), f"every history has {HISTORY_EVENTS} events: there is no log to ask"


def _show_plan(
    found: Forecast, measured: Measured, worker: WorkerMemory | None, wanted: Deployment, source: str,
    screen: Screen,
) -> None:  # fmt: skip
    title = f"Redis {measured.server} with {wanted.users:,} users and {wanted.videos:,} videos"
    table = TextTable(title=title, title_justify="left", caption=source, caption_justify="left")
    table.add_column("memory")
    table.add_column("usual", justify="right")
    table.add_column("at most", justify="right")
    table.add_column("at most when")
    for part in found.parts:
        table.add_row(part.name, _size(part.usual), _size(part.most), part.why)
    table.add_row("all", _size(found.redis), _size(found.redis_most), "all of that, and a tenth")
    screen.console.print(table)
    screen.stages.note(
        f"a user is {measured.user.used:,.0f} bytes, a video {measured.video.used:,.0f}, beside the hash "
        f"tables; twice as many as measured were foretold within {measured.misfit:.2%}"
    )
    screen.stages.note(f"with {wanted.replicas} replica(s): {_size(found.with_replicas)} at most")
    screen.stages.note(
        f"bounds of the streams: {_size(found.events_bound)} of events, then they are refused "
        f"({found.hours_to_bound:,.0f} h without a drain); {_size(found.slates_bound)} of slates, then the "
        "oldest go, counted"
    )
    screen.stages.note(_said_of_worker(worker, wanted))


def _said_of_worker(worker: WorkerMemory | None, wanted: Deployment) -> str:
    if worker is None:
        return "a worker's memory is told by a published bundle: run `reelrank train`, then this again"
    need = worker.bytes_fixed + worker.bytes_a_video * wanted.videos
    return (
        f"a serving worker: {worker.bytes_a_video:,.0f} bytes a video (bundle {worker.bundle}), "
        f"{_size(need)} beside the program"
    )


def _plan_as_json(
    found: Forecast, measured: Measured, worker: WorkerMemory | None, wanted: Deployment, source: str
) -> dict[str, Any]:
    said = dataclasses.asdict(found)
    if found.hours_to_bound == float("inf"):
        said["hours_to_bound"] = None
    return {
        **said,
        "measured": dataclasses.asdict(measured),
        "worker": dataclasses.asdict(worker) if worker else None,
        "wanted": dataclasses.asdict(wanted),
        "histories": source,
    }


def _size(held: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(held) < 1024:
            return f"{held:,.0f} {unit}" if unit == "B" else f"{held:,.1f} {unit}"
        held /= 1024
    return f"{held:,.1f} TiB"
