"""Hashes of picture and sound: what changes them and what does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from ingest.likeness.fingerprint import fingerprint
from ingest.likeness.picture_hash import hash_frames
from ingest.likeness.sound_hash import HOP_S, hash_sound
from ingest.media.decode import Clip, DecodeSettings, Frames, Samples, decode_clip

RATE = 44_100
PYAV = DecodeSettings(rungs=("pyav",))


@pytest.fixture(scope="module")
def film(shared_data: Path) -> Clip:
    return decode_clip(shared_data / "clips" / "chaplin.mp4", PYAV)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bits that differ, row by row."""
    return np.bitwise_count(a ^ b).astype(int)


def scene(t: int = 4, seed: int = 0) -> Frames:
    """Smooth shapes over all of the picture."""
    small = np.random.default_rng(seed).integers(0, 256, (t, 7, 7, 3)).astype(np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((224, 224), Image.Resampling.BICUBIC)) for one in small]
    )


def melody(seconds: float, seed: int = 0, rate_hz: int = RATE) -> Samples:
    """Chords that change four times a second, with a little noise."""
    random = np.random.default_rng(seed)
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    chord = (at * 4).astype(int)
    pitches = random.uniform(300, 2000, (chord.max() + 1, 6))
    notes = sum(np.sin(2 * np.pi * pitches[chord, voice] * at) for voice in range(6))
    return (0.1 * notes + 0.001 * random.standard_normal(len(at))).astype(np.float32)


def test_the_bits_are_the_signs_of_the_longest_waves() -> None:
    frames = scene(1)
    grey = np.asarray(Image.fromarray(frames[0]).convert("L"), np.float64)
    waves = dctn(grey, norm="ortho")[:10, :10]
    down, across = np.indices(waves.shape)
    nearest = np.lexsort((down.ravel(), (down**2 + across**2).ravel()))[1:65]
    signs = waves.ravel()[nearest] > 0
    (whole,) = hash_frames(frames)[:, 0]
    assert [bool(int(whole) >> place & 1) for place in range(64)] == signs.tolist()


def test_different_pictures_differ_in_about_half_of_the_bits() -> None:
    hashes = hash_frames(scene(40))[:, 0]
    assert 28 < apart(hashes[:20], hashes[20:]).mean() < 36


def test_brightness_contrast_and_coding_noise_change_few_bits() -> None:
    frames = scene()
    noise = np.random.default_rng(0).normal(0, 6, frames.shape)
    changed = np.clip(20 + 0.8 * frames + noise, 0, 255).astype(np.uint8)
    assert apart(hash_frames(frames)[:, 0], hash_frames(changed)[:, 0]).max() <= 6


def test_a_smaller_size_changes_few_bits(film: Clip) -> None:
    half = np.stack([np.asarray(Image.fromarray(frame).resize((112, 112))) for frame in film.frames])
    assert apart(hash_frames(film.frames)[:, 0], hash_frames(half)[:, 0]).max() <= 6


@pytest.mark.parametrize("share", [0.03, 0.04, 0.05])
def test_the_second_hash_is_that_of_a_cropped_copy(film: Clip, share: float) -> None:
    cut = round(share * 224)
    inside = film.frames[:, cut:-cut, cut:-cut]
    copy = np.stack([np.asarray(Image.fromarray(frame).resize((224, 224))) for frame in inside])
    assert apart(hash_frames(film.frames)[:, 1], hash_frames(copy)[:, 0]).mean() <= 8


@pytest.mark.parametrize("level", [0, 16, 255])
def test_bars_of_any_colour_are_cut_off(level: int) -> None:
    frames = scene()
    barred = np.full_like(frames, level)
    barred[:, 40:184] = [Image.fromarray(frame).resize((224, 144)) for frame in frames]
    assert apart(hash_frames(frames)[:, 0], hash_frames(barred)[:, 0]).max() <= 8


def test_frames_that_show_nothing_have_no_hash() -> None:
    shown = scene(2)
    black, pale = np.zeros_like(shown[:1]), np.full_like(shown[:1], 200)
    mixed = np.concatenate([black, shown[:1], pale, shown[1:]])
    assert len(hash_frames(mixed)) == 2
    assert len(hash_frames(np.concatenate([black, pale]))) == 0


def test_loudness_changes_no_bit_of_a_sound() -> None:
    loud = melody(6)
    assert (apart(hash_sound(loud, RATE), hash_sound(loud / 8, RATE)) <= 1).all()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 48_000])
def test_a_sound_at_another_rate_has_nearly_the_same_bits(rate_hz: int) -> None:
    seconds = 8
    at = np.arange(seconds * rate_hz) / rate_hz
    plain = melody(seconds)
    other = np.interp(at, np.arange(len(plain)) / RATE, plain).astype(np.float32)
    a, b = hash_sound(plain, RATE), hash_sound(other, rate_hz)
    n = min(len(a), len(b))
    assert abs(len(a) - len(b)) <= 1
    assert apart(a[:n], b[:n]).mean() / 32 < 0.12


def test_a_sound_that_starts_later_has_the_same_bits_later() -> None:
    whole = melody(10)
    late = whole[int(8 * HOP_S * RATE) :]
    a, b = hash_sound(whole, RATE), hash_sound(late, RATE)
    assert apart(a[8 : 8 + len(b)], b).mean() / 32 < 0.05


def test_different_sounds_differ_in_about_half_of_the_bits() -> None:
    a, b = hash_sound(melody(20, seed=1), RATE), hash_sound(melody(20, seed=2), RATE)
    assert 0.45 < apart(a, b).mean() / 32 < 0.55


def test_silence_is_marked_and_does_not_shift_what_follows() -> None:
    sounding = melody(6)
    gap = int(3 * RATE)
    holed = np.concatenate([sounding, np.zeros(gap, np.float32), sounding])
    marks = hash_sound(holed, RATE)
    inside = slice(int(6.5 / HOP_S), int(8 / HOP_S))
    assert (marks[inside] == 0).all()
    again = marks[int(9 / HOP_S) :]
    assert apart(again, hash_sound(sounding, RATE)[: len(again)]).mean() / 32 < 0.05


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(10 * RATE, np.float32),
        np.full(10 * RATE, 0.25, np.float32),
        melody(1),
        np.full(10 * RATE, 3e38, np.float32),
        np.zeros(0, np.float32),
        np.ones(1, np.float32),
    ],
    ids=["silent", "constant", "too short", "absurd", "empty", "one sample"],
)
def test_a_sound_that_says_nothing_has_no_bits(audio: Samples) -> None:
    assert len(hash_sound(audio, RATE)) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40_000), st.sampled_from([1, 4000, 4100, 8000, 11_025, 32_000, 192_000]))
def test_any_length_and_rate_gives_words_or_none(samples: int, rate_hz: int) -> None:
    audio = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    marks = hash_sound(audio, rate_hz)
    assert marks.dtype == np.uint32
    assert len(marks) <= samples / rate_hz / HOP_S


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 60), st.integers(1, 60))
def test_frames_of_any_size_give_hashes_or_none(t: int, height: int, width: int) -> None:
    frames = np.random.default_rng(t).integers(0, 256, (t, height, width, 3)).astype(np.uint8)
    assert hash_frames(frames).shape[1:] == (2,)


def test_a_fingerprint_is_little_endian_words_and_null_where_there_is_nothing(film: Clip) -> None:
    found = fingerprint(film)
    hashes, marks = np.frombuffer(found.frame_hashes, "<u8"), np.frombuffer(found.sound_hashes, "<u4")
    assert (hashes.reshape(-1, 2) == hash_frames(film.frames)).all()
    assert (marks == hash_sound(film.audio, film.sample_rate_hz)).all()
    assert fingerprint(film) == found
    nothing = fingerprint(replace(film, frames=None, audio=None))
    assert nothing.frame_hashes is nothing.sound_hashes is None


def test_fingerprints_and_their_grouping_need_no_torch() -> None:
    modules = "ingest.likeness.fingerprint, ingest.likeness.duplicates"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
