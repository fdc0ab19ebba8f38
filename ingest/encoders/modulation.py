"""How the bands of a sound move: how strongly, at which rates, in which shapes across the mel axis.

Source: joint time-frequency scattering, Anden, Lostanlen and Mallat, IEEE Trans. Signal Processing 2019,
sections III-IV. The band-passes here are raised cosines on a logarithmic rate axis and octaves of the Fourier
spectrum across the mel axis in the place of wavelets. The modulus is averaged over time, not squared first:
silence around a sound then changes no ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch

STEP_OCTAVES = 0.75
"""Between rates, and from a rate to where its band-pass ends: the responses of all add up to one."""
RATES_HZ = tuple(0.5 * 2.0 ** (STEP_OCTAVES * place) for place in range(9))
"""Breathing to roughness: 0.5 to 32 Hz."""
TOGETHER = 2
"""Rates computed at once, on the bins that any of them hears."""
SCALES = (0, 1, 2, 4, 8, 16, 33)
"""Bounds of cycles across the mel axis: broad motion to fine harmonics."""
WINDOW = 32
"""Mel bands of a region; neighbours overlap by half."""
REGION_SCALES = (0, 1, 2, 4, 8, 17)
BANDS = 32

Passes = tuple[tuple[int, torch.Tensor], ...]
"""First bin and amplitude responses, (TOGETHER, bins), of the band-passes of neighbouring rates."""


@dataclass(frozen=True, slots=True)
class View:
    """Spectra over time, and which of them are heard together."""

    rows: torch.Tensor
    """Complex, (b, regions, rows, f)."""
    loudness: torch.Tensor
    """What strength is held against, > 0, (b, regions or 1, groups or 1, 1)."""
    groups: torch.Tensor | None
    """(groups, rows), ones and zeros; None for each row by itself."""


def modulation_sizes(mels: int) -> tuple[tuple[str, int], ...]:
    """Names and sizes of what `modulations` gives for so many mel bands."""
    signed = 2 * (len(SCALES) - 1) - 1  # what moves everywhere at once has no direction
    regions = 2 * mels // WINDOW - 1
    return (
        ("modulation", BANDS * len(RATES_HZ)),
        ("ripple", signed * len(RATES_HZ)),
        ("local ripple", regions * (len(REGION_SCALES) - 1) * len(RATES_HZ)),
    )


def modulations(bands: torch.Tensor, frame_s: float) -> list[torch.Tensor]:
    """Log strength of motion by band, signed scale, and scale in each region: (b, regions, groups, rates).

    Args:
        bands: compressed power by mel band, >= 0, (b, mels, t).
        frame_s: seconds from frame to frame.
    """
    level = bands.mean(dim=2)  # (b, mels)
    spectrum = torch.fft.rfft(bands - level[:, :, None], dim=2, norm="forward")  # (b, mels, f)
    views = [_pairs(spectrum, level), _whole(spectrum, level), _regions(spectrum, level)]
    strengths = _strengths(views, bands.shape[2] * frame_s)
    return [torch.log(s / view.loudness + 1e-3) for s, view in zip(strengths, views, strict=True)]


def _pairs(spectrum: torch.Tensor, level: torch.Tensor) -> View:
    """Neighbouring bands by twos, 1 x BANDS groups of one row."""
    b, mels, bins = spectrum.shape
    rows = spectrum.view(b, BANDS, mels // BANDS, bins).mean(dim=2)[:, None]
    loud = level.view(b, 1, BANDS, mels // BANDS).mean(dim=3) / 2.0
    return View(rows, loud[..., None] + 5e-4, None)


def _whole(spectrum: torch.Tensor, level: torch.Tensor) -> View:
    """Cycles across all bands; octaves of rising and of falling motion are groups apart."""
    octaves = _octaves(level.shape[1], SCALES, True, level.device)
    loud = level.sum(dim=1)[:, None, None, None]
    return View(torch.fft.fft(spectrum, dim=1)[:, None], loud + 1e-6, octaves)


def _regions(spectrum: torch.Tensor, level: torch.Tensor) -> View:
    """Cycles across each region; octaves are groups."""
    octaves = _octaves(WINDOW, REGION_SCALES, False, level.device)
    taper = torch.hann_window(WINDOW, device=level.device)
    cut = spectrum.unfold(1, WINDOW, WINDOW // 2).transpose(2, 3) * taper[:, None]  # (b, regions, WINDOW, f)
    heard = level.unfold(1, WINDOW, WINDOW // 2) @ taper  # (b, regions)
    loud = heard + 0.02 * WINDOW * level.mean(dim=1, keepdim=True)  # what a near-silent region does is faint
    return View(torch.fft.fft(cut, dim=2), loud[:, :, None, None] + 1e-6, octaves)


def _strengths(views: list[View], seconds: float) -> list[torch.Tensor]:
    """Mean over time of the length of each group's analytic signal at each rate, (b, regions, groups, rates).

    A band-pass keeps few bins of the spectrum: as few instants tell all of what is left.
    """
    rows = torch.cat([view.rows.flatten(1, 2) for view in views], dim=1)  # (b, rows, f)
    sizes = [view.rows.shape[1] * view.rows.shape[2] for view in views]
    found: list[list[torch.Tensor]] = [[] for _ in views]
    for start, responses in _band_passes(rows.shape[2], seconds, rows.device):
        bins = responses.shape[1]
        kept = rows[:, :, None, start : start + bins] * responses  # (b, rows, rates, bins)
        signal = torch.fft.ifft(kept, n=_instants(bins), norm="forward")
        power = signal.real.square().addcmul_(signal.imag, signal.imag)  # (b, rows, rates, instants)
        for heard, view, part in zip(found, views, torch.split(power, sizes, dim=1), strict=True):
            heard.append(_length(part, view))
    return [torch.cat(heard, dim=3) for heard in found]


def _length(power: torch.Tensor, view: View) -> torch.Tensor:
    """Mean over time of the root of the summed power, (b, regions, groups, rates)."""
    b, _, rates, instants = power.shape
    if view.groups is not None:
        power = view.groups @ power.view(*view.rows.shape[:3], rates * instants)
    return power.reshape(b, view.rows.shape[1], -1, rates, instants).sqrt().mean(dim=4)


def _instants(bins: int) -> int:
    """The next length with a fast transform: a power of two, or thrice one."""
    power = 1 << (bins - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= bins else power


@lru_cache(maxsize=64)
def _band_passes(bins: int, seconds: float, device: torch.device) -> Passes:
    """For spectra with so many bins, of so long a sound."""
    octave = (torch.arange(1, bins, dtype=torch.float64) / seconds).log2()  # bin 0 is the mean, which is gone
    rates = torch.tensor(RATES_HZ, dtype=torch.float64).log2()[:, None]
    away = ((octave - rates) / STEP_OCTAVES).clamp(-1.0, 1.0)  # (rates, bins - 1)
    passes = []
    for response in torch.split(torch.cos(away * (math.pi / 2)).square(), TOGETHER):
        heard = (response > 1e-9).any(dim=0).nonzero()
        first, last = int(heard[0]), int(heard[-1]) + 1
        passes.append((first + 1, response[:, first:last].float().to(device)))
    return tuple(passes)


@lru_cache(maxsize=16)
def _octaves(size: int, bounds: tuple[int, ...], signed: bool, device: torch.device) -> torch.Tensor:
    """Gathers cycles across an axis into octaves, (octaves, size): signs apart, or of either sign."""
    cycles = torch.fft.fftfreq(size) * size
    if not signed:
        cycles = cycles.abs()
    spans = [
        (low, high, sign) for low, high in pairwise(bounds) for sign in ((1, -1) if signed and low else (1,))
    ]
    rows = [((sign * cycles >= low) & (sign * cycles < high)).float() for low, high, sign in spans]
    return torch.stack(rows).to(device)
