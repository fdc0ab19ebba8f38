"""Zero-shot tags on planted worlds: calibration and precision on held-out videos; and the cost of a million.

`python -m tests.bench.planted_tags --scratch DIR [--seeds 201 202 203] [--videos 1000000]`
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from features.contracts import MODALITIES, Floats, VideoTable
from features.videos import build_video_table
from features.workspace import Workspace
from ingest.encoders.fit_tags import fit_tagger
from ingest.encoders.heads import load_heads
from ingest.encoders.projector import load_projector, unit_rows
from ingest.encoders.query import encoder_directory
from ingest.encoders.tags import Tagger, catalogue_tags
from ingest.encoders.text import describe_text
from ingest.held_out import held_out_heads
from ingest.space import build_space
from ingest.space_inputs import heads_directory
from tests.bench.planted import SEEDS, planted
from tests.bench.record import write_result

TAGS = 200


def fit_on(workspace: Workspace) -> tuple[Tagger, VideoTable]:
    """The tagger of a workspace's newest embeddings, and its videos."""
    built = build_space(workspace)
    heads = load_heads(heads_directory(workspace, built.space_version))
    embeddings = workspace.embeddings(built.encoder_version).read()
    videos = build_video_table(workspace.catalogue.read(), None, embeddings)
    projector = load_projector(encoder_directory(workspace, built.encoder_version))
    names = catalogue_tags(videos, 10)
    raw = np.stack([described for name in names if (described := describe_text(name)) is not None])
    words = projector.project("text", raw)
    return fit_tagger(videos, heads, names, words, held_out_heads(videos, heads)), videos


def judge_untagged(tagger: Tagger, videos: VideoTable, truth: pl.DataFrame) -> dict[str, float]:
    """Likeliest tag of videos without any: share whose topic is the one that the tag stands for."""
    topics = dict(truth.select("video_id", "topic").iter_rows())
    of_tag: dict[str, dict[str, int]] = {}
    for video_id, own in zip(videos.ids, videos.tags, strict=True):
        for tag in own:
            counts = of_tag.setdefault(tag, {})
            counts[topics[video_id]] = counts.get(topics[video_id], 0) + 1
    means = {tag: max(counts, key=lambda topic: counts[topic]) for tag, counts in of_tag.items()}
    bare = np.array([row for row, own in enumerate(videos.tags) if not own], np.int64)
    right, told = 0, 0
    for block in tagger.best(videos, 1, bare):
        for row, tags, chances in zip(block.rows, block.tags, block.probabilities, strict=True):
            if chances[0] >= 0.5:
                told += 1
                right += means[tagger.tags[tags[0]]] == topics[videos.ids[row]]
    return {"untagged": len(bare), "told": told, "right": right / max(1, told)}


def of_seed(scratch: Path, seed: int) -> dict[str, Any]:
    _, files, workspace = planted(scratch, seed)
    began = time.process_time()
    tagger, videos = fit_on(workspace)
    report = asdict(tagger.report)
    return {
        "seed": seed,
        "tags": len(tagger.tags),
        "left_out": [fit.tag for fit in tagger.fits if not fit.kept],
        **{name: report[name] for name in ("error", "unused_error", "precision", "recall", "told", "bins")},
        "untagged": judge_untagged(tagger, videos, pl.read_parquet(files.truth_videos)),
        "cpu_s": round(time.process_time() - began, 2),
    }


def of_many(tagger: Tagger, n: int) -> dict[str, float]:
    """Five tags of 200 for each of n synthetic videos: processor time, and memory beyond their vectors."""
    draw = np.random.default_rng(7)
    dims = {name: len(tagger.heads.by_modality[name].mean) for name in ("visual", "audio")}
    vectors: dict[str, Floats] = {
        name: unit_rows(draw.standard_normal((n, dim), np.float32)) for name, dim in dims.items()
    }
    table = _synthetic(n, vectors)
    at = draw.integers(0, len(tagger.tags), TAGS)
    wide = Tagger(
        tagger.heads, tuple(f"tag {j}" for j in range(TAGS)), tagger.vectors[at], tagger.slopes[at],
        tagger.intercepts[at], tagger.ceilings[at], tagger.fits, (), tagger.report,
    )  # fmt: skip
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    rows = sum(len(block.rows) for block in wide.best(table, 5))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "videos": rows,
        "tags": TAGS,
        "cpu_s": round(time.process_time() - began, 2),
        "more_mib": grown >> 10,
    }


def _synthetic(n: int, vectors: dict[str, Floats]) -> VideoTable:
    keys, nan = np.arange(n), np.full(n, np.nan, np.float32)
    nothing = {name: np.zeros((n, 0), np.float32) for name in MODALITIES if name not in vectors}
    return VideoTable(
        keys=keys, ids=("",) * n, vectors={**vectors, **nothing}, joint=np.zeros((n, 0), np.float32),
        mask=np.full(n, 3, np.uint8), agreement=nan, imputed=np.zeros(n, np.uint8), sound_fit=nan,
        text_fit=nan, duration_s=nan, published_ms=keys, creators=np.zeros(n, np.int32), tags=((),) * n,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--videos", type=int, default=1_000_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = [of_seed(args.scratch, seed) for seed in args.seeds]
    _, _, workspace = planted(args.scratch, args.seeds[0])
    many = of_many(fit_on(workspace)[0], args.videos)
    means = {name: float(np.mean([one[name] for one in found])) for name in ("error", "precision", "recall")}
    parameters = {"seeds": list(args.seeds), "videos": args.videos, "threads": 1}
    write_result("planted_tags", parameters, {"worlds": found, "mean": means, "many": many})
    right = np.mean([one["untagged"]["right"] for one in found])
    print(
        f"right: told tags {means['precision']:.3f}, untagged {right:.3f}; calibration {means['error']:.3f}"
    )


if __name__ == "__main__":
    main()
