"""Planted worlds of 2,000 clips, rendered, ingested and kept: several benchmarks read the same ones.

`python -m tests.bench.planted --scratch DIR` makes them all; a world that is there is not made again;
remove its `done` and its workspace to embed it anew. A world with conflicts differs from the plain one of its
seed in the clips and titles that conflict and in nothing else, so only those are rendered and decoded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path
from typing import Final

import numpy as np
import ray

from features.importers import import_events
from features.workspace import Workspace, open_workspace
from infra.demo import World, generate_world, generator_hash
from infra.demo.generate import DemoFiles
from infra.demo.media import MANIFEST, MEDIA_FOLDER, clip_plans, render_clip
from ingest.pipeline import IngestSettings, ingest_videos

SEEDS: Final = (201, 202, 203)
"""Of the worlds that figures are quoted from."""
DEVELOPMENT_SEEDS: Final = (211,)
"""Of worlds to look at while something is built."""
VIDEOS, USERS, DAYS = 2_000, 3_000, 30
CONFLICTS: Final = {"plain": 0.0, "conflicts": 0.025}
"""By kind, the share of videos with another topic's sound, and the same share with another topic's title."""


def planted(scratch: Path, seed: int, kind: str = "plain") -> tuple[World, DemoFiles, Workspace]:
    """A world, its files, and a workspace that holds its embeddings and its events."""
    share = CONFLICTS[kind]
    world = World(seed, VIDEOS, USERS, DAYS, wrong_audio=share, wrong_title=share, n_broken=0)
    root = _root(scratch, seed, kind)
    if not (root / "rendered").exists():
        if kind == "plain":
            generate_world(world, root / "world")
        else:
            planted(scratch, seed)
            _change(world, _root(scratch, seed, "plain"), root)
        (root / "rendered").touch()
    if not (root / "done").exists():
        _embed(root)
        (root / "done").touch()
    return world, _files(root), open_workspace(root / "workspace")


def _change(world: World, plain: Path, root: Path) -> None:
    """The plain world's clips under the names of this one, but those whose sound is another topic's."""
    generate_world(world, root / "world", media=False)
    folder = root / "world" / MEDIA_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(plain / "world" / MEDIA_FOLDER, folder, copy_function=os.link)
    wrong = np.flatnonzero(world.videos.sound_topic != world.videos.topic)
    plans = clip_plans(world, folder)
    for row in wrong:
        plans[row].path.unlink()  # it is the plain world's file too
        render_clip(plans[row])
    shutil.copytree(
        plain / "workspace" / "descriptors", root / "workspace" / "descriptors", dirs_exist_ok=True
    )


def _embed(root: Path) -> None:
    workspace, files = open_workspace(root / "workspace", create=True), _files(root)
    ingest_videos(workspace, str(files.manifest), IngestSettings(extras=False))
    ray.shutdown()
    import_events(workspace, [files.interactions])


def _root(scratch: Path, seed: int, kind: str) -> Path:
    return scratch / f"{generator_hash()}-{kind}-{seed}"


def _files(root: Path) -> DemoFiles:
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
    parser.add_argument("--seeds", type=int, nargs="*", default=(*DEVELOPMENT_SEEDS, *SEEDS))
    args = parser.parse_args()
    for seed in args.seeds:
        for kind in CONFLICTS:
            began = time.perf_counter()
            planted(args.scratch, seed, kind)
            print(f"{kind} {seed}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
