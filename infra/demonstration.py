"""`reelrank demo`: the main job end to end on a world small enough to watch."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import polars as pl

from features.workspace import Workspace, open_workspace
from infra import commands
from infra.demo import WORLD_VERSION, DemoFiles, generate, generator_hash
from infra.nightly import run_nightly
from infra.settings import NightlySettings, redis_url_from_environment

SHOWN_USERS = 3
SHOWN_VIDEOS = 10
SERVE_BUDGET_MS = 250.0
"""Wider than the default: a newcomer's machine is busy with other things."""


def run_demo(args: Namespace, screen: commands.Screen) -> dict[str, Any]:
    """Makes the world, runs the nightly job over it, shows recommendations, and serves until Ctrl-C.

    A second demo in the same workspace with the same world ingests nothing again and trains anew.
    """
    if not args.no_serve:
        from serving.server import bind_port  # FastAPI is imported only when it serves

        bind_port(args.host, args.port).close()  # a port in use is told before minutes of work, not after
    began = time.perf_counter()
    workspace = open_workspace(
        Path(args.workspace) / f"demo-{args.seed}-{args.videos}-{args.users}", create=True
    )
    files = _make_world(args, workspace.root / "world", screen)
    settings = NightlySettings(
        workspace=str(workspace.root),
        videos=str(files.manifest),
        events=(str(files.interactions),),
        redis_url=redis_url_from_environment(),
    )
    result = run_nightly(settings, screen.stages)
    shown = commands.show_recommendations(workspace, pick_users(files), SHOWN_VIDEOS, screen)
    seconds = time.perf_counter() - began
    screen.console.print(f"report: {result.report}", soft_wrap=True, highlight=False)
    screen.console.print(f"first result after {seconds:.0f} s", highlight=False)
    answer = {
        "world": {"version": WORLD_VERSION, "generator": generator_hash(), "seed": args.seed},
        "run": result.run,
        "bundle": result.bundle,
        "report": str(result.report),
        "steps": result.steps,
        "recommendations": shown,
        "seconds": round(seconds, 1),
    }
    if not args.no_serve:
        _serve(args, workspace, screen)
    return answer


def _serve(args: Namespace, workspace: Workspace, screen: commands.Screen) -> None:
    from serving.server import run_server
    from serving.settings import ServeSettings

    newest = workspace.interactions.scan().select(pl.col("ts").max()).collect().item()
    settings = ServeSettings(
        workspace=workspace.root,
        redis_url=redis_url_from_environment(),
        host=args.host,
        port=args.port,
        budget_ms=SERVE_BUDGET_MS,
        # The world's days lie in the past; its visitors arrive when its log ends.
        clock_shift_ms=int(newest.timestamp() * 1000) - time.time_ns() // 1_000_000,
    )
    run_server(settings, commands.announce(screen))


def pick_users(files: DemoFiles) -> list[str]:
    """The users of the log with the most plays: their slates show most."""
    log = pl.read_parquet(files.interactions, columns=["user_id", "event"])
    plays = log.filter(pl.col("event") == "play").group_by("user_id").len()
    return plays.sort("len", "user_id", descending=[True, False]).head(SHOWN_USERS)["user_id"].to_list()


def _make_world(args: Namespace, directory: Path, screen: commands.Screen) -> DemoFiles:
    with screen.stages.stage(f"make a world of {args.videos} clips and {args.users} users") as advance:
        return generate(directory, seed=args.seed, n_videos=args.videos, n_users=args.users, progress=advance)
