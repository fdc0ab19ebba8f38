"""TikTok micro-video through the command line: imported embeddings and interactions, no media, no timestamps.

Protocol of Jiang et al., "DiffMM", ACM MM 2024, table 1: every video is ranked for each user, the user's
training videos left out; Recall@20 and NDCG@20 are means over users with validation pairs. One seed.
Run from a checkout with the data beside it: `python -m tests.bench.tiktok`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.bench.record import ROOT, write_result

DATA = ROOT.parent / "shared" / "data" / "tiktok"
K = 20


def reelrank(*words: str, workspace: Path) -> tuple[dict[str, Any], float]:
    """The command's JSON answer and its seconds, start of the process included."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "infra.cli", *words, "--workspace", str(workspace), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - began


def judge(found: pl.DataFrame, wanted: pl.DataFrame) -> tuple[float, float, int]:
    """Mean Recall@20 and NDCG@20 over the users of `wanted`, and how many they are."""
    discount = 1.0 / np.log2(np.arange(K) + 2)
    lists = dict(
        found.sort("user_id", "rank").group_by("user_id", maintain_order=True).agg("video_id").iter_rows()
    )
    recall, ndcg = [], []
    for user, relevant in wanted.group_by("user_id").agg("video_id").iter_rows():
        hits = np.isin(lists.get(user, [])[:K], relevant)
        recall.append(hits.sum() / len(relevant))
        ndcg.append((hits * discount[: len(hits)]).sum() / discount[: min(K, len(relevant))].sum())
    return float(np.mean(recall)), float(np.mean(ndcg)), len(recall)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace, out = Path(folder) / "ws", Path(folder) / "out.parquet"
        seconds = {}
        for words in (
            ("embeddings", "import", str(DATA / "embeddings.parquet")),
            ("events", "import", str(DATA / "train.parquet")),
            ("features", "build"),
            ("train",),
            ("recommend", "--all", "--k", str(K), "--out", str(out)),
        ):
            _, seconds[words[0]] = reelrank(*words, workspace=workspace)
        recall, ndcg, users = judge(pl.read_parquet(out), pl.read_parquet(DATA / "validation.parquet"))
    figures = {
        "recall": recall,
        "ndcg": ndcg,
        "users": users,
        "train_s": seconds["train"],
        "seconds": seconds,
    }
    write_result("tiktok", {"k": K, "seed": 7, "split": "validation"}, figures)
    best = 0.1129
    print(json.dumps(figures))
    print(
        f"Recall@20 {recall:.4f}: {recall / best:.2f} of the best published on the test split, DiffMM {best}"
    )


if __name__ == "__main__":
    main()
