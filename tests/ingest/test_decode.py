"""Frames and sound of real and made media: the right ones, upright, from both rungs alike."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from features.errors import BadInput
from ingest.encoders.sound import RATE_HZ, _to_one_rate
from ingest.failures import DecodeFailure, MediaRefused
from ingest.isolation import DecoderChild
from ingest.media import pyav_rung
from ingest.media.decode import SAMPLINGS, Clip, DecodeSettings
from ingest.media.matroska_header import read_roll
from ingest.media.movie_header import read_movie_header
from ingest.media.pictures import (
    Float64s,
    Frames,
    Pictures,
    Size,
    decode_size,
    midpoints,
    pick_poster,
    squeeze,
)
from ingest.media.probe import Limits, opened, probe
from ingest.media.sampling import at_midpoints
from ingest.media.scan import scan

ClipMaker = Callable[..., Path]
RATE = 25
NO_OTHER_KEYS = {"sc_threshold": "0"}
"""Key frames at the usual distance, and none where the picture changes."""
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


def write_turned(path: Path, stored: Frames, turn: int, aspect: Fraction | None = None) -> Path:
    """Ten frames of one picture, which a player turns clockwise by so many degrees."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *stored.shape[:2], "yuv420p"
        if turn:
            stream.set_display_rotation(-turn)  # FFmpeg counts the other way round
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


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


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("rung", ["decord", "pyav"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_are_upright_in_every_mode(
    tmp_path: Path, child: DecoderChild, rung: str, turn: int, sampling: str, suffix: str
) -> None:
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :48], upright[:32, 48:], upright[32:, :48] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = write_turned(tmp_path / f"turned.{suffix}", np.rot90(upright, turn // 90), turn)
    clip = decode(child, path, frames=3, rungs=(rung,), sampling=sampling)
    assert (clip.rung, clip.found.rotation) == (rung, turn)
    assert (clip.found.width, clip.found.height) == (96, 64)
    assert clip.poster.shape == (224, 336, 3)
    for frame in clip.frames:
        corners = [frame[y, x] for y in (40, 180) for x in (40, 180)]
        assert [int(c.argmax()) for c in corners[:3]] == [0, 1, 2]
        assert corners[3].max() < 40


@pytest.mark.parametrize("rung", ["decord", "pyav"])
def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, child: DecoderChild, rung: str) -> None:
    path = write_turned(tmp_path / "wide.mp4", np.zeros((64, 48, 3), np.uint8), 0, Fraction(2, 1))
    clip = decode(child, path, rungs=(rung,))
    assert clip.found.sample_aspect == 2.0
    assert (clip.found.width, clip.found.height) == (96, 64)
    assert clip.poster.shape == (224, 336, 3)


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


def test_what_is_read_in_order_is_what_is_sought(make_clip: ClipMaker) -> None:
    path = make_clip(frames=120, key_every=10)
    with opened(path, Limits()) as media:
        index, _ = scan(media, 60.0)
        places = at_midpoints(3)(index.track)
        sought = pyav_rung.read_frames(media, index, places, Size(64, 64))
        in_order = pyav_rung.read_frames(media, replace(index, pts=None), places, Size(64, 64))
    np.testing.assert_array_equal(sought.timestamps_s, in_order.timestamps_s)
    np.testing.assert_array_equal(sought.frames, in_order.frames)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_leaving_out_frames_that_no_other_needs_changes_no_pixel(
    make_clip: ClipMaker, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    path = make_clip(frames=100, key_every=50, codec=codec)
    with opened(path, Limits()) as media:
        index, _ = scan(media, 60.0)
        places = at_midpoints(16)(index.track)
        left_out = pyav_rung.read_frames(media, index, places, Size(64, 64))
        monkeypatch.setattr(pyav_rung, "SKIPPING", frozenset())
        whole = pyav_rung.read_frames(media, index, places, Size(64, 64))
    np.testing.assert_array_equal(left_out.frames, whole.frames)


def test_frames_stored_across_a_key_frame_are_counted_as_they_are_shown(
    make_clip: ClipMaker, child: DecoderChild
) -> None:
    path = make_clip(
        frames=100, key_every=24, options={"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
    )
    clip = decode(child, path, frames=10)
    assert clip.rung == "pyav", "decord gives the frame after the one it is asked for"
    assert is_frames(clip, *range(5, 100, 10))


@pytest.mark.parametrize("rung", ["decord", "pyav"])
def test_key_frames_are_those_nearest_to_the_midpoints(
    make_clip: ClipMaker, child: DecoderChild, rung: str
) -> None:
    path = make_clip(frames=100, key_every=20, options=NO_OTHER_KEYS)
    clip = decode(child, path, frames=2, sampling="keyframe", rungs=(rung,))
    assert (clip.rung, clip.sampling) == (rung, "keyframe")
    assert is_frames(clip, 20, 80), "of 0, 20, 40, 60 and 80, for the middles 25 and 75"
    np.testing.assert_allclose(clip.timestamps_s, [0.8, 3.2], atol=1e-3)
    assert is_frames(decode(child, path, sampling="keyframe", rungs=(rung,)), 0, 20, 40, 60, 80)


def test_of_a_trimmed_file_only_key_frames_that_are_shown_are_given(
    make_clip: ClipMaker, child: DecoderChild
) -> None:
    path = make_clip(frames=100, hide_s=1.2, key_every=20, options=NO_OTHER_KEYS)
    clip = decode(child, path, sampling="keyframe")
    assert is_frames(clip, 40, 60, 80), "0 and 20 lie before the cut at frame 30"
    np.testing.assert_allclose(clip.timestamps_s, [0.4, 1.2, 2.0], atol=1e-3)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_no_pictures_are_taken_where_none_are_wanted(
    make_clip: ClipMaker, child: DecoderChild, sampling: str
) -> None:
    for clip in (
        decode(child, make_clip("sound.mp4", tone_hz=440.0), frames=0, sampling=sampling),
        decode(child, make_clip("mute.mp4"), frames=0, sampling=sampling),
    ):
        assert clip.frames is None
        assert clip.poster is None
        assert (clip.frames_wanted, len(clip.timestamps_s)) == (0, 0)
        assert clip.found.has_video
        assert (clip.audio is not None) == clip.found.has_audio
        assert clip.video_s == pytest.approx(2.0, abs=0.01)


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


def sweep(rate_hz: int, seconds: float, top_hz: float) -> Float64s:
    """A sine that rises steadily from 100 Hz."""
    instants = np.arange(int(seconds * rate_hz)) / rate_hz
    return 0.5 * np.sin(2 * np.pi * (100 * instants + (top_hz - 100) / (2 * seconds) * instants**2))


def write_sweep(path: Path, rate_hz: int, seconds: float, top_hz: float) -> Path:
    wave_form = sweep(rate_hz, seconds, top_hz)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat((wave_form * 32767).round().astype("<i2"), 2).tobytes())
    return path


def test_sound_keeps_a_known_sweep_to_60_db(tmp_path: Path, child: DecoderChild) -> None:
    clip = decode(child, write_sweep(tmp_path / "sweep.wav", 48_000, 2.0, 8_000.0))
    assert clip.sample_rate_hz == 48_000
    expected = sweep(48_000, 2.0, 8_000.0)
    noise = clip.audio - expected * (32767 / 32768)
    assert 10 * np.log10(np.mean(expected**2) / np.mean(noise**2)) > 60


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
        "import sys, pathlib; from ingest.media.decode import decode_clip, DecodeSettings;"
        "decode_clip(pathlib.Path(sys.argv[1]), DecodeSettings(rungs=('decord',)));"
        "assert 'decord' in sys.modules and 'torch' not in sys.modules;"
        "maps = open('/proc/self/maps').read(); assert '/nvidia/' not in maps, 'CUDA was preloaded'"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code, str(make_clip())], check=True, cwd=root, timeout=60)


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


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_sound_keeps_a_known_sweep_to_60_db_at_the_rate_of_the_encoder(
    tmp_path: Path, child: DecoderChild, rate_hz: int
) -> None:
    """Up to 7 kHz, of the 8 that the encoder's rate can hold."""
    seconds = 4.0
    path = write_sweep(tmp_path / "sweep.wav", rate_hz, seconds, 7_000.0)
    clip = decode(child, path)
    assert clip.sample_rate_hz == rate_hz
    waves, lengths = _to_one_rate([clip.audio], rate_hz, torch.device("cpu"))
    heard = waves[0, : lengths[0]].numpy()
    expected = sweep(RATE_HZ, seconds, 7_000.0) * (32767 / 32768)
    inner = slice(200, min(len(heard), len(expected)) - 200)
    noise = heard[inner] - expected[inner]
    assert 10 * np.log10(np.mean(expected[inner] ** 2) / np.mean(noise**2)) > 60


@pytest.mark.parametrize(
    "wrong",
    [{"sampling": "random"}, {"rungs": ()}, {"rungs": ("vlc",)}, {"frames": -1}, {"max_audio_s": 0.0}],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        DecodeSettings(**wrong)


@pytest.mark.parametrize(
    "content", [b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x76\x70\x76\x75\x84", b"", b"\x76\x70"]
)
def test_a_matroska_header_that_ends_early_is_upright(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mkv").write_bytes(content)
    assert read_roll(tmp_path / "a.mkv") == 0
