"""What each command does: takes parsed arguments, returns what `--json` prints, shows it to a person."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as TextTable

from features.contracts import Context
from features.counters import counters_now
from features.errors import BadInput
from features.histories import gather_histories
from features.importers import import_embeddings, import_events
from features.pipeline import FeatureSet, build_features, load_store, write_training_set
from features.workspace import Workspace, open_workspace, workspace_to_fill
from infra.nightly import (
    NightlyResult,
    choose_holdout,
    describe_bundle,
    describe_events,
    describe_features,
    describe_ingest,
    describe_space,
    open_store,
    run_nightly,
    train_bundle,
)
from infra.progress import Stages
from infra.settings import encoder_beside, load_nightly_settings, redis_url_from_environment
from ingest.encoders.choose import DEFAULT
from ingest.pipeline import IngestSettings, ingest_videos
from ingest.space import build_space, last_settings
from ranker.bundle import load_bundle
from ranker.evaluation.arms import parse_arm
from ranker.evaluation.pipeline import evaluate
from ranker.explain import explain
from ranker.pipeline import TrainSettings
from ranker.recommend import recommend, recommend_to_parquet
from ranker.splits import Holdout


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command shows its progress and its answer."""

    console: Console

    @property
    def stages(self) -> Stages:
        return Stages(self.console)


def ingest(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank ingest SOURCE`."""
    how = IngestSettings(
        frames=args.frames,
        sampling=args.sampling,
        encoder=tuple(encoder_beside(Path.cwd(), spec) for spec in args.encoder or DEFAULT),
        extras=not args.no_extras,
        device=args.device,
        workers=args.workers,
        ray_address=args.ray_address,
        verify=args.verify,
        retry_quarantined=args.retry_quarantined,
        media_root=args.media_root,
        allow_schemes=tuple(args.allow_scheme),
    )
    with (
        workspace_to_fill(args.workspace) as workspace,
        screen.stages.stage("ingest videos (decode, embed)") as advance,
    ):
        counts = dataclasses.asdict(ingest_videos(workspace, args.source, how, progress=advance))
    for line in describe_ingest(counts):
        screen.stages.note(line)
    return counts


def import_embedding_files(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank embeddings import FILE…`."""
    with workspace_to_fill(args.workspace) as workspace, screen.stages.stage("import embeddings"):
        counts = dataclasses.asdict(import_embeddings(workspace, [Path(name) for name in args.files]))
    screen.stages.note(f"{counts['imported']:,} videos, encoder {counts['encoder_version']}")
    return counts


def import_event_files(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank events import FILE…`."""
    with workspace_to_fill(args.workspace) as workspace, screen.stages.stage("import events"):
        counts = dataclasses.asdict(
            import_events(workspace, [Path(name) for name in args.files], args.format)
        )
    screen.stages.note(describe_events(counts))
    return counts


def build(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank features build`: the space, the features, and every user's history into the store."""
    workspace = open_workspace(args.workspace)
    features = _features(workspace, screen, args.max_unknown_share)
    with (
        screen.stages.stage("load the store"),
        open_store(redis_url_from_environment(), workspace) as store,
    ):
        users = load_store(features, store, workspace)
    counts = {
        **dataclasses.asdict(features.counts),
        "users_in_store": users,
        "videos": len(features.videos),
        "feature_version": features.feature_version,
        "encoder_version": features.encoder_version,
        "space_version": features.space_version,
    }
    screen.stages.note(describe_features(counts))
    return counts


def training_set(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank features training-set --out DIR`: what was shown, features as of then, and what followed."""
    out = Path(args.out)
    if out.exists():
        raise BadInput(f"--out {out} is there already; name a directory that is not")
    workspace = open_workspace(args.workspace)
    with screen.stages.stage("write the training set") as advance:
        parts = write_training_set(workspace, out, lambda rows: advance(rows, 0, "rows"))
    screen.stages.note(
        f"{parts.rows:,} rows of {parts.features} features in {parts.files} file(s) below {out}"
    )
    return {**dataclasses.asdict(parts), "out": str(out)}


def train(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank train`: a bundle from all that is in the workspace, published unless told not to."""
    workspace = open_workspace(args.workspace)
    features = _features(workspace, screen, args.max_unknown_share)
    holdout = Holdout("none")
    if args.holdout_days:
        holdout = choose_holdout(features, args.holdout_days)
    elif args.leave_last:
        holdout = Holdout("leave_last", n=args.leave_last)
    with screen.stages.stage("train two-tower, item-item and trees") as advance:
        fusion = {} if args.fusion is None else {"fusion": args.fusion}
        how = TrainSettings(seed=args.seed, threads=args.threads, **fusion)
        result = train_bundle(workspace, features, how, holdout, advance)
    if not args.no_publish:
        workspace.publish(result["bundle"])
    screen.stages.note(describe_bundle(result))
    return {**result, "published": not args.no_publish}


def recommend_batch(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank recommend`: lists of k videos for many users, into one Parquet file."""
    if Path(args.out).is_dir():
        raise BadInput(f"--out {args.out} is a directory; name a file")
    workspace = open_workspace(args.workspace)
    users = None if args.all else _read_users(Path(args.users))
    name = args.bundle or workspace.current_bundle()
    bundle = load_bundle(workspace.model(name), threads=args.threads)
    features = build_features(workspace, max_unknown_share=1.0)
    with screen.stages.stage("recommend") as advance:
        written = recommend_to_parquet(
            bundle, features, users, args.k, Path(args.out), args.include_seen, progress=advance
        )
    screen.stages.note(f"{written:,} rows in {args.out}")
    return {"rows": written, "out": args.out, "bundle": name}


def evaluate_arms(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank evaluate --arm NAME=SPEC…`: an offline report over the held-out part of the log."""
    workspace = open_workspace(args.workspace)
    arms = [parse_arm(text) for text in args.arm]
    features = build_features(workspace, max_unknown_share=1.0)
    name = args.name or "evaluation"
    out = workspace.report(name)
    with screen.stages.stage("evaluate offline") as advance:
        found = evaluate(
            workspace, features, arms, k=args.k, out_dir=out, name=name, seed=args.seed, progress=advance
        )
    screen.stages.note(str(found["verdict"]["sentence"]))
    screen.stages.note(f"report: {out / 'report.html'}")
    return {"verdict": found["verdict"], "report": str(out / "report.html")}


def nightly(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank nightly --config FILE`."""
    settings = load_nightly_settings(Path(args.config), workspace=args.workspace)
    result = run_nightly(settings, screen.stages, resume=args.resume)
    _show_result(result, screen)
    return _as_json(result)


def demo(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank demo`: a small world, the nightly job over it, recommendations, a report, and the API."""
    from infra.demonstration import run_demo  # the generator is read only when it is asked for

    return run_demo(args, screen)


def serve(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank serve`: the API and the Studio until Ctrl-C."""
    from serving.server import run_server  # FastAPI is imported only when it serves
    from serving.settings import ServeSettings

    settings = ServeSettings(
        workspace=open_workspace(args.workspace).root,
        redis_url=redis_url_from_environment(),
        host=args.host,
        port=args.port,
        workers=args.workers,
    )
    run_server(settings, announce(screen))
    return {"host": args.host, "port": args.port}


def announce(screen: Screen) -> Callable[[str], None]:
    """Tells where the API and the Studio are, once they answer."""
    return lambda url: screen.console.print(
        f"Studio {url}  API {url}docs  (Ctrl-C ends it)", soft_wrap=True, highlight=False
    )


def versions(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank versions`: what the workspace holds, and which bundle is served."""
    workspace = open_workspace(args.workspace)
    published = workspace.published_bundles()
    found = {
        "encoders": workspace.encoder_versions(),
        "spaces": workspace.space_versions(),
        "bundles": workspace.bundles(),
        "published": published[-1] if published else None,
    }
    for name, value in found.items():
        screen.console.print(
            f"{name}: {', '.join(value) if isinstance(value, list) else value}", soft_wrap=True
        )
    return found


def publish(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank publish BUNDLE`."""
    open_workspace(args.workspace).publish(args.bundle)
    screen.console.print(f"published {args.bundle}")
    return {"published": args.bundle}


def rollback(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank rollback`: the bundle before the current one is served again."""
    bundle = open_workspace(args.workspace).rollback()
    screen.console.print(f"published {bundle}")
    return {"published": bundle}


def show_recommendations(workspace: Workspace, users: list[str], k: int, screen: Screen) -> dict[str, Any]:
    """Prints k recommendations with titles and reasons for each user; returns them."""
    bundle = load_bundle(workspace.model(workspace.current_bundle()))
    features = build_features(workspace, max_unknown_share=1.0)
    log = features.log
    codes = np.array([log.user_code(user) for user in users], np.int64)
    ends = log.offsets[codes + 1]
    histories = gather_histories(log, codes, ends)
    now = np.full(len(users), int(log.ts_ms.max(initial=0)), np.int64)
    found = recommend(bundle, histories, Context.at(now), k, counters=counters_now(log, codes))
    answer: dict[str, Any] = {}
    for index, user in enumerate(users):
        rows = found.rows[index][found.rows[index] >= 0]
        reasons = explain(bundle, gather_histories(log, codes[[index]], ends[[index]]), rows)
        table = TextTable(title=f"For {user}", title_justify="left")
        for heading in ("#", "title", "why"):
            table.add_column(heading)
        for place, (row, why) in enumerate(zip(rows, reasons, strict=True), 1):
            table.add_row(str(place), bundle.titles[row] or bundle.videos.ids[row], why)
        screen.console.print(table)
        answer[user] = [bundle.videos.ids[row] for row in rows]
    return answer


def _features(workspace: Workspace, screen: Screen, max_unknown_share: float) -> FeatureSet:
    """Features of the workspace; the space of the newest embeddings is built first where it is missing."""
    space = None
    if workspace.encoder_versions():
        with screen.stages.stage("align and fuse modalities"):
            built = dataclasses.asdict(build_space(workspace, None, last_settings(workspace)))
        screen.stages.note(describe_space(built))
        space = str(built["space_version"])
    with screen.stages.stage("build features"):
        return build_features(workspace, space_version=space, max_unknown_share=max_unknown_share)


def _read_users(path: Path) -> list[str]:
    """One user id a line; BadInput where there is none."""
    try:
        users = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no readable UTF-8 file of users; give one id a line, or --all") from error
    if not users:
        raise BadInput(f"{path} names no user; give one id a line, or --all")
    return users


def _show_result(result: NightlyResult, screen: Screen) -> None:
    screen.console.print(f"run {result.run}: bundle {result.bundle} is published", soft_wrap=True)
    if result.report is not None:
        screen.console.print(f"report: {result.report}", soft_wrap=True)


def _as_json(result: NightlyResult) -> dict[str, Any]:
    return {
        "run": result.run,
        "bundle": result.bundle,
        "report": str(result.report) if result.report else None,
        "steps": json.loads(json.dumps(result.steps, default=str)),
    }
