"""A sound to windows of a network's length and rate."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F

from features.contracts import Floats
from features.errors import BadInput
from ingest.encoders.resample import resampler
from ingest.encoders.sound import MAX_PEAK, MAX_RATE_HZ, MIN_PEAK, MIN_RATE_HZ

MAX_WINDOWS: Final = 8
"""Of one sound, evenly spread; of 10 s each, they hold all that ingest decodes, and more."""


def cut_windows(sound: Any, rate_hz: int, length: int, device: torch.device) -> torch.Tensor | None:
    """Windows of a sound at another rate, float32, (k, n): 1 <= k <= MAX_WINDOWS, n <= length.

    A sound no longer than one window is that window, unpadded. A longer one gives whole windows that together
    reach from its start to its end; they overlap where it is no multiple of them, and leave gaps where it is
    longer than MAX_WINDOWS. Windows that are silent are left out.

    Args:
        sound: (samples, mono, (n,); their rate, Hz). Values that are not finite count as zero.
        rate_hz: of the windows.
        length: samples of a window.
        device: where to compute.

    Returns:
        None where all is silent, constant, empty, or below 80 Hz of sample rate.

    Raises:
        BadInput: samples of another shape.
    """
    samples, given_hz = sound
    if np.ndim(samples) != 1:
        raise BadInput(f"a sound has shape {np.shape(samples)}; expected mono samples, (n,)")
    if given_hz < MIN_RATE_HZ or not len(samples):
        return None
    wave, given_hz = _waveform(samples, given_hz, device)
    rows = _rows(wave, math.ceil(length * given_hz / rate_hz))
    rows = rows[(rows - rows.mean(dim=1, keepdim=True)).abs().amax(dim=1) >= MIN_PEAK]
    if not len(rows):
        return None
    return _at_rate(rows, given_hz / rate_hz)[:, :length].contiguous()


def _waveform(samples: Floats, rate_hz: int, device: torch.device) -> tuple[torch.Tensor, Fraction]:
    """The sound on the device, and its rate: of one that is sampled too fast, neighbours are averaged."""
    wave = torch.from_numpy(np.require(samples, np.float32, ["C", "W"])).to(device)
    wave = torch.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0).clamp_(-MAX_PEAK, MAX_PEAK)
    many = math.ceil(rate_hz / MAX_RATE_HZ)
    if many > 1:
        wave = F.avg_pool1d(wave[None], many, ceil_mode=True)[0]
    return wave, Fraction(rate_hz, many)


def _rows(wave: torch.Tensor, length: int) -> torch.Tensor:
    """(k, n), n <= length."""
    if len(wave) <= length:
        return wave[None]
    many = min(MAX_WINDOWS, math.ceil(len(wave) / length))
    starts = np.linspace(0, len(wave) - length, many).round().astype(int)
    return torch.stack([wave[start : start + length] for start in starts.tolist()])


def _at_rate(rows: torch.Tensor, ratio: Fraction) -> torch.Tensor:
    """The rows at a rate `ratio` times lower."""
    if ratio == 1:
        return rows
    change = resampler(ratio, rows.device)
    n = rows.shape[1]
    padded = rows.new_zeros(len(rows), change.padded(n))
    padded[:, change.reach : change.reach + n] = rows
    return change.apply(padded)[:, : change.length(n)]
