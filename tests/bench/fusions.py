"""Ways to fuse modalities, side by side on planted worlds: recall and nDCG of liked videos, new ones apart.

Every fusion is trained on the same days and judged on the last ones, as `reelrank evaluate --fusions` does;
the control knows no content. Values of the report are means over users with paired intervals; here they are
averaged over the worlds. `python -m tests.bench.fusions --scratch DIR` (worlds of `tests.bench.planted`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from features.pipeline import build_features
from features.workspace import open_workspace
from infra.demo.world import HELD_OUT_DAYS
from infra.nightly import choose_holdout
from ingest.space import build_space
from ranker.evaluation.fusions import KINDS, compare_fusions
from ranker.pipeline import TrainSettings
from tests.bench.planted import DAYS, SEEDS, USERS, VIDEOS, planted
from tests.bench.record import write_result

K = 20


def one_world(scratch: Path, seed: int, threads: int) -> dict[str, Any]:
    """The report's numbers of one world; its workspace stays as it was."""
    _, _, workspace = planted(scratch, seed)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "workspace"
        shutil.copytree(workspace.root, own)
        copy = open_workspace(own)
        space = build_space(copy)
        features = build_features(copy, space_version=space.space_version)
        holdout = choose_holdout(features, HELD_OUT_DAYS)
        said = compare_fusions(
            copy, features, holdout, TrainSettings(threads=threads), copy.report("fusions"), k=K
        )
    return {
        "seed": seed,
        "aligned": space.aligned,
        "all": {arm["name"]: {m: arm["metrics"][m] for m in ("recall", "ndcg")} for arm in said["arms"]},
        "lifts": [one for one in said["lifts"] if one["metric"] in ("recall", "ndcg")],
        "new": said["cold_videos"],
    }


def summary(worlds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over worlds by fusion."""
    rows = []
    for kind in KINDS:
        told: dict[str, Any] = {"fusion": kind}
        for metric in ("recall", "ndcg"):
            told[metric] = float(np.mean([w["all"][kind][metric]["value"] for w in worlds]))
            new = [w["new"]["arms"][kind][metric]["value"] for w in worlds if w["new"]]
            told[f"new_{metric}"] = float(np.mean(new)) if new else None
        rows.append(told)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    worlds = []
    for seed in given.seeds:
        worlds.append(one_world(given.scratch, seed, given.threads))
        print(json.dumps(summary(worlds[-1:])), flush=True)
    rows = summary(worlds)
    parameters = {"seeds": given.seeds, "videos": VIDEOS, "users": USERS, "days": DAYS, "k": K}
    if tuple(given.seeds) == SEEDS:
        write_result("fusions", parameters, {"fusions": rows, "worlds": worlds})
    best = max(rows, key=lambda row: row["recall"])
    print(json.dumps(rows, indent=1))
    print(f"best: {best['fusion']}, recall {best['recall'] / rows[0]['recall']:.2f} of that without content")


if __name__ == "__main__":
    main()
