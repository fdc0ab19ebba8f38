"""The report of a space of a million videos: how long, how much memory, beside the plain reading of it.

`python -m tests.bench.space_report --scratch DIR` makes a workspace of synthetic vectors (two spaces,
three modalities, tags, creators and an item graph), then runs the report in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.contracts import MODALITIES, Floats, Int64s
from features.workspace import Workspace, open_workspace
from tests.bench.record import write_result

SEED = 5
DIM = 64
TOPICS = 1_000
LINKS = 10
PART = 100_000
"""Videos that are made at a time."""
VERSIONS = ("space-before", "space-now")


def make(scratch: Path, videos: int) -> Workspace:
    """The workspace; one that is there is not made again."""
    workspace = open_workspace(scratch / f"space-report-{videos}", create=True)
    if workspace.item_graph.exists():
        return workspace
    rng = np.random.default_rng(SEED)
    centres = rng.standard_normal((TOPICS, DIM), np.float32)
    for start in range(0, videos, PART):
        keys = np.arange(start, min(start + PART, videos))
        _add(workspace, keys, rng.integers(TOPICS, size=len(keys)), centres, rng)
    keys = np.arange(videos)
    ends = {"video_key": np.repeat(keys, LINKS), "neighbour_key": rng.integers(videos, size=videos * LINKS)}
    graph = pl.DataFrame(ends).filter(pl.col("video_key") != pl.col("neighbour_key")).unique()
    workspace.item_graph.replace(graph.with_columns(weight=pl.lit(1.0, pl.Float32)))
    return workspace


def _add(
    workspace: Workspace, keys: Int64s, topics: Int64s, centres: Floats, rng: np.random.Generator
) -> None:
    """Videos of these topics: catalogue rows, a vector of every modality, and a place in both spaces."""
    base = pl.DataFrame({"video_key": keys, "video_id": [f"v{key}" for key in keys]})
    tags = pl.Series([[f"topic{topic}", f"word{topic % 97}"] for topic in topics])
    creators = pl.Series([f"c{topic}-{key % 50}" for topic, key in zip(topics, keys, strict=True)])
    workspace.catalogue.append(base.with_columns(title=base["video_id"], tags=tags, creator_id=creators))
    vectors = {name: _lists(_near(centres[topics], rng)) for name in MODALITIES}
    workspace.embeddings("synthetic").append(base.with_columns(**vectors))
    joint = _near(centres[topics], rng)
    fits = {name: pl.Series(rng.random(len(keys), np.float32)) for name in ("sound_fit", "text_fit")}
    mask = pl.Series(rng.choice(np.array([7, 7, 7, 3, 5, 1], np.uint8), len(keys)))
    meta = {"encoder_version": "synthetic", "aligned": True, "recall": 0.6, "control": 0.1}
    for version, rows in zip(VERSIONS, (_near(joint * 4, rng), joint), strict=True):
        frame = base.with_columns(joint=_lists(rows), mask=mask, **fits)
        workspace.space(version).append(frame, meta=meta)


def _near(centres: Floats, rng: np.random.Generator) -> Floats:
    """Unit rows around some centres."""
    rows = centres + rng.standard_normal(centres.shape, np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _lists(rows: Floats) -> pl.Series:
    return pl.Series(rows).cast(pl.List(pl.Float32))


CHILD = """
import json, re, sys, time
from pathlib import Path
import polars, faiss, numpy
from features.contracts import MODALITIES, Floats, Int64s
from features.workspace import open_workspace
from ranker.evaluation.space_report import report_space
from ranker.evaluation.space_vectors import read_vectors
workspace, what, threads = open_workspace(sys.argv[1]), sys.argv[2], int(sys.argv[3])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 2**20
idle, began, cpu = peak(), time.perf_counter(), time.process_time()
if what == "report":
    said = report_space(workspace, None, Path(sys.argv[1]) / "out", threads=threads)
    assert said["data"]["sampled"] == (said["data"]["videos"] > 20_000)
else:
    table = workspace.space(workspace.space_versions()[-1])
    held = read_vectors(table, "joint", numpy.arange(table.snapshot().rows))
print(json.dumps({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu,
                  "peak_gib": peak(), "idle_gib": idle}))
"""


def run(workspace: Workspace, what: str, threads: int) -> dict[str, float]:
    """Seconds and peak memory of one run in a fresh process."""
    words = [sys.executable, "-c", CHILD, str(workspace.root), what, str(threads)]
    limits = {
        "OMP_NUM_THREADS": str(threads),
        "POLARS_MAX_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    done = subprocess.run(words, env={**os.environ, **limits}, capture_output=True, text=True, check=True)
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    began = time.perf_counter()
    workspace = make(given.scratch, given.videos)
    print(f"made in {time.perf_counter() - began:.0f} s", flush=True)
    plain, report = (run(workspace, what, given.threads) for what in ("read", "report"))
    table_gib = given.videos * DIM * 4 / 2**30
    figures: dict[str, Any] = {
        "report": report,
        "read_joint": plain,
        "table_gib": table_gib,
        "beyond_table_gib": report["peak_gib"] - report["idle_gib"] - table_gib,
        "times_reading": report["cpu_s"] / plain["cpu_s"],
    }
    parameters = {"videos": given.videos, "dim": DIM, "seed": SEED, "threads": given.threads, "links": LINKS}
    write_result("space_report", parameters, figures)
    print(json.dumps(figures, indent=1))
    print(
        f"report {report['cpu_s']:.1f} s of a core, {figures['times_reading']:.1f} times reading the vectors"
    )


if __name__ == "__main__":
    main()
