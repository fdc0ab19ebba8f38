"""Columns that tell what a clip looks and sounds like: the same on bars, offsets and odd lengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from features.contracts import QUALITY
from ingest.media.decode import Clip, DecodeSettings, Frames, Samples, decode_clip
from ingest.media.probe import Probe
from ingest.quality import BLURRED, blur, luma, quality_columns

RATE = 44_100
FOUND = Probe(
    container="mp4",
    duration_s=4.0,
    has_video=True,
    has_audio=True,
    codec="h264",
    width=1280,
    height=720,
    sample_aspect=1.0,
    rotation=0,
    video_s=4.0,
    frame_rate=25.0,
    trimmed=False,
    sample_rate_hz=RATE,
    channels=1,
    audio_s=4.0,
    audio_tracks=1,
)


def clip_of(frames: Frames | None = None, audio: Samples | None = None, rate_hz: int = RATE) -> Clip:
    return Clip(
        frames=frames,
        timestamps_s=np.arange(0 if frames is None else len(frames), dtype=np.float64),
        poster=None if frames is None else frames[0],
        audio=audio,
        sample_rate_hz=0 if audio is None else rate_hz,
        duration_s=4.0,
        rung="pyav",
        frames_wanted=0 if frames is None else 16,
        damaged_packets=0,
        found=FOUND,
        sampling="exact",
        shots=None,
        video_s=0.0 if frames is None else 4.0,
        audio_s=0.0 if audio is None else len(audio) / rate_hz,
    )


def grey(level: int, t: int = 4) -> Frames:
    return np.full((t, 224, 224, 3), level, np.uint8)


def texture(t: int = 4, seed: int = 0) -> Frames:
    """Soft shapes and hard edges that differ from frame to frame."""
    small = np.random.default_rng(seed).integers(0, 256, (t, 14, 14, 3)).astype(np.uint8)
    return np.repeat(np.repeat(small, 16, axis=1), 16, axis=2)


def tone(seconds: float, level: float = 0.5, rate_hz: int = RATE) -> Samples:
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


def test_the_columns_are_those_of_the_contract_whatever_is_missing() -> None:
    names = {column.name for column in QUALITY}
    for clip in (clip_of(texture(), tone(1)), clip_of(texture()), clip_of(audio=tone(1)), clip_of()):
        assert set(quality_columns(clip)) == names


def test_what_a_missing_modality_would_say_is_null() -> None:
    heard, seen = quality_columns(clip_of(audio=tone(1))), quality_columns(clip_of(texture()))
    assert [heard[name] for name in ("black_share", "frozen_share", "blurred_share")] == [None] * 3
    assert [seen[name] for name in ("silence_share", "clipped_share", "loudness_dbfs")] == [None] * 3
    assert heard["duration_mismatch_s"] is seen["duration_mismatch_s"] is None
    assert (heard["frames_got"], seen["frames_got"]) == (0, 4)


@pytest.mark.parametrize(("level", "share"), [(0, 1.0), (16, 1.0), (22, 1.0), (40, 0.0), (255, 0.0)])
def test_black_is_black_in_full_and_in_broadcast_range(level: int, share: float) -> None:
    assert quality_columns(clip_of(grey(level)))["black_share"] == share


def test_a_dark_scene_between_the_bars_of_a_film_is_not_black() -> None:
    film = grey(0)
    film[:, 70:154] = texture()[:, 70:154] // 5
    assert film.mean() < 16
    assert quality_columns(clip_of(film))["black_share"] == 0.0


def test_frozen_needs_a_second_frame() -> None:
    assert quality_columns(clip_of(grey(90, t=1)))["frozen_share"] is None
    assert quality_columns(clip_of(grey(90, t=2)))["frozen_share"] == 1.0


def test_coding_noise_is_frozen_and_a_moving_pointer_is_not() -> None:
    still = np.repeat(texture(1), 6, axis=0)
    noise = np.random.default_rng(1).normal(0, 2, still.shape)
    noisy = np.clip(still + noise, 0, 255).astype(np.uint8)
    pointed = still.copy()
    for i in range(6):
        pointed[i, 100:104, 20 * i : 20 * i + 4] = 255 - pointed[i, 100:104, 20 * i : 20 * i + 4]
    assert quality_columns(clip_of(noisy))["frozen_share"] == 1.0
    assert quality_columns(clip_of(pointed))["frozen_share"] == 0.0


def test_the_order_of_two_frames_does_not_matter_to_what_is_frozen() -> None:
    mixed = np.concatenate([texture(2), np.repeat(texture(1, seed=5), 3, axis=0)])
    there, back = quality_columns(clip_of(mixed)), quality_columns(clip_of(mixed[::-1].copy()))
    assert there["frozen_share"] == back["frozen_share"] == 0.5


def test_screen_text_and_a_subject_before_a_smooth_sky_are_sharp() -> None:
    page = Image.new("RGB", (224, 224), (246, 246, 244))
    draw = ImageDraw.Draw(page)
    for line in range(12, 200, 16):
        draw.text((10, line), "the quick brown fox jumps over", fill=(30, 30, 30))
    across = np.linspace(90, 200, 224)
    sky = np.repeat(np.repeat(across[None, :, None], 224, axis=0), 3, axis=2).astype(np.uint8)
    sky[90:130, 90:130] = 20
    frames = np.stack([np.asarray(page), sky])
    assert quality_columns(clip_of(frames))["blurred_share"] == 0.0


def test_a_flat_frame_is_not_called_blurred() -> None:
    assert quality_columns(clip_of(grey(120)))["blurred_share"] == 0.0


@pytest.mark.parametrize("name", ["chaplin.mp4", "nasa_13013.mp4", "flipping_a_pancake.mkv"])
def test_real_frames_are_sharp_also_when_dark_or_pale_and_blurred_when_blurred(
    shared_data: Path, name: str
) -> None:
    clip = decode_clip(shared_data / "clips" / name, DecodeSettings(rungs=("pyav",)))
    frames = clip.frames
    dark, pale = frames // 5, 110 + frames // 6
    soft = [Image.fromarray(frame).filter(ImageFilter.GaussianBlur(2)) for frame in frames]
    for sharp in (frames, dark, pale):
        assert quality_columns(replace(clip, frames=sharp))["blurred_share"] == 0.0
    assert quality_columns(replace(clip, frames=np.stack(soft)))["blurred_share"] >= 0.9


def test_blur_grows_with_the_width_of_the_filter() -> None:
    page = Image.fromarray(texture(1)[0])
    widths = [0.5, 1, 2, 4]
    frames = np.stack([np.asarray(page.filter(ImageFilter.GaussianBlur(width))) for width in widths])
    kept = blur(luma(frames))
    assert (np.diff(kept) > 0).all()
    assert kept[0] < BLURRED < kept[-1]


def test_silence_is_silent_in_spite_of_a_constant_offset() -> None:
    quiet = np.zeros(RATE, np.float32)
    for offset in (0.0, 0.02, -0.3):
        found = quality_columns(clip_of(audio=quiet + np.float32(offset)))
        assert found["silence_share"] == 1.0
        assert found["loudness_dbfs"] <= -100


def test_half_silence_is_half_silent() -> None:
    audio = np.concatenate([tone(1), np.zeros(RATE, np.float32)])
    assert quality_columns(clip_of(audio=audio))["silence_share"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("level", [1.0, 0.1, 0.001])
def test_loudness_of_a_sine_is_three_decibels_under_its_peak(level: float) -> None:
    found = quality_columns(clip_of(audio=tone(2, level) + np.float32(0.05)))
    assert found["loudness_dbfs"] == pytest.approx(20 * np.log10(level) - 3.01, abs=0.02)


def test_clipped_counts_samples_at_either_end_of_full_scale() -> None:
    audio = tone(1, 0.5)
    audio[:100], audio[-50:] = 1.0, -32768 / 32768
    assert quality_columns(clip_of(audio=audio))["clipped_share"] == pytest.approx(150 / RATE)
    assert quality_columns(clip_of(audio=tone(1, 0.99)))["clipped_share"] == 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.sampled_from([1, 50, 8000, RATE, 192_000]),
    st.sampled_from([0.0, 1e-30, 1e-4, 1.0, 1e6, 3e38]),
)
def test_any_sound_gives_finite_columns_in_range(samples: int, rate_hz: int, level: float) -> None:
    audio = (np.random.default_rng(samples).uniform(-1, 1, samples) * level).astype(np.float32)
    found = quality_columns(clip_of(audio=audio, rate_hz=rate_hz))
    assert 0 <= found["silence_share"] <= 1
    assert 0 <= found["clipped_share"] <= 1
    assert np.isfinite(found["loudness_dbfs"])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16))
def test_frames_of_any_size_give_shares(t: int, height: int, width: int, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (t, height, width, 3)).astype(np.uint8)
    found = quality_columns(clip_of(frames))
    assert 0 <= found["black_share"] <= 1
    assert 0 <= found["blurred_share"] <= 1
    assert (found["frozen_share"] is None) == (t == 1)


def test_mismatch_is_sound_less_picture_and_shots_are_passed_on() -> None:
    clip = replace(clip_of(texture(), tone(1)), video_s=10.0, audio_s=7.5, shots=3)
    found = quality_columns(clip)
    assert found["duration_mismatch_s"] == -2.5
    assert found["shots"] == 3
