"""All numbers of a report as plain values, ready for JSON: arms, lifts, slices, spread and inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from features.contracts import MODALITIES, Floats, Int64s
from features.workspace import Workspace
from ranker.evaluation import spread
from ranker.evaluation.arms import Arm
from ranker.evaluation.compare import PRIMARY, Ablation, Comparison
from ranker.evaluation.metrics import METRICS, Doubles, KeySets, judge, ndcg
from ranker.evaluation.slates import Slates
from ranker.evaluation.slices import HISTORY_SLICES, cold_keys, days_of, history_sizes, history_slices
from ranker.evaluation.statistics import RESAMPLES, detectable_effect, mean_interval
from ranker.splits import Holdout, Split

if TYPE_CHECKING:
    from features.pipeline import FeatureSet
    from ranker.bundle import Bundle


def data_of(parts: Split, relevant: KeySets, holdout: Holdout, compared: Comparison) -> dict[str, Any]:
    """The data and its cut: how many users and videos, and how many of them are new."""
    sizes, cold = history_sizes(parts), cold_keys(parts)
    effects = [detectable_effect(compared.differences(i, 0)) for i in range(1, len(compared.arms))]
    known = [effect for effect in effects if effect is not None]
    return {
        "holdout": {**holdout.as_json(), "words": describe(holdout)},
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


def arm_of(
    i: int, compared: Comparison, slate: Slates, parts: Split, bundle: Bundle | None
) -> dict[str, Any]:
    """One arm: what it is, its metrics, and what its slates show."""
    arm, videos = slate.arm, parts.train.videos
    rows = videos.rows_of(slate.keys)
    counts = spread.exposure_counts(rows, len(videos))
    vectors: dict[str, Floats] = {"joint": videos.joint}
    vectors.update({name: videos.vectors[name] for name in MODALITIES if name in videos.vectors})
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


def lifts_of(compared: Comparison, metrics: Iterable[str] = METRICS) -> list[dict[str, Any]]:
    """Every arm against the control, in these metrics."""
    others = range(1, len(compared.arms))
    return [
        {
            "arm": compared.arms[i].name,
            "control": compared.arms[0].name,
            "metric": metric,
            **asdict(compared.lift(i, 0, metric, len(others))),
        }
        for metric in metrics
        for i in others
    ]


def ablation_of(one: Ablation, compared: Comparison) -> dict[str, Any]:
    """One component's effect."""
    return {
        "component": one.component,
        "full": compared.arms[one.full].name,
        "less": compared.arms[one.less].name,
        "hurts": one.hurts,
        **asdict(one.gain),
    }


def by_history(compared: Comparison, parts: Split) -> dict[str, Any]:
    """The primary metric by events before the cut."""
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


def by_day(
    slates: list[Slates], relevant: KeySets, parts: Split, features: FeatureSet, holdout: Holdout
) -> dict[str, Any] | None:
    """The primary metric against what was liked on each day after the cut; None without days."""
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


def inputs_of(
    workspace: Workspace, features: FeatureSet, bundles: dict[str, Bundle], arms: list[Arm], k: int, seed: int
) -> dict[str, Any]:
    """What the numbers follow from, and one hash of it: same hash, same numbers."""
    said: dict[str, Any] = {
        "interactions": workspace.interactions.snapshot().files,
        "catalogue": workspace.catalogue.snapshot().files,
        "bundles": {bundle.name: bundle.manifest for bundle in bundles.values()},
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


def describe(holdout: Holdout) -> str:
    """The held-out part in words."""
    if holdout.kind == "time":
        return f"events from {_day(holdout.until_ms)} on"
    whom = "each user" if holdout.share == 1 else f"{holdout.share:.0%} of the users"
    return f"the last {holdout.n} liked video(s) of {whom}"


def _audience(parts: Split) -> Int64s:
    """Users who met each video before the cut, (n_videos,)."""
    history = parts.train.log
    users = np.repeat(np.arange(len(history.user_ids)), np.diff(history.offsets))
    rows = parts.train.videos.rows_of(history.video_keys)
    pairs = np.unique(np.stack([users[rows >= 0], rows[rows >= 0]]), axis=1)
    return np.bincount(pairs[1], minlength=len(parts.train.videos)).astype(np.int64)


def _number(values: Doubles) -> dict[str, Any] | None:
    estimate = mean_interval(values)
    return None if estimate is None else asdict(estimate)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()
