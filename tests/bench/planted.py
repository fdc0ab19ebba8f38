"""Planted worlds of 2,000 clips, rendered, ingested and kept: several benchmarks read the same ones.

`python -m tests.bench.planted --scratch DIR` makes them all; a world that is there is not made again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import ray

from features.importers import import_events
from features.workspace import Workspace, open_workspace
from infra.demo import World, generate_world, generator_hash
from infra.demo.generate import DemoFiles
from infra.demo.media import MANIFEST, MEDIA_FOLDER
from ingest.pipeline import IngestSettings, ingest_videos

SEEDS = (201, 202, 203)
"""Of the worlds that figures are quoted from."""
DEVELOPMENT_SEEDS = (211,)
"""Of worlds to look at while something is built."""
VIDEOS, USERS, DAYS = 2_000, 3_000, 30
CONFLICTS = 0.025
"""Share of videos with another topic's sound, and the same share with another topic's title: 5 % in all."""
KINDS = ("plain", "conflicts")


def planted(scratch: Path, seed: int, kind: str = "plain") -> tuple[World, DemoFiles, Workspace]:
    """A world, its files, and a workspace that holds its embeddings and its events."""
    share = CONFLICTS if kind == "conflicts" else 0.0
    world = World(seed, VIDEOS, USERS, DAYS, wrong_audio=share, wrong_title=share, n_broken=0)
    root = scratch / f"{generator_hash()}-{kind}-{seed}"
    files = generate_world(world, root / "world") if not (root / "done").exists() else names_of(root)
    workspace = open_workspace(str(root / "workspace"), create=True)
    if not (root / "done").exists():
        ingest_videos(workspace, str(files.manifest), IngestSettings(extras=False))
        ray.shutdown()
        import_events(workspace, [files.interactions])
        (root / "done").touch()
    return world, files, workspace


def names_of(root: Path) -> DemoFiles:
    """The files of a world that was made before."""
    world = root / "world"
    return DemoFiles(
        videos_dir=world / MEDIA_FOLDER,
        manifest=world / MANIFEST,
        interactions=world / "interactions.parquet",
        truth=world / "truth.parquet",
        truth_videos=world / "truth_videos.parquet",
        truth_queries=world / "truth_queries.parquet",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    scratch: Path = parser.parse_args().scratch
    for seed, kind in [(DEVELOPMENT_SEEDS[0], k) for k in KINDS] + [(s, k) for s in SEEDS for k in KINDS]:
        began = time.perf_counter()
        planted(scratch, seed, kind)
        print(f"{kind} {seed}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
