"""Writes a world into one directory: what a user of Reelrank would have, and beside it the hidden truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from infra.demo.log import simulate
from infra.demo.media import MANIFEST, MEDIA_FOLDER, manifest, render_media
from infra.demo.topics import TOPICS
from infra.demo.truth import truth_of_pairs, truth_of_videos
from infra.demo.world import World

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where the parts of a generated world lie."""

    videos_dir: Path
    """Folder of the media files."""
    manifest: Path
    """`video_id`, `uri` and what uploaders say: the source for `reelrank ingest`."""
    interactions: Path
    """The event log: the file for `reelrank events import`."""
    truth: Path
    """`user_id`, `video_id`, `relevance`: the oracle at the first held-out midnight."""
    truth_videos: Path
    """What is planted in each file."""
    truth_queries: Path
    """`query`, `topic`: words for a topic that stand together in no title."""


def generate(
    directory: Path,
    seed: int = 7,
    n_videos: int = 120,
    n_users: int = 600,
    days: int = 30,
    progress: Progress | None = None,
) -> DemoFiles:
    """Writes the default kind of world into a directory; the same numbers give the same bytes of log."""
    return generate_world(World(seed, n_videos, n_users, days), directory, progress)


def generate_world(
    world: World, directory: Path, progress: Progress | None = None, *, media: bool = True, processes: int = 2
) -> DemoFiles:
    """Writes a world into a directory, made where it is missing.

    Args:
        world: what to write.
        directory: files of the same names in it are replaced.
        progress: told (done, total), in days of log and then files.
        media: False leaves the media files out and writes their manifest only.
        processes: how many render, each on one core.
    """
    directory.mkdir(parents=True, exist_ok=True)
    total = world.days + (world.n_videos + world.n_broken if media else 0)

    def after(start: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(start + done, total)

    files = _names(directory)
    simulation = simulate(world, after(0))
    simulation.rows.write_parquet(files.interactions, compression="zstd")
    truth_of_pairs(world, simulation).write_parquet(files.truth, compression="zstd")
    truth_of_videos(world).write_parquet(files.truth_videos)
    _queries(world).write_parquet(files.truth_queries)
    if media:
        render_media(world, directory, after(world.days), processes)
    else:
        manifest(world).write_parquet(files.manifest)
    return files


def generator_hash() -> str:
    """12 hex digits over the sources of this package: printed by every figure measured in its worlds."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _names(directory: Path) -> DemoFiles:
    return DemoFiles(
        videos_dir=directory / MEDIA_FOLDER,
        manifest=directory / MANIFEST,
        interactions=directory / "interactions.parquet",
        truth=directory / "truth.parquet",
        truth_videos=directory / "truth_videos.parquet",
        truth_queries=directory / "truth_queries.parquet",
    )


def _queries(world: World) -> pl.DataFrame:
    return pl.DataFrame(
        {"query": [q.text for q in world.queries], "topic": [TOPICS[q.topic].name for q in world.queries]}
    )
