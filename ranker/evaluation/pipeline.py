"""Offline A/B from arms to a report, in order: cut, rank, judge, compare, say."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.contracts import MODALITIES, Int64s
from features.errors import BadInput
from features.workspace import Workspace
from ranker.bundle import load_bundle
from ranker.evaluation import spread
from ranker.evaluation.arms import CURRENT, Arm, check_arms, resolve_bundle
from ranker.evaluation.compare import PRIMARY, Ablation, Comparison, ablations, compare
from ranker.evaluation.examples import draw_users, examples_of
from ranker.evaluation.metrics import METRICS, Doubles, KeySets, judge, measure, ndcg, recall
from ranker.evaluation.report import write_report
from ranker.evaluation.slates import Slates, rank_arm
from ranker.evaluation.slices import HISTORY_SLICES, cold_keys, days_of, history_sizes, history_slices
from ranker.evaluation.statistics import LEVEL, RESAMPLES, Estimate, detectable_effect, mean_interval
from ranker.evaluation.verdict import decide, warnings_of
from ranker.splits import Holdout, Split, split

if TYPE_CHECKING:
    from features.pipeline import FeatureSet
    from ranker.bundle import Bundle

log = logging.getLogger(__name__)

REPORT_VERSION = 1
"""Of the layout of report.json."""


def evaluate(
    workspace: Workspace,
    features: FeatureSet,
    arms: list[Arm],
    k: int = 10,
    *,
    out_dir: Path,
    name: str,
    seed: int = 7,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compares arms on what users went on to like after the bundles' cut, and writes the report.

    Args:
        workspace: where the bundles and thumbnails are.
        features: all that is known, with what was held out from the bundles.
        arms: two or more; the first is the control that the others are held against.
        k: length of a slate, >= 1.
        out_dir: gets report.html, report.json and report.md.
        name: of the report.
        seed: of the random arm, the resamples and the users shown.
        progress: told (done, total) in slates.

    Returns:
        What report.json holds.

    Raises:
        BadInput: fewer than two arms, k below 1, a bundle that held nothing out, bundles of different cuts,
        or nobody
            to measure on.
        NotFound: a bundle is not there.
    """
    check_arms(arms)
    if k < 1:
        raise BadInput(f"k is {k}; a slate holds at least 1 video")
    bundles = _load_bundles(workspace, arms)
    holdout = _common_holdout(workspace, bundles)
    parts = split(features, holdout)
    relevant = KeySets.of(parts.truth.relevant)
    if not len(relevant):
        raise BadInput(
            f"no user liked a new video in the held-out part ({_describe(holdout)}); use an earlier cut"
        )
    slates = _rank_all(arms, bundles, parts, k, seed, progress)
    compared = compare(arms, [measure(judge(slate.keys, relevant)) for slate in slates], seed)
    tested = ablations(compared)
    content: dict[str, Any] = {
        "report_version": REPORT_VERSION,
        "name": name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "k": k,
        "seed": seed,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "primary": PRIMARY,
        "verdict": asdict(decide(compared, k)),
        "warnings": warnings_of(compared, slates, tested, k, _notes(features, parts, bundles, holdout)),
        "data": _data(parts, relevant, holdout, compared),
        "arms": [_arm(i, compared, slates[i], parts, bundles.get(arm.bundle)) for i, arm in enumerate(arms)],
        "lifts": _lifts(compared),
        "ablations": [_ablation(one, compared) for one in tested],
        "by_history": _by_history(compared, parts),
        "by_day": _by_day(slates, relevant, parts, features, holdout),
        "cold_videos": _cold_videos(slates, relevant, parts),
        "examples": examples_of(
            draw_users(history_sizes(parts), seed), slates, relevant, parts, features.catalogue
        ),
        "inputs": _inputs(workspace, features, bundles, arms, k, seed),
    }
    write_report(content, out_dir, workspace.thumbnail)
    log.info(
        "report=%s arms=%d users=%d decision=%s",
        name,
        len(arms),
        compared.users,
        content["verdict"]["decision"],
    )
    return content


def _load_bundles(workspace: Workspace, arms: list[Arm]) -> dict[str, Bundle]:
    """Each bundle once, by the name that arms give it."""
    named = {arm.bundle: arm for arm in arms if arm.kind == "bundle"}
    return {name: load_bundle(workspace.model(resolve_bundle(workspace, arm))) for name, arm in named.items()}


def _common_holdout(workspace: Workspace, bundles: dict[str, Bundle]) -> Holdout:
    """The cut that all bundles were trained with; that of the published one where no arm is a bundle."""
    cuts = {bundle.name: _holdout_of(bundle.name, bundle.manifest) for bundle in bundles.values()}
    if not cuts:
        name = workspace.current_bundle()
        cuts = {name: _holdout_of(name, load_bundle(workspace.model(name)).manifest)}
    different = set(cuts.values())
    if len(different) > 1:
        said = "; ".join(f"{name}: {_describe(cut)}" for name, cut in sorted(cuts.items()))
        raise BadInput(
            f"the bundles held out different parts ({said}); train them with the same cut to compare them"
        )
    return different.pop()


def _holdout_of(name: str, manifest: dict[str, Any]) -> Holdout:
    said = manifest.get("holdout") or {"kind": "none"}
    holdout = Holdout(**said)
    if holdout.kind == "none":
        raise BadInput(
            f"bundle {name} was trained on everything, so nothing is left to measure it on; train one with a holdout"
        )
    return holdout


def _describe(holdout: Holdout) -> str:
    if holdout.kind == "time":
        return f"events from {_day(holdout.until_ms)} on"
    return f"the last {holdout.n} liked video(s) of each user"


def _rank_all(
    arms: list[Arm],
    bundles: dict[str, Bundle],
    parts: Split,
    k: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> list[Slates]:
    users = len(parts.truth.users)

    def told(place: int) -> Callable[[int], None]:
        return lambda done: progress(place * users + done, len(arms) * users) if progress else None

    return [
        rank_arm(arm, bundles.get(arm.bundle), parts, k, seed, told(place)) for place, arm in enumerate(arms)
    ]


def _notes(features: FeatureSet, parts: Split, bundles: dict[str, Bundle], holdout: Holdout) -> list[str]:
    notes = []
    for bundle in bundles.values():
        lacking = int((bundle.videos.rows_of(features.videos.keys) < 0).sum())
        if lacking:
            notes.append(
                f"Bundle {bundle.name} knows {lacking:,} videos less than the catalogue has now; what was liked among "
                "them counts as missed."
            )
        built = bundle.manifest.get("feature_version")
        if built and built != features.feature_version:
            notes.append(
                f"Bundle {bundle.name} was built with features {built}; now they are "
                f"{features.feature_version}."
            )
    if not parts.train.log.has_times:
        notes.append(
            "The data has no times: what is held out was drawn by a hash of user and video, so the results "
            "say nothing of change over time."
        )
    if holdout.kind == "leave_last" and parts.train.log.has_times:
        notes.append(
            "Users are cut at different instants, so bundles may have learnt from events of other users that "
            "came later; a time holdout has no such leak."
        )
    return notes


def _data(parts: Split, relevant: KeySets, holdout: Holdout, compared: Comparison) -> dict[str, Any]:
    sizes, cold = history_sizes(parts), cold_keys(parts)
    effects = [detectable_effect(compared.differences(i, 0)) for i in range(1, len(compared.arms))]
    known = [effect for effect in effects if effect is not None]
    return {
        "holdout": {**holdout.as_json(), "words": _describe(holdout)},
        "users": len(relevant),
        "relevant": len(relevant.keys),
        "cold_users": int((sizes == 0).sum()),
        "videos": len(parts.train.videos),
        "cold_videos": len(cold),
        "relevant_cold": int(np.isin(relevant.keys, cold).sum()),
        "events_before": len(parts.train.log.video_keys),
        "users_before": len(parts.train.log.user_ids),
        "detectable": max(known) if known else None,
    }


def _arm(i: int, compared: Comparison, slate: Slates, parts: Split, bundle: Bundle | None) -> dict[str, Any]:
    arm, videos = slate.arm, parts.train.videos
    rows = videos.rows_of(slate.keys)
    counts = spread.exposure_counts(rows, len(videos))
    vectors = {
        "joint": videos.joint,
        **{name: videos.vectors[name] for name in MODALITIES if name in videos.vectors},
    }
    return {
        "name": arm.name,
        "kind": arm.kind,
        "spec": arm.spec,
        "bundle": bundle.name if bundle else None,
        "without": sorted(arm.without),
        "control": i == 0,
        "metrics": {metric: asdict(compared.mean(i, metric)) for metric in METRICS},
        "spread": {
            "coverage": spread.coverage(counts),
            "gini": spread.gini(counts),
            "novelty_bits": spread.mean_or_none(
                spread.novelty(rows, _audience(parts), len(parts.train.log.user_ids))
            ),
            "creator_concentration": spread.mean_or_none(spread.creator_concentration(rows, videos.creators)),
            "diversity": {
                name: spread.mean_or_none(spread.intra_list_diversity(rows, values))
                for name, values in vectors.items()
            },
        },
    }


def _audience(parts: Split) -> Int64s:
    """Users who met each video before the cut, (n_videos,)."""
    history = parts.train.log
    users = np.repeat(np.arange(len(history.user_ids)), np.diff(history.offsets))
    rows = parts.train.videos.rows_of(history.video_keys)
    pairs = np.unique(np.stack([users[rows >= 0], rows[rows >= 0]]), axis=1)
    return np.bincount(pairs[1], minlength=len(parts.train.videos)).astype(np.int64)


def _lifts(compared: Comparison) -> list[dict[str, Any]]:
    others = range(1, len(compared.arms))
    return [
        {
            "arm": compared.arms[i].name,
            "control": compared.arms[0].name,
            "metric": metric,
            **asdict(compared.lift(i, 0, metric, len(others))),
        }
        for metric in METRICS
        for i in others
    ]


def _ablation(one: Ablation, compared: Comparison) -> dict[str, Any]:
    return {
        "component": one.component,
        "full": compared.arms[one.full].name,
        "less": compared.arms[one.less].name,
        "hurts": one.hurts,
        **asdict(one.gain),
    }


def _by_history(compared: Comparison, parts: Split) -> dict[str, Any]:
    slices = history_slices(history_sizes(parts))
    values = compared.values[:, :, list(METRICS).index(PRIMARY)]
    return {
        "slices": [name for name, _, _ in HISTORY_SLICES],
        "users": [int(who.sum()) for who in slices.values()],
        "arms": {
            arm.name: [_number(values[i, who]) for who in slices.values()]
            for i, arm in enumerate(compared.arms)
        },
    }


def _by_day(
    slates: list[Slates], relevant: KeySets, parts: Split, features: FeatureSet, holdout: Holdout
) -> dict[str, Any] | None:
    """The primary metric against what was liked on each day; the slates are those of the cut. None without a day."""
    if holdout.kind != "time":
        return None
    days = days_of(relevant, parts.truth, features)
    found = np.unique(days[days >= 0])
    if len(found) < 2:
        return None
    then = [relevant.only(days == day) for day in found]
    return {
        "days": [_day(int(day)) for day in found],
        "users": [int((sets.sizes > 0).sum()) for sets in then],
        "arms": {
            slate.arm.name: [_number(ndcg(judge(slate.keys, sets))[sets.sizes > 0]) for sets in then]
            for slate in slates
        },
    }


def _cold_videos(slates: list[Slates], relevant: KeySets, parts: Split) -> dict[str, Any] | None:
    """Recall of liked videos that nobody had met before the cut; None where none was liked."""
    cold = relevant.only(np.isin(relevant.keys, cold_keys(parts)))
    who = cold.sizes > 0
    if not who.any():
        return None
    return {
        "users": int(who.sum()),
        "relevant": len(cold.keys),
        "arms": {slate.arm.name: _number(recall(judge(slate.keys, cold))[who]) for slate in slates},
    }


def _number(values: Doubles) -> dict[str, Any] | None:
    estimate: Estimate | None = mean_interval(values)
    return None if estimate is None else asdict(estimate)


def _inputs(
    workspace: Workspace, features: FeatureSet, bundles: dict[str, Bundle], arms: list[Arm], k: int, seed: int
) -> dict[str, Any]:
    """What the numbers follow from, and one hash of it: same hash, same numbers."""
    said = {
        "interactions": workspace.interactions.snapshot().files,
        "catalogue": workspace.catalogue.snapshot().files,
        "bundles": {
            (name if name == CURRENT else bundle.name): bundle.manifest
            for name, bundle in sorted(bundles.items())
        },
        "arms": [(arm.name, arm.spec) for arm in arms],
        "versions": [features.encoder_version, features.space_version, features.feature_version],
        "k": k,
        "seed": seed,
        "resamples": RESAMPLES,
    }
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True, default=str).encode(), digest_size=16)
    return {
        "hash": digest.hexdigest(),
        "bundles": sorted({bundle.name for bundle in bundles.values()}),
        "encoder_version": features.encoder_version,
        "space_version": features.space_version,
        "feature_version": features.feature_version,
        "interactions": features.counts.rows,
    }


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()
