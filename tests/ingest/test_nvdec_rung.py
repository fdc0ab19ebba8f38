"""The rung of the GPU, run on the CPU: the frames that PyAV gives, at the same times; the rest is refused.

Needs torchcodec and FFmpeg's shared libraries, and skips without them. Whether a GPU does it too is checked
where there is one: tests/gpu.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ingest.devices import decoding_fault
from ingest.failures import MediaRefused
from ingest.media import nvdec_rung
from ingest.media.decode import Clip, DecodeSettings, decode_clip
from ingest.media.nvdec_rung import DevicePictures, read_frames
from ingest.media.probe import Probe

MEAN_ERROR = 3.0
"""Of 255: two versions of swscale, one of which scales before it turns the pixels into RGB."""
NOT_FOR_IT = {
    "h264_10bits.mp4": "pixels yuv420p10le",
    "h265_10bits.mp4": "pixels yuv420p10le",
    "var_fps_video.mp4": "pixels yuv444p",
    "no_duration.webm": "maximum pts",
    "pigs_in_a_polka.gif": "container gif",
}
CLIPS = (
    *("10034.mp4", "audrey.mp4", "av1_video.mkv", "big_buck_bunny_0_30.webm", "chaplin.mp4"),
    *(
        "clip1024.flv",
        "example2.mp4",
        "fire2.mp4",
        "flipping_a_pancake.mkv",
        "nasa_13013.mp4",
        "sintel_5s.mp4",
    ),
    *("smpte-2997.mp4", "testsrc2.mp4", "video_90.mov", "video_180.mov"),
)
PYAV = DecodeSettings(max_audio_s=1.0, rungs=("pyav",))


Pair = tuple[Clip, DevicePictures]
Both = Callable[..., Pair]


@pytest.fixture(scope="module")
def other_process() -> Iterator[Executor]:
    """A fresh interpreter, as this one may hold decord; skips where torchcodec cannot be loaded."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        if fault := executor.submit(decoding_fault, "cpu").result():
            pytest.skip(fault)
        yield executor


@pytest.fixture
def read(other_process: Executor) -> Callable[..., DevicePictures]:
    """`read_frames` on the CPU."""

    def ask(path: Path, found: Probe, settings: DecodeSettings) -> DevicePictures:
        outcome = other_process.submit(attempt, path, found, settings).result()
        if isinstance(outcome, str):
            raise MediaRefused("decode", "corrupt", outcome)
        return outcome

    return ask


def attempt(path: Path, found: Probe, settings: DecodeSettings) -> DevicePictures | str:
    """In the other process: a refusal goes back as its sentence."""
    try:
        return read_frames(path, found, settings, "cpu")
    except MediaRefused as refusal:
        return str(refusal)


@pytest.fixture
def both(read: Callable[..., DevicePictures]) -> Both:
    """A file as PyAV decodes it and as this rung does."""

    def decode(path: Path, **changes: Any) -> Pair:
        wanted = replace(PYAV, **changes)
        clip = decode_clip(path, wanted)
        return clip, read(path, clip.found, wanted)

    return decode


def assert_same(clip: Clip, pictures: DevicePictures) -> None:
    assert clip.frames is not None
    assert pictures.frames.dtype == torch.uint8
    assert pictures.frames.shape == clip.frames.shape
    np.testing.assert_allclose(pictures.timestamps_s, clip.timestamps_s, rtol=0, atol=2e-3)
    off = np.abs(clip.frames.astype(np.float32) - pictures.frames.numpy()).mean(axis=(1, 2, 3))
    assert off.max() < MEAN_ERROR
    assert clip.poster is not None
    assert pictures.poster.shape == clip.poster.shape
    assert pictures.duration_s == pytest.approx(clip.video_s, abs=2e-3)


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_give_the_frames_that_pyav_gives(both: Both, shared_data: Path, name: str) -> None:
    assert_same(*both(shared_data / "clips" / name))


@pytest.mark.parametrize("name", ["audrey.mp4", "big_buck_bunny_0_30.webm", "nasa_13013.mp4", "video_90.mov"])
def test_real_clips_give_the_key_frames_that_pyav_gives(both: Both, shared_data: Path, name: str) -> None:
    assert_same(*both(shared_data / "clips" / name, sampling="keyframe"))


@pytest.mark.parametrize("name", NOT_FOR_IT)
def test_what_the_rung_is_not_for_is_left_to_the_isolated_decoder(
    both: Both, shared_data: Path, name: str
) -> None:
    with pytest.raises(MediaRefused, match=NOT_FOR_IT[name]):
        both(shared_data / "clips" / name)


@pytest.mark.parametrize("frames", [1, 5, 16, 64])
def test_a_made_clip_gives_exactly_the_frames_at_the_midpoints(
    both: Both, make_clip: Callable[..., Path], frames: int
) -> None:
    clip, pictures = both(make_clip(frames=50, key_every=7), frames=frames)
    assert clip.frames is not None
    np.testing.assert_array_equal(pictures.timestamps_s, clip.timestamps_s)
    greys = pictures.frames.float().mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(greys, [37 * round(t * 25) % 251 for t in pictures.timestamps_s], atol=3)


def test_key_frames_are_those_of_the_file(both: Both, make_clip: Callable[..., Path]) -> None:
    path = make_clip(frames=50, key_every=10, options={"sc_threshold": "0"})
    clip, pictures = both(path, frames=5, sampling="keyframe")
    np.testing.assert_array_equal(pictures.timestamps_s, clip.timestamps_s)
    np.testing.assert_allclose(pictures.timestamps_s * 25, [10, 20, 30, 40])


def test_other_sizes_than_the_default_are_met(both: Both, make_clip: Callable[..., Path]) -> None:
    assert_same(*both(make_clip(size=(96, 64)), width=64, height=48))


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(1, 2)])
def test_a_poster_has_the_proportions_that_are_shown(both: Both, tmp_path: Path, aspect: Fraction) -> None:
    clip, pictures = both(_noise_clip(tmp_path, aspect))
    assert clip.found.sample_aspect == pytest.approx(float(aspect))
    assert_same(clip, pictures)


def test_an_edit_list_that_hides_the_start_is_refused(both: Both, make_clip: Callable[..., Path]) -> None:
    with pytest.raises(MediaRefused, match="edit list hides"):
        both(make_clip(hide_s=0.5))


def test_a_trimmed_file_is_refused_before_it_is_opened(make_clip: Callable[..., Path]) -> None:
    path = make_clip()
    found = replace(decode_clip(path, PYAV).found, trimmed=True)
    with pytest.raises(MediaRefused, match="shows less than the file holds"):
        read_frames(path, found, DecodeSettings(), "cpu")


def test_a_file_that_only_claims_to_be_a_movie_is_never_opened_here(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = decode_clip(make_clip(), PYAV).found
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    monkeypatch.setattr(nvdec_rung, "load_torchcodec", lambda: pytest.fail("it was opened"))
    with pytest.raises(MediaRefused, match="isolated decoder only"):
        read_frames(playlist, found, DecodeSettings(), "cpu")


def test_sampling_by_shots_is_refused(make_clip: Callable[..., Path]) -> None:
    path = make_clip()
    found = decode_clip(path, PYAV).found
    with pytest.raises(MediaRefused, match="exact and keyframe"):
        read_frames(path, found, DecodeSettings(sampling="shots"), "cpu")


def test_a_damaged_file_is_refused_and_not_half_read(
    read: Callable[..., DevicePictures], tmp_path: Path
) -> None:
    path = _noise_clip(tmp_path, Fraction(1))
    found = decode_clip(path, PYAV).found
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 1000 : start + 9000] = bytes(8000)
    path.write_bytes(content)
    with pytest.raises(MediaRefused):
        read(path, found, PYAV)


def test_a_name_with_pattern_signs_is_read_as_it_stands(both: Both, make_clip: Callable[..., Path]) -> None:
    assert_same(*both(make_clip("100%03d [a]*?.mp4")))


def test_large_pictures_are_decoded_in_parts(both: Both, make_clip: Callable[..., Path]) -> None:
    clip, pictures = both(make_clip(frames=48, size=(1280, 720)), frames=48)
    assert len(pictures.frames) * 1280 * 720 > nvdec_rung.PIXELS_AT_ONCE
    assert_same(clip, pictures)


def _noise_clip(folder: Path, aspect: Fraction) -> Path:
    """Soft moving noise, 160 x 96, with pixels of this proportion."""
    path = folder / "noise.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        coarse = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 3)).astype(np.uint8)
        for picture in coarse:
            soft = np.asarray(Image.fromarray(picture).resize((160, 96), Image.Resampling.BICUBIC))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(soft, format="rgb24")))
        container.mux(stream.encode(None))
    return path
