"""Frames and sound of real and made media: the right ones, upright, from both rungs alike."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest import pyav_rung
from ingest.decode import Clip, DecodeSettings
from ingest.decord_rung import _choose
from ingest.failures import DecodeFailure, MediaRefused
from ingest.isolation import DecoderChild
from ingest.movie_header import read_movie_header
from ingest.pictures import Pictures, Size, decode_size, midpoints, pick_poster, squeeze
from ingest.probe import Limits, probe

ClipMaker = Callable[..., Path]
RATE = 25
BROKEN = {
    "odd/random_bytes.mp4": ("probe", "corrupt"),
    "odd/result.webm": ("probe", "empty"),
    "odd/truncated_audrey.mp4": ("probe", "corrupt"),
    "odd/zero_length.mp4": ("probe", "empty"),
}


@pytest.fixture(scope="module")
def child() -> DecoderChild:
    """decord lives in a child in tests too: a process that may import torch later must not load it first."""
    with DecoderChild() as running:
        yield running


def decode(child: DecoderChild, path: Path, **settings: object) -> Clip:
    clip = child.decode(path, DecodeSettings(**settings))
    assert isinstance(clip, Clip), clip
    return clip


def is_frames(clip: Clip, *numbers: int) -> bool:
    """Whether these are those frames of a made clip: frame i is grey 37 i modulo 251."""
    assert clip.frames is not None
    greys = np.array(numbers) * 37 % 251
    return len(greys) == len(clip.frames) and bool((np.abs(clip.frames.mean((1, 2, 3)) - greys) < 4).all())


def test_every_shared_file_gives_a_clip_or_the_reason_why_not(shared_data: Path, child: DecoderChild) -> None:
    folder = shared_data / "clips"
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        clip = child.decode(path, DecodeSettings(frames=2, max_audio_s=10.0))
        if isinstance(clip, DecodeFailure):
            assert BROKEN.get(name) == (clip.stage, clip.reason), (name, clip)
            continue
        assert name not in BROKEN
        assert clip.frames is not None or clip.audio is not None, name
        assert clip.duration_s > 0, name
        assert clip.frames is None or clip.frames.shape == (len(clip.timestamps_s), 224, 224, 3), name
        assert (np.diff(clip.timestamps_s) > 0).all(), name
        assert clip.audio is None or (np.isfinite(clip.audio).all() and clip.sample_rate_hz >= 8000), name


@pytest.mark.parametrize(
    "name", ["sintel_5s.mp4", "video_90.mov", "video_180.mov", "fire2.mp4", "flipping_a_pancake.mkv"]
)
def test_both_rungs_give_the_same_frames_at_the_same_instants(
    shared_data: Path, child: DecoderChild, name: str
) -> None:
    path = shared_data / "clips" / name
    first, second = (decode(child, path, rungs=(rung,)) for rung in ("decord", "pyav"))
    assert (first.rung, second.rung) == ("decord", "pyav")
    np.testing.assert_allclose(first.timestamps_s, second.timestamps_s, atol=2e-3)
    difference = np.abs(first.frames.astype(int) - second.frames).mean()
    assert difference < 3.0, "of 255: two scalers, one picture"


def test_a_turned_video_is_upright_and_keeps_its_proportions(shared_data: Path, child: DecoderChild) -> None:
    turned = decode(child, shared_data / "clips/video_90.mov")
    assert turned.poster.shape == (398, 224, 3), "568 x 320, turned by 90 degrees"
    assert read_movie_header(shared_data / "clips/video_90.mov").rotation == 90


@pytest.mark.parametrize("rung", ["decord", "pyav"])
def test_frames_are_those_shown_at_the_midpoints(
    make_clip: ClipMaker, child: DecoderChild, rung: str
) -> None:
    clip = decode(child, make_clip(frames=100), frames=5, rungs=(rung,))
    assert is_frames(clip, 10, 30, 50, 70, 90)
    np.testing.assert_allclose(clip.timestamps_s, np.array([10, 30, 50, 70, 90]) / RATE, atol=1e-3)


def test_a_trimmed_file_gives_what_a_player_shows_and_not_what_it_holds(
    make_clip: ClipMaker, child: DecoderChild
) -> None:
    clip = decode(child, make_clip(frames=100, hide_s=1.2, key_every=50), frames=7)
    assert clip.rung == "pyav", "decord counts the hidden frames"
    assert is_frames(clip, 35, 45, 55, 65, 75, 85, 95), "the first 30 frames are hidden"
    assert clip.duration_s == pytest.approx(2.8, abs=0.05)


def test_far_frames_are_sought_and_near_ones_read_on(
    make_clip: ClipMaker, child: DecoderChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(frames=120, key_every=10)
    found = probe(path, Limits())
    read = pyav_rung.read_frames(path, found, 3, Size(64, 64))
    monkeypatch.setattr(pyav_rung, "SEEK_GAP_S", 0.5)
    sought = pyav_rung.read_frames(path, found, 3, Size(64, 64))
    np.testing.assert_array_equal(read.timestamps_s, sought.timestamps_s)
    np.testing.assert_array_equal(read.frames, sought.frames)


@pytest.mark.parametrize("name", ["still.png", "%03d.png", os.fsdecode(b"caf\xe9.png"), "*.png", "a:b.png"])
def test_a_still_picture_is_a_video_of_one_frame_whatever_its_name(
    tmp_path: Path, child: DecoderChild, name: str
) -> None:
    with open(tmp_path / name, "wb") as stream:
        Image.fromarray(np.full((40, 80, 3), 200, np.uint8)).save(stream, "PNG")
    clip = decode(child, tmp_path / name)
    assert clip.frames.shape == (1, 224, 224, 3)
    assert clip.frames_wanted == 16
    assert clip.audio is None


@pytest.mark.parametrize("size", [(2, 2), (2, 640)])
def test_tiny_and_narrow_pictures_come_out_at_the_common_size(
    make_clip: ClipMaker, child: DecoderChild, size: tuple[int, int]
) -> None:
    assert decode(child, make_clip(frames=4, size=size)).frames.shape == (4, 224, 224, 3)


def test_cover_art_is_no_video(shared_data: Path, child: DecoderChild) -> None:
    clip = decode(child, shared_data / "clips/with-attached-pic.mp3")
    assert clip.frames is None
    assert clip.poster is None
    assert clip.frames_wanted == 0


def test_of_several_sound_tracks_the_best_is_taken_at_its_own_rate(
    shared_data: Path, child: DecoderChild
) -> None:
    clip = decode(child, shared_data / "clips/nasa_13013.mp4")
    assert clip.sample_rate_hz == 16_000
    assert len(clip.audio) / clip.sample_rate_hz == pytest.approx(13.05, abs=0.1)


@pytest.mark.parametrize("rung", ["decord", "pyav"])
def test_sound_keeps_a_known_sweep_to_60_db(tmp_path: Path, child: DecoderChild, rung: str) -> None:
    instants = np.arange(2 * 48_000) / 48_000
    sweep = 0.5 * np.sin(2 * np.pi * (100 * instants + 2_000 * instants**2))
    stereo = np.stack([sweep, sweep], axis=1)
    with wave.open(str(tmp_path / "sweep.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((stereo * 32767).round().astype("<i2").tobytes())
    clip = decode(child, tmp_path / "sweep.wav", rungs=(rung,))
    assert clip.sample_rate_hz == 48_000
    noise = clip.audio - sweep.astype(np.float32) * (32767 / 32768)
    assert 10 * np.log10(np.mean(sweep**2) / np.mean(noise**2)) > 60


def test_of_a_long_track_the_middle_is_taken(shared_data: Path, child: DecoderChild) -> None:
    clip = decode(child, shared_data / "clips/rain.mp3", max_audio_s=5.0)
    assert len(clip.audio) == 5 * clip.sample_rate_hz
    assert clip.duration_s == pytest.approx(60.46, abs=0.1)


def test_limits_refuse_before_anything_is_decoded(make_clip: ClipMaker) -> None:
    path = make_clip(frames=50)
    for limits, said in [
        (Limits(max_bytes=10), "10 are allowed"),
        (Limits(max_seconds=1.0), "2 s; 1 s are allowed"),
        (Limits(max_pixels=100), "64 x 64; 100 pixels"),
        (Limits(max_streams=0), "1 streams; 0 are allowed"),
    ]:
        with pytest.raises(MediaRefused, match=said) as refusal:
            probe(path, limits)
        assert (refusal.value.stage, refusal.value.reason) == ("probe", "limit")


def test_a_playlist_that_names_another_file_is_not_followed(make_clip: ClipMaker, tmp_path: Path) -> None:
    other = make_clip("secret.mp4")
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile '{other}'\n",
    }
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(MediaRefused):
            probe(tmp_path / name, Limits())


def test_words_are_no_media(tmp_path: Path) -> None:
    (tmp_path / "poem.mp4").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(MediaRefused) as refusal:
        probe(tmp_path / "poem.mp4", Limits())
    assert refusal.value.reason == "corrupt"


def test_decoding_never_imports_torch(make_clip: ClipMaker) -> None:
    code = (
        "import sys, pathlib; from ingest.decode import decode_clip, DecodeSettings;"
        "decode_clip(pathlib.Path(sys.argv[1]), DecodeSettings());"
        "assert 'decord' in sys.modules and 'torch' not in sys.modules;"
        "maps = open('/proc/self/maps').read(); assert '/nvidia/' not in maps, 'CUDA was preloaded'"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code, str(make_clip())], check=True, cwd=root, timeout=60)


def test_an_edit_list_that_hides_the_start_is_seen_in_the_timestamps() -> None:
    spans = np.array([[-0.04, 0.0], [0.0, 0.04]])
    with pytest.raises(MediaRefused, match="edit list"):
        _choose(spans, 4)


def test_the_header_of_a_file_that_lies_about_its_boxes_is_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mp4"
    for size, times in [(0, 1), (8, 9), (0xFFFFFFFF, 1), (1, 1), (9, 1), (2, 3)]:
        path.write_bytes(b"\0\0\0\x08ftyp" + (size.to_bytes(4, "big") + b"moov") * times)
        assert read_movie_header(path) == read_movie_header(Path("/dev/null"))


def test_pictures_keep_their_proportions_until_they_are_squeezed() -> None:
    assert decode_size(Size(1920, 1080), 224) == Size(398, 224)
    assert decode_size(Size(1, 1000), 224) == Size(224, 672)
    np.testing.assert_allclose(midpoints(2, 1.0, 5.0), [2.0, 4.0], atol=2e-3)
    frames = np.zeros((3, 20, 40, 3), np.uint8)
    frames[2, :, :20] = 255
    assert squeeze(frames, Size(8, 8)).shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(pick_poster(frames), frames[2])
    assert Pictures(frames, np.arange(3.0), 3.0, "decord").damaged == 0
