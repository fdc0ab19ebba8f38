"""Second half of a request: every candidate's sources and features become one score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.assemble import FEATURE_NAMES, assemble
from features.contracts import Context, Floats, Histories, UserCounters
from features.errors import BadInput
from ranker.blend import z_scores
from ranker.bundle import SOURCES, Bundle, ablated, modalities_in
from ranker.retrieve import Candidates, learn_taste, source_scores

TREE_FEATURES = (*FEATURE_NAMES, *(f"z_{name}" for name in SOURCES), "blend")
"""Columns of `tree_features`."""


def score(
    bundle: Bundle,
    candidates: Candidates,
    histories: Histories,
    context: Context,
    *,
    counters: UserCounters | None = None,
    without: frozenset[str] = frozenset(),
) -> Floats:
    """One score for each candidate, float32, (u, c): larger is better, no probability; -inf in the padding.

    Args:
        bundle: what was trained.
        candidates: of `retrieve`.
        histories: the same u histories.
        context: the same u requests.
        counters: of the same u users; None where they are not known.
        without: components taken away: a source, a modality, or the trees (see `COMPONENTS`).

    Raises:
        BadInput: the arguments differ in length, or a component is unknown.
    """
    if not len(candidates.rows) == len(histories) == len(context.now_ms):
        raise BadInput(
            f"candidates for {len(candidates.rows)} requests, {len(histories)} histories and "
            f"{len(context.now_ms)} contexts differ in number"
        )
    modalities = modalities_in(without)
    lesser = ablated(bundle, modalities)
    z = _z(lesser, candidates, histories, context, rescore=bool(modalities))
    total = z @ source_weights(bundle, without)  # (u, c)
    if bundle.scorer.trees is not None and "trees" not in without:
        total = total + predict_trees(
            bundle, tree_features(lesser, candidates.rows, z, total, histories, context, counters)
        )
    return np.where(candidates.present, total, -np.inf).astype(np.float32)


def main_sources(
    bundle: Bundle, candidates: Candidates, without: frozenset[str] = frozenset()
) -> npt.NDArray[np.int8]:
    """Which source speaks most for each candidate, int8, (u, c), an index into SOURCES.

    Among the sources that brought it, the one with the largest weighted z-score.
    """
    z = z_scores(candidates.scores, candidates.present)
    share = z * source_weights(bundle, without)
    brought = np.where(candidates.found.any(axis=2, keepdims=True), candidates.found, True)
    return np.asarray(np.argmax(np.where(brought, share, -np.inf), axis=2), np.int8)


def source_weights(bundle: Bundle, without: frozenset[str]) -> Floats:
    """Weight of each source's z-score, 0 for those taken away, float32, (len(SOURCES),)."""
    kept = np.array([name not in without for name in SOURCES], np.float32)
    return np.asarray(bundle.scorer.weights * kept, np.float32)


def tree_features(
    bundle: Bundle,
    rows: npt.NDArray[np.int32],
    z: Floats,
    blend: Floats,
    histories: Histories,
    context: Context,
    counters: UserCounters | None,
) -> Floats:
    """What the trees look at, float32, (u, c, len(TREE_FEATURES))."""
    activity = bundle.activity[np.maximum(rows, 0)]
    features = assemble(bundle.videos, bundle.statistics, activity, histories, counters, context, rows)
    return np.concatenate([features, z, blend[:, :, None]], axis=2).astype(np.float32)


def predict_trees(bundle: Bundle, features: Floats) -> Floats:
    """Raw score of the trees, float32, (u, c); one thread, for a request has few rows."""
    flat = features.reshape(-1, features.shape[2])
    if not len(flat):
        return np.zeros(features.shape[:2], np.float32)
    raw = bundle.scorer.trees.predict(flat, raw_score=True, num_threads=1)
    return np.asarray(raw, np.float32).reshape(features.shape[:2])


def _z(
    bundle: Bundle, candidates: Candidates, histories: Histories, context: Context, *, rescore: bool
) -> Floats:
    scores = candidates.scores
    if rescore:
        scores = source_scores(bundle, learn_taste(bundle, histories, context), candidates.rows)
    return z_scores(scores, candidates.present)
