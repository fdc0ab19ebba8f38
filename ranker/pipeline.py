"""Training: cut, fit the components without the latest slice, let that slice judge, refit on all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.activity import activity_at, build_activity_log
from features.assemble import video_statistics
from features.contracts import (
    ACTIVITY_PERIOD_MS,
    Context,
    Floats,
    Histories,
    Int64s,
    UserCounters,
)
from features.counters import counters_now
from features.errors import BadInput
from features.histories import ends_of, gather_histories
from features.neighbours import Neighbours
from features.pipeline import FeatureSet
from features.videos import video_rows
from features.workspace import Workspace
from ranker.blend import fit_blend, z_scores
from ranker.bundle import SOURCES, Bundle, Scorer, assemble_bundle, write_bundle
from ranker.card import write_card
from ranker.examples import Pairs, interaction_matrix, positive_pairs
from ranker.fusion import DEFAULT_FUSION, check_fusion
from ranker.history_rows import history_rows
from ranker.item_graph import (
    check_imputation,
    fill_missing,
    fit_item_graph,
    learnt_until,
    with_neighbours,
    write_item_graph,
)
from ranker.item_item import (
    MAX_EASE_VIDEOS,
    ItemGraph,
    Method,
    fit_covisitation,
    fit_ease,
    item_scores,
)
from ranker.popularity import popularity
from ranker.recommend import recommend
from ranker.retrieve import retrieve
from ranker.score import tree_features
from ranker.splits import Holdout, Truth, positive_rows, split
from ranker.trees import Examples, TreeSettings, Verdict, judge_trees
from ranker.two_tower import TowerRun, TowerSettings, train_towers
from ranker.user_vector import user_vectors, video_vectors

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

DECAYS = (1.0, 0.97, 0.9)
"""How much less an event counts than the one after it: tried where the data has times."""
INNER_SHARE = 0.25
"""Without times, this share of the users gives one positive video to the inner slice."""
INNER_TAIL = 0.12
"""With times, this share of the positive events, the latest, is the inner slice."""
FIRST_WEIGHTS = (1.0, 0.3, 0.1, 0.05, 0.05)
"""Of the sources' z-scores, in the order of SOURCES, until a later slice says better."""
NO_TIMES = (
    "the data has no times: a slice held out at random would flatter whatever says what was popular, "
    "so the first weights are kept and no trees are added"
)
MIN_INNER_USERS = 20
"""With fewer users in the inner slice the blend keeps its first weights."""
TUNE_USERS = 2000
"""Most users of the inner slice that choose the item graph and the weights."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a bundle is trained."""

    epochs: int = 14
    dim: int = 64
    seed: int = 7
    threads: int = 2
    time_budget_s: float = 600.0
    """The tower's two trainings together stop after about this long."""
    candidates: int = 300
    fusion: str = DEFAULT_FUSION
    """How the video tower puts ids and modalities together, one of `FUSIONS`."""
    impute: str = "none"
    """What stands for a modality that a video lacks, one of `IMPUTATIONS`."""
    trees: TreeSettings = field(default_factory=TreeSettings)

    def __post_init__(self) -> None:
        check_fusion(self.fusion)
        check_imputation(self.impute)
        for name in ("epochs", "dim", "threads", "candidates"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.time_budget_s <= 0:
            raise BadInput(f"time_budget_s must be above 0, got {self.time_budget_s}")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the inner slice decided."""

    method: Method
    decay: float
    scorer: Scorer
    verdict: str
    """Why the trees are used or not, one sentence."""
    said: dict[str, Any]
    """For the manifest."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was learnt from one feature set."""

    bundle: Bundle
    run: TowerRun
    pairs: Pairs
    audiences: Neighbours
    """Videos with the same viewers, by the bundle's rows."""
    imputed: dict[str, dict[str, Any]]
    """How missing modalities were filled in, for the manifest."""


def train(
    features: FeatureSet,
    workspace: Workspace,
    settings: TrainSettings | None = None,
    holdout: Holdout | None = None,
    progress: Progress | None = None,
    attach: Callable[[Path], None] | None = None,
) -> str:
    """Trains a bundle and writes it to the workspace; returns its name. It is not published.

    Args:
        features: of `build_features`.
        workspace: where the bundle goes.
        settings: see `TrainSettings`.
        holdout: what must not be learnt from, for an honest evaluation; nothing by default.
        progress: called with a stage's name, what is done and the total.
        attach: puts more files into the bundle's directory before it is sealed.

    Raises:
        BadInput: no event is positive, or the holdout leaves none.
    """
    settings, holdout = settings or TrainSettings(), holdout or Holdout()
    started = time.monotonic()
    tell: Progress = progress or (lambda _stage, _done, _total: None)
    positive_pairs(features)  # refuses a log without any before the cut is blamed for it
    outer = split(features, holdout)
    choice = _choose(outer.train, settings, tell)
    fitted = _fit(outer.train, settings, choice, tell, "train two-tower")
    bundle, run = fitted.bundle, fitted.run
    until_ms = learnt_until(outer.train, holdout)
    write_item_graph(workspace, fitted.audiences, bundle.videos.keys, until_ms)
    metrics = measure(bundle, outer.train, outer.truth)
    tell("write bundle", 0, 1)
    now = datetime.now(UTC)
    manifest = {
        "created_at": now.isoformat(timespec="seconds"),
        "feature_version": features.feature_version,
        "encoder_version": features.encoder_version,
        "space_version": features.space_version,
        "videos": len(features.videos),
        "users": len(outer.train.log.user_ids),
        "events": len(outer.train.log.events),
        "positive_pairs": len(fitted.pairs),
        "training_window_ms": _window(outer.train),
        "holdout": holdout.as_json(),
        "settings": asdict(settings),
        "item_item": {"method": choice.method},
        "item_graph": {"edges": len(fitted.audiences.rows), "until_ms": until_ms},
        "imputed": fitted.imputed,
        "decay": choice.decay,
        "weights": dict(zip(SOURCES, map(float, choice.scorer.weights), strict=True)),
        "tower": {
            "steps": run.steps,
            "planned_steps": run.planned_steps,
            "loss": run.loss,
            "seconds": run.seconds,
        },
        "scorer": {"final": "trees" if choice.scorer.trees is not None else "blend", "why": choice.verdict},
        "inner": choice.said,
        "metrics": metrics,
        "train_seconds": time.monotonic() - started,
    }
    stamp = now.strftime("%Y%m%dt%H%M%S")
    name = write_bundle(bundle, workspace.root / "models", stamp, write_card(manifest), manifest, attach)
    tell("write bundle", 1, 1)
    log.info("trained bundle=%s seconds=%.1f scorer=%s metrics=%s", name, time.monotonic() - started,
             manifest["scorer"], metrics)  # fmt: skip
    return name


def measure(bundle: Bundle, train_part: FeatureSet, truth: Truth, k: int = 20) -> dict[str, float]:
    """Recall@k and nDCG@k over the truth's users, all the catalogue ranked, seen videos left out."""
    if not len(truth):
        return {}
    histories = histories_of(train_part, truth.user_codes)
    counters = counters_now(train_part.log, truth.user_codes)
    rows = recommend(bundle, histories, Context.at(truth.at_ms), k, counters=counters).rows
    relevant = [bundle.videos.rows_of(keys) for keys in truth.relevant]
    return ranking_metrics(rows, relevant, k)


def ranking_metrics(
    rows: npt.NDArray[np.int32], relevant: list[npt.NDArray[np.int32]], k: int
) -> dict[str, float]:
    """Mean recall@k (hits over all relevant) and nDCG@k of ranked rows, (u, k), against relevant rows."""
    discount = 1.0 / np.log2(np.arange(k) + 2)
    recall, ndcg = [], []
    for ranked, wanted in zip(rows, relevant, strict=True):
        hits = np.isin(ranked[:k], wanted) & (ranked[:k] >= 0)
        recall.append(hits.sum() / len(wanted))
        ndcg.append((hits * discount[: len(hits)]).sum() / discount[: min(k, len(wanted))].sum())
    return {
        f"recall@{k}": float(np.mean(recall)),
        f"ndcg@{k}": float(np.mean(ndcg)),
        "users": float(len(recall)),
    }


def histories_of(features: FeatureSet, codes: Int64s) -> Histories:
    """The latest events of users of a feature set; empty for the code -1."""
    return gather_histories(features.log, codes, ends_of(features.log, codes))


def _fit(features: FeatureSet, settings: TrainSettings, choice: Choice, tell: Progress, stage: str) -> Fitted:
    """All components, learnt from a feature set, with a choice made before."""
    pairs = positive_pairs(features)
    audiences = fit_item_graph(pairs, len(features.log.user_ids), len(features.videos))
    features, imputed = fill_missing(with_neighbours(features, audiences), audiences, settings.impute)
    run = _towers(features, pairs, settings, tell, stage)
    graph = _graph(features, pairs, choice.method, settings)
    bundle = _assemble(features, run, graph, choice.decay, choice.scorer, settings)
    return Fitted(bundle, run, pairs, audiences, imputed)


def _choose(features: FeatureSet, settings: TrainSettings, tell: Progress) -> Choice:
    """Item graph, decay, weights and trees, decided on the latest slice by components that never saw it."""
    inner = _inner_split(features)
    first = Scorer(np.array(FIRST_WEIGHTS, np.float32), None)
    if inner is None:
        why = f"fewer than {MIN_INNER_USERS} users have something to hold out, so the first weights are kept"
        return Choice("covisit", 1.0, first, why, {"users": 0, "metrics": {}})
    train_part, truth = inner
    pairs = positive_pairs(train_part)
    audiences = fit_item_graph(pairs, len(train_part.log.user_ids), len(train_part.videos))
    train_part, _ = fill_missing(with_neighbours(train_part, audiences), audiences, settings.impute)
    histories, context = histories_of(train_part, truth.user_codes), Context.at(truth.at_ms)
    tell("choose item graph", 0, 1)
    method, decay, graph, recalls = _choose_graph(train_part, pairs, truth, histories, settings)
    tell("choose item graph", 1, 1)
    if not features.log.has_times:
        return Choice(
            method, decay, first, NO_TIMES, {"users": len(truth), "item_graphs": recalls, "metrics": {}}
        )
    run = _towers(train_part, pairs, settings, tell, "train two-tower (without the latest slice)")
    bundle = _assemble(train_part, run, graph, decay, first, settings)
    tell("judge scorers", 0, 1)
    counters = counters_now(train_part.log, truth.user_codes)
    weights, verdict = _judge(bundle, truth, histories, context, counters, settings)
    chosen = replace(bundle, scorer=Scorer(weights, verdict.booster))
    said = {
        "users": len(truth),
        "item_graphs": recalls,
        "trees": {"gain": verdict.gain, "low": verdict.low, "high": verdict.high},
        "metrics": measure(chosen, train_part, truth),
    }
    tell("judge scorers", 1, 1)
    return Choice(method, decay, chosen.scorer, verdict.why, said)


def _inner_split(features: FeatureSet) -> tuple[FeatureSet, Truth] | None:
    holdout = Holdout("leave_last", n=1, share=INNER_SHARE)
    if features.log.has_times:
        frame = features.interactions.filter(positive_rows(features))
        times = frame["ts"].drop_nulls().dt.epoch("ms").to_numpy()
        holdout = Holdout("time", until_ms=int(np.quantile(times, 1 - INNER_TAIL)))
    try:
        cut = split(features, holdout)
    except BadInput:  # everything happened at once: nothing can be learnt before the latest slice
        return None
    truth = cut.truth.some(TUNE_USERS)
    return (cut.train, truth) if len(truth) >= MIN_INNER_USERS else None


def _choose_graph(
    features: FeatureSet, pairs: Pairs, truth: Truth, histories: Histories, settings: TrainSettings
) -> tuple[Method, float, ItemGraph, dict[str, float]]:
    methods: tuple[Method, ...] = (
        ("covisit", "ease") if len(features.videos) <= MAX_EASE_VIDEOS else ("covisit",)
    )
    decays = DECAYS if features.log.has_times else (1.0,)
    history = history_rows(features.videos, histories)
    relevant = [features.videos.rows_of(keys) for keys in truth.relevant]
    best: tuple[float, Method, float, ItemGraph] | None = None
    said: dict[str, float] = {}
    for method in methods:
        graph = _graph(features, pairs, method, settings)
        for decay in decays:
            scores = item_scores(graph, history, decay).toarray()
            users, places = np.nonzero(history.seen)
            scores[users, history.rows[users, places]] = -np.inf
            top = np.argsort(-scores, axis=1, kind="stable")[:, :20].astype(np.int32)
            value = ranking_metrics(top, relevant, min(20, top.shape[1]))[f"ndcg@{min(20, top.shape[1])}"]
            said[f"{method} decay {decay}"] = value
            if best is None or value > best[0]:
                best = (value, method, decay, graph)
    assert best is not None
    return best[1], best[2], best[3], said


def _judge(
    bundle: Bundle,
    truth: Truth,
    histories: Histories,
    context: Context,
    counters: UserCounters,
    settings: TrainSettings,
) -> tuple[Floats, Verdict]:
    found = retrieve(bundle, histories, context, settings.candidates)
    labels = (
        np.stack(
            [
                np.isin(rows, bundle.videos.rows_of(keys))
                for rows, keys in zip(found.rows, truth.relevant, strict=True)
            ]
        ).astype(np.float32)
        * found.present
    )
    z = z_scores(found.scores, found.present)
    weights = fit_blend(z, labels, found.present)
    some = slice(0, settings.trees.max_users)
    blend = z[some] @ weights
    columns = tree_features(
        bundle,
        found.rows[some],
        z[some],
        blend,
        histories.part(some),
        context.part(some),
        counters.part(some),
    )
    judged = judge_trees(
        Examples(columns, labels[some], blend, found.present[some]),
        replace(settings.trees, seed=settings.seed, threads=settings.threads),
    )
    return weights, judged


def _towers(
    features: FeatureSet, pairs: Pairs, settings: TrainSettings, tell: Progress, stage: str
) -> TowerRun:
    wanted = TowerSettings(
        fusion=settings.fusion,
        dim=settings.dim,
        epochs=settings.epochs,
        seed=settings.seed,
        threads=settings.threads,
        budget_s=settings.time_budget_s / 2,
    )
    return train_towers(features.videos, pairs, wanted, lambda done, total: tell(stage, done, total))


def _graph(features: FeatureSet, pairs: Pairs, method: Method, settings: TrainSettings) -> ItemGraph:
    seen = interaction_matrix(pairs, len(features.log.user_ids), len(features.videos))
    if method == "ease":
        return fit_ease(seen, threads=settings.threads)
    return fit_covisitation(seen)


def _assemble(
    features: FeatureSet,
    run: TowerRun,
    graph: ItemGraph,
    decay: float,
    scorer: Scorer,
    settings: TrainSettings,
) -> Bundle:
    codes = np.arange(
        0, len(features.log.user_ids), max(1, len(features.log.user_ids) // 500), dtype=np.int64
    )
    history = history_rows(features.videos, histories_of(features, codes))
    titles = dict(features.catalogue.select("video_key", "title").iter_rows())
    return assemble_bundle(
        videos=features.videos,
        titles=tuple(titles.get(int(key)) for key in features.videos.keys),
        statistics=video_statistics(features.interactions, features.videos, None),
        activity=_last_activity(features),
        tower=run.tower,
        item_item=graph,
        popularity=popularity(features),
        decay=decay,
        candidates=settings.candidates,
        queries=user_vectors(run.tower, video_vectors(run.tower, features.videos), history),
        scorer=scorer,
        threads=settings.threads,
    )


def _last_activity(features: FeatureSet) -> npt.NDArray[np.int32]:
    """Activity of all videos once the last event of a feature set has become known."""
    videos = features.videos
    known = features.log.arrivals.known_ms
    period = ACTIVITY_PERIOD_MS
    mark = (int(known.max(initial=0)) // period + 1) * period if features.log.has_times else 0
    activity = build_activity_log(features.interactions, video_rows(videos))
    return activity_at(activity, np.arange(len(videos)), np.array(mark, np.int64))


def _window(features: FeatureSet) -> list[int]:
    known = features.log.ts_ms[features.log.ts_ms > 0]
    return [int(known.min()), int(known.max())] if len(known) else [0, 0]
