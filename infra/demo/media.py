"""Renders a world to real files: MP4 with H.264 and AAC, broken files, and the manifest that lists them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
import polars as pl

from features.contracts import DAY_MS, TS
from infra.demo import scenes, sounds
from infra.demo.world import CARRIES, START_MS, Doubles, World

FRAME_RATE: Final = 12
MEDIA_FOLDER: Final = "videos"
MANIFEST: Final = "videos.parquet"
SAMPLES_AT_ONCE: Final = 1024

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """All that one file needs; small, so that it travels to a rendering process."""

    path: Path
    seed: tuple[int, int]
    """World and video."""
    looks: tuple[tuple[int, float], ...]
    """Topic and share of what is seen, main one first."""
    sounds: tuple[tuple[int, float], ...]
    """The same of what is heard; empty for a clip without a sound track."""
    pace: float
    duration_s: float


def render_media(world: World, directory: Path, progress: Progress | None = None, processes: int = 2) -> Path:
    """Writes all files of a world below `directory/videos` and the manifest beside; gives its path.

    Args:
        world: what to render.
        directory: made where it is missing; files of the same names are replaced.
        progress: told (done, total) after every file.
        processes: how many render, each on one core.
    """
    folder = directory / MEDIA_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    plans = clip_plans(world, folder)
    total = len(plans) + len(world.broken)
    for done, _ in enumerate(_rendered(plans, processes), start=1):
        if progress:
            progress(done, total)
    for done, (video_id, kind) in enumerate(world.broken, start=len(plans) + 1):
        _file_of(folder, video_id).write_bytes(broken_bytes(kind, plans[done % len(plans)].path, world.seed))
        if progress:
            progress(done, total)
    target = directory / MANIFEST
    manifest(world).write_parquet(target)
    return target


def clip_plans(world: World, folder: Path) -> list[ClipPlan]:
    """What to render, one plan a readable video."""
    videos = world.videos
    plans = []
    for i, video_id in enumerate(videos.ids):
        looks = _topics_of(videos.mixture[i], int(videos.topic[i]))
        heard = looks if videos.sound_topic[i] == videos.topic[i] else ((int(videos.sound_topic[i]), 1.0),)
        plans.append(
            ClipPlan(
                path=_file_of(folder, video_id),
                seed=(world.seed, i),
                looks=looks,
                sounds=heard if videos.has_sound[i] else (),
                pace=float(videos.pace[i]),
                duration_s=float(videos.duration_s[i]),
            )
        )
    return plans


def manifest(world: World) -> pl.DataFrame:
    """The list of all files, readable or not, with what an uploader says of them."""
    videos = world.videos
    published_ms = (START_MS + videos.published_day * DAY_MS).astype(np.int64)
    readable = pl.DataFrame(
        {
            "video_id": videos.ids,
            "uri": [f"{MEDIA_FOLDER}/{video_id}.mp4" for video_id in videos.ids],
            "title": pl.Series(videos.titles, dtype=pl.String),
            "tags": pl.Series([list(t) or None for t in videos.tags], dtype=pl.List(pl.String)),
            "creator_id": [f"creator-{c + 1:03d}" for c in videos.creator],
            "published_at": pl.Series(published_ms).cast(TS),
        }
    )
    broken = pl.DataFrame(
        {
            "video_id": [video_id for video_id, _ in world.broken],
            "uri": [f"{MEDIA_FOLDER}/{video_id}.mp4" for video_id, _ in world.broken],
            "title": [f"Upload that went wrong, {kind}" for _, kind in world.broken],
        },
        schema={"video_id": pl.String, "uri": pl.String, "title": pl.String},
    )
    return pl.concat([readable, broken], how="diagonal")


def render_clip(plan: ClipPlan) -> None:
    """Writes one MP4; the same plan gives the same bytes with the same FFmpeg."""
    aside = plan.path.with_suffix(".part")
    with av.open(str(aside), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        picture = container.add_stream("libx264", rate=FRAME_RATE)
        picture.width = picture.height = scenes.SIZE
        picture.pix_fmt = "yuv420p"
        picture.options = {"preset": "ultrafast", "crf": "23", "threads": "1"}
        track = container.add_stream("aac", rate=sounds.RATE_HZ, layout="mono") if plan.sounds else None
        if track is not None:
            track.options = {"aac_coder": "fast"}
        for number, pixels in enumerate(clip_frames(plan)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if track is not None:
            for block in _audio_frames(clip_sound(plan)):
                container.mux(track.encode(block))
            container.mux(track.encode())
    os.replace(aside, plan.path)


def clip_frames(plan: ClipPlan) -> list[np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]]:
    """The frames of a clip, uint8 RGB, (size, size, 3) each."""
    rng = np.random.default_rng([*plan.seed, 1])
    drawn = scenes.scene(plan.looks[0][0], plan.pace, rng)
    if len(plan.looks) > 1:
        drawn = scenes.mixed(drawn, scenes.scene(plan.looks[1][0], plan.pace, rng), plan.looks[1][1], rng)
    count = round(plan.duration_s * FRAME_RATE)
    return [(np.clip(drawn(i / FRAME_RATE), 0, 1) * 255 + 0.5).astype(np.uint8) for i in range(count)]


def clip_sound(plan: ClipPlan) -> sounds.Sound:
    """The samples of a clip with a sound track, mono, -1 to 1."""
    rng = np.random.default_rng([*plan.seed, 2])
    made = sounds.sound(plan.sounds[0][0], plan.pace, plan.duration_s, rng)
    if len(plan.sounds) > 1:
        topic, share = plan.sounds[1]
        made = sounds.mixed(made, sounds.sound(topic, plan.pace, plan.duration_s, rng), share)
    return made


def broken_bytes(kind: str, example: Path, seed: int) -> bytes:
    """What a broken file of that kind holds: nothing, the head of a good file, or chance."""
    if kind == "zero":
        return b""
    if kind == "truncated":
        return example.read_bytes()[:2000]
    return np.random.default_rng([seed, 3]).bytes(20_000)


def _rendered(plans: list[ClipPlan], processes: int) -> Iterator[None]:
    """Renders all plans, one yield a finished file; in this process where there is little to do."""
    if processes <= 1 or len(plans) < 8:
        yield from map(render_clip, plans)
        return
    # Spawned, not forked: the caller may have worked with torch or Polars, whose threads a fork would lose.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(render_clip, plans, chunksize=2)


def _topics_of(mixture: Doubles, main: int) -> tuple[tuple[int, float], ...]:
    carried = [int(t) for t in np.flatnonzero(mixture >= CARRIES) if t != main]
    return tuple((t, float(mixture[t])) for t in (main, *carried))


def _audio_frames(samples: sounds.Sound) -> list[av.AudioFrame]:
    frames = []
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        part = samples[None, start : start + SAMPLES_AT_ONCE].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = sounds.RATE_HZ, start, Fraction(1, sounds.RATE_HZ)
        frames.append(frame)
    return frames


def _file_of(folder: Path, video_id: str) -> Path:
    return folder / f"{video_id}.mp4"
