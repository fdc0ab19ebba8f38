"""Offline A/B from arms to a report, in order: cut, rank, judge, compare, say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import BadInput
from features.workspace import Workspace
from ranker.bundle import load_bundle
from ranker.evaluation.arms import Arm, check_arms, resolve_bundle
from ranker.evaluation.cold import cold_videos
from ranker.evaluation.compare import PRIMARY, ablations, compare
from ranker.evaluation.content import (
    ablation_of,
    arm_of,
    by_day,
    by_history,
    data_of,
    describe,
    inputs_of,
    lifts_of,
)
from ranker.evaluation.examples import draw_users, examples_of
from ranker.evaluation.leak import warn_of_leak
from ranker.evaluation.metrics import KeySets, judge, measure
from ranker.evaluation.report import write_report
from ranker.evaluation.slates import Slates, rank_arm
from ranker.evaluation.slices import history_sizes
from ranker.evaluation.statistics import LEVEL, RESAMPLES
from ranker.evaluation.verdict import decide, warnings_of
from ranker.splits import Holdout, Split, split

if TYPE_CHECKING:
    from features.pipeline import FeatureSet
    from ranker.bundle import Bundle

log = logging.getLogger(__name__)

REPORT_VERSION = 2
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
            or nobody to measure on.
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
            f"no user liked a new video in the held-out part ({describe(holdout)}); use an earlier cut"
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
        "warnings": warnings_of(
            compared, slates, tested, k, _notes(workspace, features, parts, bundles, holdout)
        ),
        "data": data_of(parts, relevant, holdout, compared),
        "arms": [
            arm_of(i, compared, slates[i], parts, bundles.get(arm.bundle)) for i, arm in enumerate(arms)
        ],
        "lifts": lifts_of(compared),
        "ablations": [ablation_of(one, compared) for one in tested],
        "by_history": by_history(compared, parts),
        "by_day": by_day(slates, relevant, parts, features, holdout),
        "cold_videos": cold_videos(slates, relevant, parts, seed),
        "examples": examples_of(
            draw_users(history_sizes(parts), seed), slates, relevant, parts, features.catalogue
        ),
        "inputs": inputs_of(workspace, features, bundles, arms, k, seed),
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
        said = "; ".join(f"{name}: {describe(cut)}" for name, cut in sorted(cuts.items()))
        raise BadInput(
            f"the bundles held out different parts ({said}); train them with the same cut to compare them"
        )
    return different.pop()


def _holdout_of(name: str, manifest: dict[str, Any]) -> Holdout:
    said = manifest.get("holdout") or {"kind": "none"}
    holdout = Holdout(**said)
    if holdout.kind == "none":
        raise BadInput(
            f"bundle {name} was trained on everything, so nothing is left to measure it on; "
            "train one with a holdout"
        )
    return holdout


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


def _notes(
    workspace: Workspace, features: FeatureSet, parts: Split, bundles: dict[str, Bundle], holdout: Holdout
) -> list[str]:
    spaces = sorted({bundle.manifest.get("space_version") or "" for bundle in bundles.values()} - {""})
    notes = [told for space in spaces if (told := warn_of_leak(workspace, space, holdout))]
    for bundle in bundles.values():
        lacking = int((bundle.videos.rows_of(features.videos.keys) < 0).sum())
        if lacking:
            notes.append(
                f"Bundle {bundle.name} knows {lacking:,} videos less than the catalogue has now; what was "
                "liked among them counts as missed."
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
