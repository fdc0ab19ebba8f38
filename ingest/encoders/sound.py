"""Raw descriptor of a sound: what it is made of, how it flutters, and its beat. No weights.

Source: the modulation spectrum follows the joint time-frequency scattering of Anden, Lostanlen and Mallat,
IEEE Trans. Signal Processing 2019, sections III-IV, with Gaussian band-passes on a cube-root mel spectrogram
in the place of wavelets and no phase; the beat is the autocorrelation of spectral flux.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio.functional as audio_f
from torchaudio.transforms import Resample

from features.contracts import Floats

SOUND_VERSION = "sound-1"
RATE_HZ = 16_000
FFT, HOP, MELS, BANDS = 1024, 160, 64, 32
FLOOR_DB = 80.0
MIN_SECONDS = 2.5
MIN_PEAK = 1e-5
"""A sound that never reaches -100 dBFS is silence: it has no descriptor."""
RATES_HZ = (0.5, 1.0, 1.8, 3.2, 5.6, 9.0, 14.0, 20.0, 28.0, 40.0)
"""Modulation rates: breathing to roughness."""
SCALES = (0, 1, 2, 4, 8, 16, 33)
"""Bounds of cycles across the mel axis: broad motion to fine harmonics."""
BEAT_LAGS = 32

SOUND_BLOCKS = (
    ("level", 2 * MELS),
    ("shape", 2 * MELS),
    ("modulation", BANDS * len(RATES_HZ)),
    ("ripple", (len(SCALES) - 1) * len(RATES_HZ)),
    ("beat", BEAT_LAGS + 4),
)


def describe_sound(audio: Floats, sample_rate_hz: int) -> Floats | None:
    """Raw descriptor, float32, (D,), of a mono sound; None for silence.

    Args:
        audio: (n,), any length; values that are not finite count as zero.
        sample_rate_hz: > 0.
    """
    wave = _prepare(audio, sample_rate_hz)
    if wave is None:
        return None
    power = _mel_power(wave)  # (mels, t)
    decibel = 10.0 * torch.log10(power.clamp_min(10.0 ** (-FLOOR_DB / 10.0)))  # (mels, t), -80..0
    weight = power.sum(dim=0).pow(1.0 / 3.0)  # (t,)
    level = _moments(decibel, weight)
    shape = _moments(decibel - decibel.mean(dim=0), weight)
    modulation, ripple = _modulation(power.pow(1.0 / 3.0))
    parts = [level, shape, modulation, ripple, _beat(decibel)]
    return torch.cat([part.flatten() for part in parts]).numpy().astype(np.float32)


def _prepare(audio: Floats, sample_rate_hz: int) -> torch.Tensor | None:
    wave = torch.from_numpy(np.nan_to_num(np.asarray(audio, np.float32), nan=0.0, posinf=0.0, neginf=0.0))
    if sample_rate_hz <= 0 or not len(wave):
        return None
    wave = wave - wave.mean()
    if float(wave.abs().max()) < MIN_PEAK:
        return None
    if sample_rate_hz != RATE_HZ:
        wave = _resampler(sample_rate_hz)(wave)
    peak = float(wave.abs().max())
    if peak < MIN_PEAK:
        return None
    short = int(MIN_SECONDS * RATE_HZ) - len(wave)
    return F.pad(wave / peak, (0, max(short, 0)))


def _mel_power(wave: torch.Tensor) -> torch.Tensor:
    spectrum = torch.stft(
        wave, FFT, HOP, window=_window(), pad_mode="constant", return_complex=True
    )  # (f, t)
    power = _mel_bank() @ (spectrum.real.square() + spectrum.imag.square())  # (mels, t)
    return power / power.max().clamp_min(1e-20)


def _moments(decibel: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean and deviation of each band over time, loud instants first, (2, mels)."""
    share = weight / weight.sum().clamp_min(1e-12)
    mean = decibel @ share  # (mels,)
    return torch.stack([mean, ((decibel - mean[:, None]).square() @ share).sqrt()])


def _modulation(bands: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much each band moves at each rate, (BANDS, rates); at which scale across bands, (scales, rates).

    By Parseval the power of a filtered band is a sum over its spectrum: nothing is transformed back.
    """
    level = bands.mean(dim=1, keepdim=True)  # (mels, 1)
    spectrum = torch.fft.rfft(bands - level, dim=1) / bands.shape[1]  # (mels, f)
    filters = _rate_filters(bands.shape[1])  # (f, rates)
    wide = spectrum.reshape(BANDS, MELS // BANDS, -1).mean(dim=1)  # (BANDS, f)
    moved = 2.0 * wide.abs().square() @ filters  # (BANDS, rates)
    average = level.reshape(BANDS, -1).mean(dim=1, keepdim=True)  # (BANDS, 1)
    across = torch.fft.fft(spectrum, dim=0).abs().square() @ filters  # (mels, rates)
    scales = _scale_sums() @ across  # (scales, rates)
    loudness = float(level.mean()) * MELS + 1e-9
    return torch.log(moved.sqrt() / (average + 1e-3) + 1e-3), torch.log(scales.sqrt() / loudness + 1e-3)


def _beat(decibel: torch.Tensor) -> torch.Tensor:
    """Autocorrelation of the spectral flux at lags of 40 ms to 2 s, and four numbers on the flux itself."""
    flux = (decibel[:, 1:] - decibel[:, :-1]).clamp_min(0.0).mean(dim=0)  # (t-1,)
    centred = flux - flux.mean()
    size = 2 * len(flux)
    power = torch.fft.rfft(centred, n=size).abs().square()
    curve = torch.fft.irfft(power, n=size)[: len(flux)]
    curve = curve / curve[0].clamp_min(1e-9)
    lags = torch.logspace(math.log10(4), math.log10(200), BEAT_LAGS).round().long()
    loud = decibel.mean(dim=0)
    filled = (loud > loud.max() - 20.0).float().mean() * 10.0
    shape = torch.stack([flux.mean(), flux.std(), loud.std(), filled])
    return torch.cat([curve[lags], torch.log1p(shape)])


@lru_cache(maxsize=1)
def _window() -> torch.Tensor:
    return torch.hann_window(FFT)


@lru_cache(maxsize=1)
def _mel_bank() -> torch.Tensor:
    bank: torch.Tensor = audio_f.melscale_fbanks(
        FFT // 2 + 1, 40.0, RATE_HZ / 2.0, MELS, RATE_HZ
    )  # (f, mels)
    return bank.T.contiguous()


@lru_cache(maxsize=1)
def _scale_sums() -> torch.Tensor:
    """Gathers cycles across the mel axis, of either sign, into octaves, (scales, mels)."""
    cycles = (torch.fft.fftfreq(MELS) * MELS).abs()
    return torch.stack([((cycles >= low) & (cycles < high)).float() for low, high in pairwise(SCALES)])


@lru_cache(maxsize=16)
def _resampler(sample_rate_hz: int) -> Resample:
    return Resample(sample_rate_hz, RATE_HZ)


@lru_cache(maxsize=16)
def _rate_filters(length: int) -> torch.Tensor:
    """Power responses of Gaussian band-passes on a logarithmic rate axis, (length // 2 + 1, rates)."""
    rate = torch.fft.rfftfreq(length, d=HOP / RATE_HZ).clamp_min(1e-3)  # Hz
    centres = torch.tensor(RATES_HZ)
    return torch.exp(-((rate[:, None].log2() - centres.log2()) / 0.4).square())
