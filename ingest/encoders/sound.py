"""Raw descriptor of a sound: what it is made of, how it flutters, and its beat. No weights.

What it is made of is the mean and the deviation of each mel band, how it flutters is in `modulation`, and the
beat is the autocorrelation of spectral flux.

Sounds are computed together up to the spectrogram, padded with zeros that change nothing, and after it with
those of exactly their length: the spectrum over time depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio.functional as audio_f

from features.contracts import Floats
from ingest.encoders.modulation import modulation_sizes, modulations
from ingest.encoders.resample import resampler

SOUND_VERSION = "sound-3"
RATE_HZ = 16_000
FFT, HOP, MELS = 1024, 160, 64
FLOOR_DB = 80.0
MIN_SECONDS = 2.5
MIN_PEAK = 1e-5
"""A sound that never reaches -100 dBFS is silence: it has no descriptor."""
MAX_PEAK = 1e6
"""Samples beyond are cut, so that their squares stay finite."""
MIN_RATE_HZ = 80
"""Below it nothing reaches the lowest mel band: no descriptor."""
MAX_RATE_HZ = 768_000
"""Of what is sampled faster, neighbours are averaged first."""
BEAT_LAGS = 32
STEP_FRAMES = {"cpu": 192, "cuda": 32_768}
"""Frames of the spectrogram computed at once: on a CPU, as many as its cache holds."""

SOUND_BLOCKS = (
    ("level", 2 * MELS),
    ("shape", 2 * MELS),
    *modulation_sizes(MELS),
    ("beat", BEAT_LAGS + 4),
)
CPU = torch.device("cpu")
Sound = tuple[Floats, int]


def describe_sound(audio: Floats, sample_rate_hz: int) -> Floats | None:
    """Raw descriptor, float32, (D,), of a mono sound; None for silence.

    Args:
        audio: (n,), any length; values that are not finite count as zero.
        sample_rate_hz: > 0; a sound below 80 Hz holds nothing that is heard.
    """
    return describe_sounds([(audio, sample_rate_hz)])[0]


def describe_sounds(
    sounds: Sequence[Sound], device: torch.device = CPU, together: int = 1
) -> list[Floats | None]:
    """Raw descriptor of each sound, as `describe_sound` gives it.

    Args:
        sounds: samples (n,) and their rate, Hz.
        device: where to compute.
        together: sounds computed at once, >= 1; they take memory, and change no result.
    """
    found: list[Floats | None] = [None] * len(sounds)
    for places in _batches(sounds, together):
        for place, row in _describe(sounds, places, device):
            found[place] = row
    return found


def _batches(sounds: Sequence[Sound], together: int) -> Iterator[list[int]]:
    """Places of sounds of one rate and of similar length."""

    def rate(place: int) -> int:
        return sounds[place][1]

    known = (i for i, (audio, hertz) in enumerate(sounds) if hertz >= MIN_RATE_HZ and len(audio))
    for _, same in groupby(sorted(known, key=lambda i: (rate(i), len(sounds[i][0]))), key=rate):
        places = list(same)
        for start in range(0, len(places), together):
            yield places[start : start + together]


def _describe(
    sounds: Sequence[Sound], places: list[int], device: torch.device
) -> Iterator[tuple[int, Floats]]:
    """(place, descriptor) of the sounds that are not silent."""
    waves, lengths = _to_one_rate([sounds[i][0] for i in places], sounds[places[0]][1], device)
    peaks = waves.abs().amax(dim=1)
    loud = [k for k, peak in enumerate(peaks.tolist()) if peak >= MIN_PEAK]
    if not loud:
        return
    frames = [1 + lengths[k] // HOP for k in loud]
    powers = _mel_power(waves[loud] / peaks[loud, None], max(frames))  # (b, mels, t)
    for length, group in groupby(sorted(range(len(loud)), key=frames.__getitem__), key=frames.__getitem__):
        rows = list(group)
        raw = _descriptors(powers[rows, :, :length]).cpu().numpy()
        yield from zip((places[loud[row]] for row in rows), raw, strict=True)


def _to_one_rate(
    sounds: list[Floats], sample_rate_hz: int, device: torch.device
) -> tuple[torch.Tensor, list[int]]:
    """Sounds at RATE_HZ, each padded with zeros, (b, n), and their own lengths, at least 2.5 s."""
    waves = [_waveform(audio, sample_rate_hz, device) for audio in sounds]
    many = math.ceil(sample_rate_hz / MAX_RATE_HZ)
    change = resampler(Fraction(sample_rate_hz, RATE_HZ * many), device)
    same = sample_rate_hz == RATE_HZ
    lengths = [len(wave) if same else change.length(len(wave)) for wave in waves]
    longest = max(len(wave) for wave in waves)
    lead = 0 if same else change.reach
    rows = torch.empty(len(waves), longest if same else change.padded(longest), device=device)
    for row, wave in zip(rows, waves, strict=True):
        row[:lead] = 0.0
        row[lead + len(wave) :] = 0.0
        _centre(wave, row[lead : lead + len(wave)])
    out = rows if same else change.apply(rows)
    for row, length in zip(out, lengths, strict=True):
        row[length:] = 0.0
    heard = [max(length, int(MIN_SECONDS * RATE_HZ)) for length in lengths]
    return F.pad(out[:, : max(lengths)], (0, max(heard) - max(lengths))), heard


def _waveform(audio: Floats, sample_rate_hz: int, device: torch.device) -> torch.Tensor:
    wave = torch.from_numpy(np.require(audio, np.float32, ["C", "W"])).to(device)
    many = math.ceil(sample_rate_hz / MAX_RATE_HZ)
    return wave if many == 1 else F.avg_pool1d(wave[None], many, ceil_mode=True)[0]


def _centre(wave: torch.Tensor, out: torch.Tensor) -> None:
    """Writes the sound without its mean; all zero where what is left never reaches MIN_PEAK."""
    low, high = wave.aminmax()
    if not (float(low) >= -MAX_PEAK and float(high) <= MAX_PEAK):  # NaN is not, either
        wave = torch.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0).clamp_(-MAX_PEAK, MAX_PEAK)
        low, high = wave.aminmax()
    mean = wave.mean()
    if float(torch.maximum(high - mean, mean - low)) >= MIN_PEAK:
        torch.sub(wave, mean, out=out)
    else:
        out.zero_()


def _mel_power(waves: torch.Tensor, frames: int) -> torch.Tensor:
    """Power by mel band, (b, mels, frames), of waves (b, n) with silence before and behind."""
    device = waves.device
    spans = F.pad(waves, (FFT // 2, FFT // 2)).unfold(1, FFT, HOP)[:, :frames]  # (b, t, FFT), a view
    out = waves.new_empty(len(waves), MELS, frames)
    step = max(1, STEP_FRAMES[device.type] // len(waves))
    for start in range(0, frames, step):
        spectrum = torch.fft.rfft(spans[:, start : start + step] * _window(device))  # (b, step, f)
        parts = torch.view_as_real(spectrum).square_()
        power = parts[..., 0] + parts[..., 1]
        for mels, bins, bank in _mel_bank(device):
            out[:, mels, start : start + step] = bank @ power[..., bins].transpose(1, 2)
    return out


def _descriptors(power: torch.Tensor) -> torch.Tensor:
    """Raw descriptors, (b, D), of powers of one length, (b, mels, t)."""
    power = power / power.amax(dim=(1, 2), keepdim=True).clamp_min(1e-20)
    bits = power.log2()  # of silence minus infinity
    decibel = (bits * (10.0 * math.log10(2.0))).clamp_min_(-FLOOR_DB)  # (b, mels, t), -80..0
    bands = bits.mul_(0.25).exp2_()  # fourth roots
    weight = power.sum(dim=1).pow(1.0 / 3.0)  # (b, t)
    level = _moments(decibel, weight)
    shape = _moments(decibel - decibel.mean(dim=1, keepdim=True), weight)
    parts = [level, shape, *modulations(bands, HOP / RATE_HZ), _beat(decibel)]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _moments(decibel: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean and deviation of each band over time, loud instants first, (b, 2, mels)."""
    share = (weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-12))[:, :, None]  # (b, t, 1)
    mean = decibel @ share  # (b, mels, 1)
    return torch.stack([mean, ((decibel - mean).square_() @ share).sqrt()], dim=1)


def _power(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _beat(decibel: torch.Tensor) -> torch.Tensor:
    """Autocorrelation of the spectral flux at lags of 40 ms to 2 s, and four numbers on the flux, (b, 36)."""
    flux = (decibel[:, :, 1:] - decibel[:, :, :-1]).clamp_min_(0.0).mean(dim=1)  # (b, t-1)
    size = 2 * flux.shape[1]
    power = _power(torch.fft.rfft(flux - flux.mean(dim=1, keepdim=True), n=size))
    curve = torch.fft.irfft(power, n=size)[:, : flux.shape[1]]
    curve = curve / curve[:, :1].clamp_min(1e-9)
    loud = decibel.mean(dim=1)  # (b, t)
    filled = (loud > loud.amax(dim=1, keepdim=True) - 20.0).float().mean(dim=1) * 10.0
    shape = torch.stack([flux.mean(dim=1), flux.std(dim=1), loud.std(dim=1), filled], dim=1)
    return torch.cat([curve[:, _beat_lags(decibel.device)], torch.log1p(shape)], dim=1)


@lru_cache(maxsize=8)
def _beat_lags(device: torch.device) -> torch.Tensor:
    lags = torch.logspace(math.log10(4), math.log10(200), BEAT_LAGS).round().long()
    return lags.to(device)


@lru_cache(maxsize=8)
def _window(device: torch.device) -> torch.Tensor:
    return torch.hann_window(FFT).to(device)


@lru_cache(maxsize=8)
def _mel_bank(device: torch.device) -> tuple[tuple[slice, slice, torch.Tensor], ...]:
    """Mel bands, frequency bins and weights (mels, f), in parts: low bands hear few bins."""
    bank = audio_f.melscale_fbanks(FFT // 2 + 1, 40.0, RATE_HZ / 2.0, MELS, RATE_HZ).T  # (mels, f)
    parts = []
    for mels in (slice(0, 32), slice(32, 48), slice(48, MELS)):
        heard = bank[mels].any(dim=0).nonzero()
        bins = slice(int(heard.min()), int(heard.max()) + 1)
        parts.append((mels, bins, bank[mels, bins].contiguous().to(device)))
    return tuple(parts)
