"""Shots of planted videos: every cut, dissolve and fade is found, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from ingest.isolation import DecoderChild
from ingest.media.decode import Clip, DecodeSettings
from ingest.media.probe import Limits, opened
from ingest.media.sampling import MAX_SHOTS, Timeline, in_every_shot
from ingest.media.scan import scan
from ingest.media.shots import find_cuts

Picture = npt.NDArray[np.float64]
RATE = 25
SIZE = (96, 160)
NEAR_S = 0.25
"""A boundary this near to a planted one is that one."""


def scene(seed: int, size: tuple[int, int] = SIZE) -> Picture:
    """A textured picture with colours of its own, (h, w, 3), 0 to 255."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (size[0] // 16, size[1] // 16, 3)) ** rng.uniform(0.4, 2.5, 3)
    return np.kron(coarse, np.ones((16, 16, 1))) * 255


def still(seed: int, seconds: float) -> list[Picture]:
    """A scene that trembles a little, as a camera in the hand."""
    picture, rng = scene(seed), np.random.default_rng(seed)
    return [np.roll(picture, int(rng.integers(-2, 3)), axis=1) for _ in range(round(seconds * RATE))]


def pan(seed: int, seconds: float, pixels_a_frame: int) -> list[Picture]:
    frames = round(seconds * RATE)
    wide = scene(seed, (SIZE[0], SIZE[1] + 16 * (frames * pixels_a_frame // 16 + 1)))
    return [wide[:, pixels_a_frame * i : pixels_a_frame * i + SIZE[1]] for i in range(frames)]


def dissolve(before: Picture, after: Picture, seconds: float) -> list[Picture]:
    frames = round(seconds * RATE)
    return [before + (after - before) * (i + 1) / (frames + 1) for i in range(frames)]


BLACK = np.zeros((*SIZE, 3))


def write(path: Path, pictures: Sequence[Picture], instants_s: Sequence[float] | None = None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts = round(1000 * (instants_s[i] if instants_s else i / RATE))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cuts_of(path: Path) -> list[float]:
    with opened(path, Limits()) as media:
        index, _ = scan(media, 60.0)
        return find_cuts(media, index).tolist()


def assert_cuts(found: list[float], planted: Sequence[float], near_s: float = NEAR_S) -> None:
    """Precision and recall are both 1: the k-th boundary is the k-th planted one."""
    assert len(found) == len(planted), (found, planted)
    np.testing.assert_allclose(found, planted, atol=near_s)


def test_hard_cuts_are_found_where_they_are(tmp_path: Path) -> None:
    lengths = [2.0, 0.8, 3.0, 1.2, 2.0, 0.6, 1.6]
    pictures = [picture for seed, length in enumerate(lengths) for picture in still(seed, length)]
    assert_cuts(cuts_of(write(tmp_path / "a.mp4", pictures)), np.cumsum(lengths)[:-1], 0.05)


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.6])
def test_a_dissolve_is_one_boundary_in_its_middle(tmp_path: Path, seconds: float) -> None:
    pictures = still(1, 3.0) + dissolve(scene(1), scene(2), seconds) + still(2, 3.0)
    assert_cuts(cuts_of(write(tmp_path / "a.mp4", pictures)), [3.0 + seconds / 2], NEAR_S + seconds / 4)


def test_a_fade_through_black_is_one_boundary(tmp_path: Path) -> None:
    fades = dissolve(scene(1), BLACK, 0.8) + [BLACK] * RATE + dissolve(BLACK, scene(2), 0.8)
    assert_cuts(cuts_of(write(tmp_path / "a.mp4", still(1, 3.0) + fades + still(2, 3.0))), [5.2], 0.5)


def test_a_fade_in_from_black_and_one_out_to_it_begin_and_end_a_single_shot(tmp_path: Path) -> None:
    into = [BLACK] * 15 + dissolve(BLACK, scene(3), 1.0)
    out = dissolve(scene(3), BLACK, 1.0) + [BLACK] * 15
    assert cuts_of(write(tmp_path / "a.mp4", into + still(3, 3.0) + out)) == []


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_flash_is_no_cut(tmp_path: Path, frames: int) -> None:
    pictures = still(4, 4.0)
    for at in (30, 60):
        pictures[at : at + frames] = [np.full((*SIZE, 3), 250.0)] * frames
    assert cuts_of(write(tmp_path / "a.mp4", pictures)) == []


@pytest.mark.parametrize("speed", [1, 3, 6])
def test_a_pan_is_no_cut(tmp_path: Path, speed: int) -> None:
    assert cuts_of(write(tmp_path / "a.mp4", pan(5, 4.0, speed))) == []


def test_a_pan_does_not_hide_a_cut(tmp_path: Path) -> None:
    pictures = pan(6, 3.0, 3) + pan(7, 3.0, 3)
    assert_cuts(cuts_of(write(tmp_path / "a.mp4", pictures)), [3.0])


def test_light_that_changes_is_no_boundary(tmp_path: Path) -> None:
    pictures = [picture * (0.4 + 0.6 * i / 100) for i, picture in enumerate(still(8, 4.0))]
    assert cuts_of(write(tmp_path / "a.mp4", pictures)) == []


def test_cuts_are_found_at_a_variable_frame_rate(tmp_path: Path) -> None:
    pictures = still(1, 2.0) + still(2, 2.0) + still(3, 2.0)
    steps = np.random.default_rng(0).choice([0.02, 0.04, 0.1], len(pictures))
    instants = np.concatenate([[0.0], np.cumsum(steps)[:-1]]).tolist()
    path = write(tmp_path / "a.mp4", pictures, instants)
    assert_cuts(cuts_of(path), [instants[50], instants[100]], 0.11)


def test_judging_in_stretches_finds_the_same_as_judging_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [p for seed in range(12) for p in still(seed, 1.5)] + dissolve(scene(11), scene(12), 0.8)
    path = write(tmp_path / "a.mp4", pictures + still(12, 4.0))
    at_once = cuts_of(path)
    monkeypatch.setattr("ingest.media.shots.STRETCH", 64)
    assert len(at_once) == 12
    np.testing.assert_allclose(cuts_of(path), at_once, atol=1e-6)


def test_every_shot_gives_a_frame_and_more_are_spread_by_length(tmp_path: Path) -> None:
    lengths = [0.6, 4.0, 0.6, 1.2]
    pictures = [picture for seed, length in enumerate(lengths) for picture in still(seed, length)]
    path = write(tmp_path / "a.mp4", pictures)
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    with DecoderChild() as child:
        for wanted, expected in [(2, [1, 1, 1, 1]), (8, [1, 4, 1, 2])]:
            for rung in ("decord", "pyav"):
                settings = DecodeSettings(frames=wanted, sampling="shots", rungs=(rung,))
                clip = child.decode(path, settings)
                assert isinstance(clip, Clip), clip
                assert (clip.shots, clip.frames_wanted, clip.sampling) == (4, max(4, wanted), "shots")
                np.testing.assert_allclose(np.histogram(clip.timestamps_s, edges)[0], expected, atol=0)


def test_of_more_shots_than_are_kept_the_longest_are() -> None:
    starts = np.arange(40_000) / 100
    cuts = np.arange(1, 400) * 1.0 + np.where(np.arange(1, 400) % 2, 0.2, 0.0)  # lengths 1.2 and 0.8 in turn
    places = in_every_shot(cuts, 16)(Timeline(starts, 400.0, np.zeros(0, np.int64)))
    assert len(places) == MAX_SHOTS
    assert (np.diff(places) > 0).all()
    shots = np.searchsorted(cuts, starts[places], side="right")
    lengths = np.diff(np.concatenate([[0.0], cuts, [400.0]]))
    assert np.sort(lengths[shots]).sum() == pytest.approx(np.sort(lengths)[-MAX_SHOTS:].sum())
