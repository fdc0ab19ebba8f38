"""The demo's files are real media: they decode, and their topic can be seen and heard."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest

from infra.demo import World, generate_world
from infra.demo.media import clip_plans, clip_sound, render_clip
from infra.demo.scenes import SIZE, scene
from infra.demo.sounds import RATE_HZ, sound
from infra.demo.topics import TOPICS


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    generate_world(World(seed=2, n_videos=5, n_users=4, days=6, missing_audio=0.4), directory, processes=1)
    return directory


def test_the_manifest_lists_every_file_and_readable_ones_are_h264_with_aac(rendered: Path) -> None:
    listed = pl.read_parquet(rendered / "videos.parquet")
    truth = pl.read_parquet(rendered / "truth_videos.parquet")
    assert sorted(listed["video_id"]) == sorted(truth["video_id"])
    silent = 0
    for row in truth.filter(pl.col("broken").is_null()).iter_rows(named=True):
        with av.open(str(rendered / "videos" / f"{row['video_id']}.mp4")) as container:
            picture = container.streams.video[0]
            assert (picture.codec_context.name, picture.width, picture.height) == ("h264", SIZE, SIZE)
            assert [s.codec_context.name for s in container.streams.audio] == ["aac"] * row["has_sound"]
            assert 3.9 <= container.duration / 1e6 <= 6.3
            assert 48 <= sum(1 for _ in container.decode(picture)) <= 72
        silent += not row["has_sound"]
    assert 0 < silent < 5


def test_broken_files_cannot_be_decoded(rendered: Path) -> None:
    broken = sorted((rendered / "videos").glob("broken-*.mp4"))
    assert [path.stat().st_size == 0 for path in broken] == [True, False, False]
    for path in broken:
        with pytest.raises(av.FFmpegError), av.open(str(path)) as container:
            next(container.decode(video=0))


def test_a_clip_rendered_twice_has_the_same_bytes(tmp_path: Path) -> None:
    world = World(seed=4, n_videos=1, n_users=1, days=5)
    plan = clip_plans(world, tmp_path)[0]
    render_clip(plan)
    first = plan.path.read_bytes()
    render_clip(plan)
    assert plan.path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [plan.path.name]


def test_topics_can_be_seen() -> None:
    assert _nearest_agrees(_looks) >= 0.9


def test_topics_can_be_heard() -> None:
    assert _nearest_agrees(_sounds) >= 0.9


def test_a_planted_conflict_is_heard_and_a_missing_sound_is_not() -> None:
    world = World(seed=4, n_videos=60, n_users=1, days=5, wrong_audio=0.5, missing_audio=0.3)
    plans = clip_plans(world, Path("nowhere"))
    for i, plan in enumerate(plans):
        assert bool(plan.sounds) == world.videos.has_sound[i]
        if plan.sounds:
            assert plan.sounds[0][0] == world.videos.sound_topic[i]
        assert plan.looks[0][0] == world.videos.topic[i]
    peak = float(np.abs(clip_sound(next(p for p in plans if p.sounds))).max())
    assert 0.1 < peak <= 0.8001


def _nearest_agrees(describe: object) -> float:
    """Share of clips, four a topic, whose nearest other clip has the same topic."""
    assert callable(describe)
    topics = np.repeat(np.arange(len(TOPICS)), 4)
    rows = np.stack([describe(int(topic), number) for number, topic in enumerate(topics)])
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-9)
    distance = ((rows[:, None] - rows[None, :]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((topics[distance.argmin(axis=1)] == topics).mean())


def _looks(topic: int, number: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng([1, number])
    frame = scene(topic, float(rng.random()), rng)(1.0)
    assert frame.shape == (SIZE, SIZE, 3)
    small = frame.reshape(8, SIZE // 8, 8, SIZE // 8, 3).mean(axis=(1, 3))
    return np.asarray(small.ravel(), np.float64)


def _sounds(topic: int, number: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng([2, number])
    samples = sound(topic, float(rng.random()), 4.0, rng)
    assert samples.shape == (4 * RATE_HZ,)
    power = np.abs(np.fft.rfft(samples[: 60 * 1470].reshape(60, 1470), axis=1)) ** 2
    edges = np.geomspace(1, power.shape[1] - 1, 21).astype(int)
    bands = np.log(np.stack([power[:, a : max(b, a + 1)].mean(axis=1) for a, b in pairwise(edges)]) + 1e-6)
    return np.asarray(np.concatenate([bands.mean(axis=1), bands.std(axis=1)]))
