"""Sounds for Hugging Face models: spectra as their own feature extractors give them, and what is silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from features.contracts import Floats
from features.errors import BadInput
from ingest.encoders.hf.ast_fbank import ast_fbank
from ingest.encoders.hf.clap_mel import clap_mel
from ingest.encoders.hf.windows import MAX_WINDOWS, cut_windows
from tests.ingest.hf_tiny import clap_extractor

CPU = torch.device("cpu")


def sounds(rate_hz: int, seconds: float) -> dict[str, Floats]:
    """Of one length: dense, tonal, quiet, clipped, and mostly silent ones."""
    rng, n = np.random.default_rng(3), int(rate_hz * seconds)
    at = np.arange(n) / rate_hz
    tone = np.sin(2 * np.pi * 440.0 * at)
    found = {
        "noise": rng.normal(size=n) * 0.2,
        "tone": tone,
        "quiet": tone * 1e-4,
        "clipped": np.clip(tone * 30.0, -1.0, 1.0),
        "click": np.eye(1, n, n // 2)[0],
        "sweep": np.sin(2 * np.pi * (50.0 + 1500.0 * at) * at) * 0.5,
    }
    return {name: wave.astype(np.float32) for name, wave in found.items()}


@pytest.mark.parametrize("kind", sounds(8000, 0.1))
@pytest.mark.parametrize("seconds", [0.013, 0.1, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
@pytest.mark.parametrize("fusion", [False, True], ids=["rand_trunc", "fusion"])
def test_the_mel_spectrogram_of_clap_is_that_of_its_own_feature_extractor(
    kind: str, seconds: float, padding: str, fusion: bool
) -> None:
    extractor = clap_extractor(fusion, padding=padding)
    wave = sounds(8000, seconds)[kind]
    expected = extractor(wave, sampling_rate=8000, return_tensors="np")["input_features"]
    found = clap_mel(extractor.to_dict(), fusion).features(torch.from_numpy(wave)[None])
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= 1e-4


@pytest.mark.parametrize("fusion", [False, True], ids=["rand_trunc", "fusion"])
def test_so_is_that_of_ten_seconds_at_the_settings_of_published_models(fusion: bool) -> None:
    extractor = hf.ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc", frequency_min=50)
    mel = clap_mel(extractor.to_dict(), fusion)
    for wave in list(sounds(48_000, 10.0).values())[:3]:
        expected = extractor(wave, sampling_rate=48_000, return_tensors="np")["input_features"]
        assert np.abs(mel.features(torch.from_numpy(wave)[None]).numpy() - expected).max() <= 1e-4


@pytest.mark.parametrize("kind", sounds(16_000, 0.1))
@pytest.mark.parametrize("seconds", [0.025, 0.1, 4.0, 10.26])
def test_the_filter_bank_of_ast_is_that_of_its_own_feature_extractor(kind: str, seconds: float) -> None:
    extractor = hf.ASTFeatureExtractor()
    wave = sounds(16_000, seconds)[kind]
    expected = extractor(wave, sampling_rate=16_000, return_tensors="np")["input_values"]
    bank = ast_fbank(extractor.to_dict())
    found = bank.features(torch.from_numpy(wave[: bank.length])[None])
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= 1e-4


def test_a_bank_that_is_not_normalised_and_a_sound_below_one_frame_are_read_too() -> None:
    extractor = hf.ASTFeatureExtractor(do_normalize=False, num_mel_bins=40, max_length=50)
    wave = sounds(16_000, 0.2)["noise"]
    expected = extractor(wave, sampling_rate=16_000, return_tensors="np")["input_values"]
    bank = ast_fbank(extractor.to_dict())
    assert np.abs(bank.features(torch.from_numpy(wave)[None]).numpy() - expected).max() <= 1e-4
    assert bank.features(torch.from_numpy(wave[:50])[None]).shape == (1, 50, 40)


@pytest.mark.parametrize(
    ("samples", "windows"), [(1, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3), (9000, MAX_WINDOWS)]
)
def test_a_long_sound_is_cut_into_whole_windows_from_its_start_to_its_end(samples: int, windows: int) -> None:
    wave = np.arange(1, samples + 1, dtype=np.float32) * np.resize([1, -1], samples)
    found = cut_windows((wave + (samples == 1), 8000), 8000, 1000, CPU)
    if samples == 1:
        assert found is None  # one sample is a constant
        return
    assert found is not None
    assert found.shape == (windows, min(samples, 1000))
    assert abs(found[0, 0]) == 1
    assert abs(found[-1, -1]) == samples


@pytest.mark.parametrize("rate_hz", [80, 8000, 11_025, 44_100, 48_000, 192_000, 3_000_001])
def test_a_tone_at_any_rate_is_that_tone_at_the_rate_of_the_model(rate_hz: int) -> None:
    n = min(int(rate_hz * 1.5), 3_000_000)
    tone_hz = min(440.0, rate_hz / 8)
    wave = np.sin(2 * np.pi * tone_hz * np.arange(n) / rate_hz).astype(np.float32)
    found = cut_windows((wave, rate_hz), 16_000, 16_000, CPU)
    assert found is not None
    middle = found[0, 4000 : found.shape[1] - 4000] if rate_hz > 1000 else found[0]
    power = torch.fft.rfft(middle * torch.hann_window(len(middle))).abs()
    heard_hz = float(power.argmax()) * 16_000 / len(middle)
    assert abs(heard_hz - tone_hz) <= 16_000 / len(middle)


SILENT: dict[str, Any] = {
    "no sample": (np.zeros(0, np.float32), 16_000),
    "zeros": (np.zeros(5000, np.float32), 16_000),
    "a constant": (np.full(5000, 0.7, np.float32), 16_000),
    "below -100 dBFS": (np.resize([1e-6, -1e-6], 5000).astype(np.float32), 16_000),
    "not one number": (np.full(5000, np.nan, np.float32), 16_000),
    "endless": (np.full(5000, np.inf, np.float32), 16_000),
    "no rate": (np.ones(5, np.float32), 0),
    "hardly sampled": (np.resize([1.0, -1.0], 50).astype(np.float32), 79),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_carries_no_sound_has_no_window(name: str) -> None:
    assert cut_windows(SILENT[name], 16_000, 16_000, CPU) is None


def test_silent_windows_of_a_sound_are_left_out() -> None:
    wave = np.zeros(40_000, np.float32)
    wave[:10_000] = sounds(8000, 1.25)["noise"]
    found = cut_windows((wave, 8000), 8000, 10_000, CPU)
    assert found is not None
    assert found.shape == (1, 10_000)


def test_values_that_are_not_finite_count_as_zero_and_the_samples_stay_as_they_are() -> None:
    wave = sounds(8000, 0.5)["noise"]
    broken = wave.copy()
    broken[[3, 70, 900]] = np.nan, np.inf, -np.inf
    kept, mended = broken.copy(), broken.copy()
    mended[[3, 70, 900]] = 0.0
    found, expected = (cut_windows((w, 8000), 16_000, 16_000, CPU) for w in (broken, mended))
    assert found is not None
    assert expected is not None
    assert torch.equal(found, expected)
    assert np.array_equal(broken, kept, equal_nan=True)


def test_a_sound_of_two_channels_and_settings_of_another_model_are_named() -> None:
    with pytest.raises(BadInput, match=r"shape \(2, 9\); expected mono"):
        cut_windows((np.zeros((2, 9), np.float32), 8000), 8000, 100, CPU)
    with pytest.raises(BadInput, match="truncation='cut'"):
        clap_mel({"truncation": "cut"}, False)
    with pytest.raises(BadInput, match="belong to two models"):
        clap_mel({"truncation": "fusion"}, False)
