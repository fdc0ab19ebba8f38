"""Windows of a sound to the input of CLAP: a mel spectrogram in dB, as its feature extractor computes it.

Of a sound longer than 10 s it takes 10 s at random (`rand_trunc`), or three random pieces beside a
squeezed whole (`fusion`). Our windows are never longer: nothing is random. What is left of the two ways are
their mel scales, Slaney's and HTK's, and four equal channels for `fusion`.

In float64: 10 log10 of what lies 100 dB below the loudest band is noise otherwise.

Source: Slaney, Auditory Toolbox, 1998 (mel scale and areas); Young et al., The HTK Book, section 5.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F

from features.errors import BadInput
from ingest.encoders.protocol import Float64s

FLOOR: Final = 1e-10
PADDINGS: Final = ("repeatpad", "repeat", "pad")
TRUNCATIONS: Final = ("rand_trunc", "fusion")
BREAK_HZ, BREAK_MEL, STEPS_OF_6_4 = 1000.0, 15.0, 27.0
"""Slaney's scale is linear up to 1 kHz, 15 mel, and has 27 steps to a factor of 6.4 above."""


@dataclass(frozen=True, slots=True)
class ClapMel:
    """Settings of a feature extractor."""

    rate_hz: int
    seconds: int
    fft: int
    hop: int
    mels: int
    low_hz: float
    high_hz: float
    fusion: bool
    padding: str

    @property
    def length(self) -> int:
        """Samples of a window."""
        return self.rate_hz * self.seconds

    def features(self, windows: torch.Tensor) -> torch.Tensor:
        """float32, (k, 1 or 4, frames, mels), dB, of windows (k, n), n <= length."""
        whole = self._pad(windows).double()
        window = torch.hann_window(self.fft, dtype=torch.float64, device=whole.device)
        spectrum = torch.stft(whole, self.fft, self.hop, window=window, center=True, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()  # (k, bins, frames)
        heard = _mel_bank(self).to(whole.device) @ power  # (k, mels, frames)
        decibel = (10.0 * heard.clamp_min(FLOOR).log10()).float().transpose(1, 2)
        return decibel[:, None].expand(-1, 4 if self.fusion else 1, -1, -1)

    def _pad(self, windows: torch.Tensor) -> torch.Tensor:
        """(k, length)."""
        n = windows.shape[1]
        if self.padding == "repeat":
            return windows.repeat(1, math.ceil(self.length / n))[:, : self.length]
        if self.padding == "repeatpad":
            windows = windows.repeat(1, self.length // n)
        return F.pad(windows, (0, self.length - windows.shape[1]))


def clap_mel(found: Mapping[str, Any], fusion: bool) -> ClapMel:
    """The settings of a feature extractor.

    Args:
        found: its settings, as it saved them.
        fusion: whether the network wants four channels.

    Raises:
        BadInput: settings that are not known, or do not fit the network.
    """
    truncation, padding = found.get("truncation", "fusion"), found.get("padding", "repeatpad")
    if truncation not in TRUNCATIONS or padding not in PADDINGS:
        raise BadInput(
            f"CLAP's settings say truncation={truncation!r} and padding={padding!r}; known are "
            f"{', '.join(TRUNCATIONS)} and {', '.join(PADDINGS)}"
        )
    if (truncation == "fusion") != fusion:
        raise BadInput(
            f"CLAP's settings say truncation={truncation!r}, its network enable_fusion={fusion}; they belong "
            "to two models: fetch both files again"
        )
    return ClapMel(
        int(found.get("sampling_rate", 48_000)),
        int(found.get("max_length_s", 10)),
        int(found.get("fft_window_size", 1024)),
        int(found.get("hop_length", 480)),
        int(found.get("feature_size", 64)),
        float(found.get("frequency_min", 0)),
        float(found.get("frequency_max", 14_000)),
        fusion,
        padding,
    )


@lru_cache(maxsize=8)
def _mel_bank(mel: ClapMel) -> torch.Tensor:
    """float64, (mels, bins): triangles over frequency; of Slaney's, each has the same area."""
    to_mel, to_hz = (_htk_mel, _htk_hz) if mel.fusion else (_slaney_mel, _slaney_hz)
    ends = to_mel(np.array([mel.low_hz, mel.high_hz]))
    edges = to_hz(np.linspace(ends[0], ends[1], mel.mels + 2))
    bins = np.linspace(0.0, mel.rate_hz // 2, mel.fft // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    return torch.from_numpy(bank if mel.fusion else bank * 2.0 / (high - low))


def _htk_mel(hz: Float64s) -> Float64s:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _htk_hz(mel: Float64s) -> Float64s:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def _slaney_mel(hz: Float64s) -> Float64s:
    above = BREAK_MEL + np.log(np.maximum(hz, BREAK_HZ) / BREAK_HZ) * STEPS_OF_6_4 / math.log(6.4)
    return np.where(hz < BREAK_HZ, hz * BREAK_MEL / BREAK_HZ, above)


def _slaney_hz(mel: Float64s) -> Float64s:
    above = BREAK_HZ * np.exp((np.maximum(mel, BREAK_MEL) - BREAK_MEL) * math.log(6.4) / STEPS_OF_6_4)
    return np.where(mel < BREAK_MEL, mel * BREAK_HZ / BREAK_MEL, above)
