"""The nightly job, from a pile of videos and an event log to a published bundle and its report.

Each step reads what the one before committed, so a run that broke resumes at the step that broke; the ledger
keeps counts, times and versions of all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import ray

from features.contracts import DAY_MS
from features.errors import BadInput
from features.importers import import_embeddings, import_events
from features.outbox import exposures
from features.pipeline import FeatureSet, build_features, load_store
from features.redis_server import open_redis
from features.store import Store
from features.table_sweep import vacuum
from features.workspace import Workspace, open_workspace
from infra.ledger import Ledger, begin
from infra.progress import Advance, Stages
from infra.settings import NightlySettings
from ingest.encoders.query import save_query_encoder
from ingest.pipeline import IngestSettings, ingest_videos
from ingest.space import SpaceSettings, build_space
from ranker.bundle import read_manifest
from ranker.evaluation.arms import parse_arm
from ranker.evaluation.pipeline import evaluate
from ranker.evaluation.space_report import report_space
from ranker.pipeline import TrainSettings, train
from ranker.splits import Holdout

KEPT_FOR_READERS_S: Final = 2 * 86_400
"""Files that no commit lists any more are kept so long for who reads an older one, s."""


@dataclass(frozen=True, slots=True)
class NightlyResult:
    """What a nightly job left behind."""

    run: str
    """Name of the run; its ledger lies under `runs/`."""
    bundle: str
    """The bundle that is now published."""
    report: Path | None
    """The HTML report; None where nothing was held out."""
    steps: dict[str, dict[str, Any]]
    """Every step's counts, by name."""


def run_nightly(settings: NightlySettings, stages: Stages, *, resume: bool = False) -> NightlyResult:
    """Runs every step in order; see the module.

    Raises:
        BadInput: a source, a file or a setting is wrong; steps that were committed before stay committed.
    """
    for arm in settings.arms:
        parse_arm(arm)  # a wrong arm is told before hours of work, not after
    for name in (*settings.embeddings, *settings.events):
        if not Path(name).exists():
            raise BadInput(f"there is no file at {name}; nothing was changed")
    workspace = open_workspace(settings.workspace, create=True)
    ledger = begin(workspace, settings, resume=resume)
    encoder = _bring_in(workspace, settings, ledger, stages)
    space = _build_space(workspace, encoder, settings, ledger, stages)
    features = _build_features(workspace, space, settings, ledger, stages)
    holdout = choose_holdout(features, settings.holdout_days)
    bundle = _train(workspace, features, holdout, settings, ledger, stages)
    report = _evaluate(workspace, features, bundle, holdout, settings, ledger, stages)
    _report_space(workspace, space, settings, ledger, stages)
    ledger.step("publish", lambda: _publish(workspace, bundle))
    ledger.finish()
    steps = {name: step["result"] for name, step in ledger.said["steps"].items()}
    return NightlyResult(ledger.run, bundle, report, steps)


def _bring_in(workspace: Workspace, settings: NightlySettings, ledger: Ledger, stages: Stages) -> str | None:
    encoder = None
    if settings.embeddings:
        with stages.stage("import embeddings"):
            files = [Path(name) for name in settings.embeddings]
            found = ledger.step("embeddings", lambda: dataclasses.asdict(import_embeddings(workspace, files)))
        encoder = found["encoder_version"]
        stages.note(f"{found['imported']:,} videos, encoder {encoder}")
    if settings.videos is not None:
        with stages.stage("ingest videos (decode, embed)") as advance:
            how = _ingest_settings(settings)
            source = settings.videos
            counts = ledger.step(
                "ingest", lambda: dataclasses.asdict(ingest_videos(workspace, source, how, progress=advance))
            )
        ray.shutdown()  # nothing after this runs on it, and its processes would stay beside the training
        for line in describe_ingest(counts):
            stages.note(line)
        if encoder is not None and counts["encoder_version"] not in (None, encoder):
            stages.note(
                f"tonight's space is built from the videos ({counts['encoder_version']}); the imported "
                f"vectors ({encoder}) are kept and not used"
            )
        encoder = counts["encoder_version"] or encoder
    if settings.events:
        with stages.stage("import events"):
            logs = [Path(name) for name in settings.events]
            counts = ledger.step(
                "events", lambda: dataclasses.asdict(import_events(workspace, logs, settings.events_format))
            )
        stages.note(describe_events(counts))
    with stages.stage("drain feedback from the store"):
        counts = ledger.step("drain", lambda: _drain(workspace, settings))
    stages.note(f"{counts['drained']:,} records")
    return encoder


def _drain(workspace: Workspace, settings: NightlySettings) -> dict[str, Any]:
    """Feedback into the tables, and the files away that drains have merged since."""
    with open_store(settings.redis_url, workspace) as store:
        drained = store.drain(workspace)
    swept = [
        vacuum(table, older_than_s=KEPT_FOR_READERS_S)
        for table in (workspace.interactions, exposures(workspace))
        if table.exists()
    ]
    return {"drained": drained, "files_swept": sum(one.files for one in swept)}


@contextmanager
def open_store(redis_url: str | None, workspace: Workspace) -> Iterator[Store]:
    """The store of a batch job, whose calls may take their time: at the URL, or on a private server."""
    with open_redis(redis_url, workspace.root / "redis") as url:
        store = Store.connect(url, timeout_s=10.0)
        try:
            yield store
        finally:
            store.close()


def _build_space(
    workspace: Workspace, encoder: str | None, settings: NightlySettings, ledger: Ledger, stages: Stages
) -> str | None:
    if encoder is None and not workspace.encoder_versions():
        return None
    with stages.stage("align and fuse modalities"):
        how = SpaceSettings(
            fusion=settings.space_fusion, co_watched=settings.co_watched, threads=settings.threads
        )
        built = ledger.step("space", lambda: dataclasses.asdict(build_space(workspace, encoder, how)))
    stages.note(describe_space(built))
    return str(built["space_version"])


def _build_features(
    workspace: Workspace, space: str | None, settings: NightlySettings, ledger: Ledger, stages: Stages
) -> FeatureSet:
    with stages.stage("build features, load the store"):
        features = build_features(
            workspace, space_version=space, max_unknown_share=settings.max_unknown_share
        )

        def load() -> dict[str, Any]:
            with open_store(settings.redis_url, workspace) as store:
                users = load_store(features, store, workspace)
            counts = dataclasses.asdict(features.counts)
            return {**counts, "users_in_store": users, "feature_version": features.feature_version}

        counts = ledger.step("features", load)
    stages.note(describe_features(counts))
    return features


def choose_holdout(features: FeatureSet, days: int) -> Holdout:
    """What training must not see: the last days of the log, or each user's last event where it has no times.

    A log shorter than `days` + 1 days also falls back to each user's last event.
    """
    if days == 0:
        return Holdout("none")
    newest, oldest = (_day_ms(features.interactions["ts"], end) for end in ("max", "min"))
    if newest is None or oldest is None or newest - oldest < days * DAY_MS:
        return Holdout("leave_last", n=1)
    return Holdout("time", until_ms=newest + DAY_MS - days * DAY_MS)


def _day_ms(times: pl.Series, end: str) -> int | None:
    value = times.dt.epoch("ms").max() if end == "max" else times.dt.epoch("ms").min()
    return None if value is None else int(str(value)) // DAY_MS * DAY_MS


def _train(
    workspace: Workspace,
    features: FeatureSet,
    holdout: Holdout,
    settings: NightlySettings,
    ledger: Ledger,
    stages: Stages,
) -> str:
    with stages.stage("train two-tower, item-item and trees") as advance:
        how = TrainSettings(seed=settings.seed, threads=settings.threads, fusion=settings.fusion)
        result = ledger.step("train", lambda: train_bundle(workspace, features, how, holdout, advance))
    stages.note(describe_bundle(result))
    return str(result["bundle"])


def _evaluate(
    workspace: Workspace,
    features: FeatureSet,
    bundle: str,
    holdout: Holdout,
    settings: NightlySettings,
    ledger: Ledger,
    stages: Stages,
) -> Path | None:
    if holdout.kind == "none":
        return None
    out = workspace.report(ledger.run)
    with stages.stage("evaluate offline") as advance:
        arms = [parse_arm(name_arm(arm, bundle)) for arm in settings.arms]

        def work() -> dict[str, Any]:
            found = evaluate(
                workspace, features, arms, k=settings.k, out_dir=out, name=ledger.run, seed=settings.seed,
                progress=advance,
            )  # fmt: skip
            return {"verdict": found["verdict"]["sentence"], "report": str(out / "report.html")}

        result = ledger.step("evaluate", work)
    stages.note(str(result["verdict"]))
    return out / "report.html"


def _report_space(
    workspace: Workspace, space: str | None, settings: NightlySettings, ledger: Ledger, stages: Stages
) -> None:
    if space is None:
        return
    out = workspace.report(ledger.run)
    with stages.stage("look at the space"):

        def work() -> dict[str, Any]:
            found = report_space(workspace, space, out, seed=settings.seed, threads=settings.threads)
            return {"verdict": found["verdict"]["sentence"], "report": str(out / "space.html")}

        result = ledger.step("space report", work)
    stages.note(str(result["verdict"]))


def name_arm(arm: str, bundle: str) -> str:
    """The arm with `current` replaced by the bundle that this run trained: it is not published yet."""
    name, _, spec = arm.partition("=")
    if spec == "current" or spec.startswith("current-"):
        return f"{name}={bundle}{spec.removeprefix('current')}"
    return arm


def train_bundle(
    workspace: Workspace, features: FeatureSet, how: TrainSettings, holdout: Holdout, advance: Advance
) -> dict[str, Any]:
    """Trains a bundle that carries its own query encoder; returns its name and which scorer it chose."""

    def add_encoder(directory: Path) -> None:
        if features.space_version is not None:
            save_query_encoder(workspace, features.space_version, directory / "encoder")

    bundle = train(
        features, workspace, how, holdout,
        progress=lambda part, done, total: advance(done, total, part), attach=add_encoder,
    )  # fmt: skip
    manifest = read_manifest(workspace.model(bundle))
    return {"bundle": bundle, "scorer": manifest["scorer"]["final"], "why": manifest["scorer"]["why"]}


def _publish(workspace: Workspace, bundle: str) -> dict[str, Any]:
    workspace.publish(bundle)
    return {"bundle": bundle}


def describe_ingest(counts: dict[str, Any]) -> list[str]:
    """Lines of counts that add up, and where the time went."""
    line = "listed {listed:,} = embedded {embedded:,} + skipped {skipped:,} + quarantined {quarantined:,}"
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(counts["reasons"].items()))
    lines = [line.format(**counts) + (f" ({reasons})" if reasons else "")]
    if not counts["opened"]:
        return [*lines, f"{'' if counts['embedded'] else 'nothing is new: '}no file was opened"]
    rungs = ", ".join(f"{name} {count}" for name, count in sorted(counts["rungs"].items()))
    alike = f"; {counts['near_duplicates']:,} have a near-duplicate" if counts["near_duplicates"] else ""
    read = f"opened {counts['opened']:,} files, decoded {counts['decoded']:,} contents"
    lines.append(read + (f" ({rungs})" if rungs else "") + alike)
    return [*lines, _describe_spent(counts)] if rungs else lines


def _describe_spent(counts: dict[str, Any]) -> str:
    spent, children = counts["spent"], counts["children"]
    return (
        f"{spent['videos_per_s']:.1f} videos/s, {spent['cpu_ms_per_media_s']:.1f} ms of processor time a "
        f"second of media; decoders: {children['started']} started, {children['recycled']} recycled, "
        f"{children['timeouts']} late, {children['crashes']} crashed; {counts['worker_deaths']} workers died"
    )


def _ingest_settings(settings: NightlySettings) -> IngestSettings:
    return IngestSettings(
        encoder=settings.encoder,
        sampling=settings.sampling,
        device=settings.device,
        workers=settings.workers,
        ray_address=settings.ray_address,
        media_root=settings.media_root,
        allow_schemes=settings.allow_schemes,
    )


def describe_events(counts: dict[str, Any]) -> str:
    """One line: rows read, imported, repeated, refused."""
    refused = sum(counts["refused"].values())
    told = f"{counts['rows']:,} rows: {counts['imported']:,} new, {counts['duplicates']:,} repeated"
    return f"{told}, {refused:,} refused"


def describe_space(built: dict[str, Any]) -> str:
    """One line: whether the space was trained, and the recall that decided it."""
    state = "aligned" if built["aligned"] else "not aligned (concatenated)"
    state += ", from the last one" if built["warm"] else ""
    filled = f"; {built['imputed']:,} videos filled in from neighbours" if built["imputed"] else ""
    return (
        f"space {built['space_version']}: {state}; held-out recall {built['recall']:.2f}, "
        f"shuffled control {built['control']:.2f}{filled}"
    )


def describe_bundle(result: dict[str, Any]) -> str:
    """One line: the bundle's name, which final scorer it uses, and why."""
    return f"bundle {result['bundle']}: final scorer {result['scorer']} ({result['why']})"


def describe_features(counts: dict[str, Any]) -> str:
    """One line: rows used, rows that name unknown videos, users in the store."""
    return (
        f"{counts['used']:,} of {counts['rows']:,} interactions used, "
        f"{counts['unknown_video']:,} name unknown videos; {counts['users_in_store']:,} users in the store"
    )
