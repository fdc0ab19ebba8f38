"""Which way to put modalities together? Each trained on the same cut, and all in one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import BadInput
from features.workspace import Workspace
from ranker.content import without_content
from ranker.evaluation.arms import Arm
from ranker.evaluation.pipeline import evaluate
from ranker.fusion import FUSIONS, check_fusion
from ranker.pipeline import TrainSettings, train
from ranker.splits import Holdout

if TYPE_CHECKING:
    from features.pipeline import FeatureSet

KINDS = ("none", *(kind for kind in FUSIONS if kind != "none"))
"""The arms, the control first: it knows no content at all."""


def compare_fusions(
    workspace: Workspace,
    features: FeatureSet,
    holdout: Holdout,
    settings: TrainSettings,
    out_dir: Path,
    *,
    kinds: Sequence[str] = KINDS,
    name: str = "fusions",
    k: int = 20,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Trains a bundle for each fusion on what lies before the cut, and reports them side by side.

    The bundles stay in the workspace under their names, which the report tells; none is published.

    Args:
        workspace: where the bundles go.
        features: all that is known.
        holdout: what all of them must not learn from; the report measures on it.
        settings: of every training, but for the fusion.
        out_dir: gets report.html, report.json and report.md.
        kinds: fusions to compare, two or more; the first is the control.
        name: of the report.
        k: length of a slate.
        progress: told (what, done, total).

    Returns:
        What report.json holds; its arms are named for the fusions.

    Raises:
        BadInput: nothing is held out, no video has any content, or a fusion is unknown.
    """
    for kind in kinds:
        check_fusion(kind)
    if holdout.kind == "none":
        raise BadInput("fusions are compared on what was held out, and nothing is; hold out the last days")
    if not features.videos.mask.any():
        raise BadInput(
            "no video has a picture, sound or text vector, so there is nothing to put together; run "
            "`reelrank ingest` or `reelrank embeddings import` first"
        )
    arms = [
        Arm(kind, "bundle", train_fusion(workspace, features, holdout, settings, kind, progress))
        for kind in kinds
    ]
    return evaluate(
        workspace,
        features,
        arms,
        k,
        out_dir=out_dir,
        name=name,
        seed=settings.seed,
        progress=(lambda done, total: progress("evaluate", done, total)) if progress else None,
    )


def train_fusion(
    workspace: Workspace,
    features: FeatureSet,
    holdout: Holdout,
    settings: TrainSettings,
    kind: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> str:
    """Name of a bundle trained with one fusion; with `none`, as if no video had any content."""
    known = replace(features, videos=without_content(features.videos)) if kind == "none" else features

    def tell(stage: str, done: int, total: int) -> None:
        if progress:
            progress(f"{kind}: {stage}", done, total)

    return train(known, workspace, replace(settings, fusion=kind), holdout, tell)
