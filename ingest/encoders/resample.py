"""A sound at another rate: windowed-sinc interpolation as a few small matrix products. In torch.

Source: J. O. Smith, Digital Audio Resampling Home Page, "Theory of Ideal Bandlimited Interpolation", with a
Hann window over 32 zero crossings. torchaudio's filter of that width is the same, but it keeps one kernel a
phase, each as long as the input's period: 3 GB for 44,099 Hz. Here a group of outputs weighs what it hears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch

ZERO_CROSSINGS = 32
"""A sweep to 7 kHz keeps 79 dB at 16 kHz; six crossings, at two thirds of the cost, leave it 29."""
ROLLOFF = 0.99
"""Share of the lower Nyquist frequency that passes."""
GROUP = 16
"""Outputs of one matrix product: few, so that little is multiplied by zero."""
BLOCK = 160
"""Outputs before the same weights come again, at least."""
MAX_PHASES = 640
"""Enough for all usual rates but 44,056 Hz; the ratio of another is met to 3e-6 at worst."""


@dataclass(frozen=True, slots=True)
class Resampler:
    """Weights for one ratio of rates, on one device."""

    stride: int
    """Inputs of a block."""
    block: int
    """Outputs of a block."""
    reach: int
    """Zeros that a sound needs in front, and twice behind its last block."""
    groups: tuple[tuple[int, int, torch.Tensor], ...]
    """By group: its first input in the padded block, its first output, weights (taps, outputs)."""

    def length(self, n: int) -> int:
        """Samples that n samples become."""
        return math.ceil(n * self.block / self.stride)

    def padded(self, n: int) -> int:
        """Length of a row that holds n samples: a multiple of the stride."""
        return (math.ceil(n / self.stride) + self._idle()) * self.stride

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows at the new rate, (b, m); past a row's own length comes the filter's tail.

        Args:
            rows: (b, padded(n)), contiguous: `reach` zeros, n samples, zeros.
        """
        flat = rows.flatten()
        blocks = len(flat) // self.stride
        whole = blocks - self._idle()
        out = rows.new_zeros(blocks, self.block)
        for first, at, weights in self.groups:
            taps, outputs = weights.shape
            # Blocks overlap in what they hear: a view, not a copy.
            heard = flat.as_strided((whole, taps), (self.stride, 1), first)
            torch.mm(heard, weights, out=out[:whole, at : at + outputs])
        return out.view(len(rows), -1)

    def _idle(self) -> int:
        """Blocks at the end of a row that only hold zeros for the blocks before."""
        return math.ceil((2 * self.reach + 2) / self.stride)


@lru_cache(maxsize=32)
def resampler(ratio: Fraction, device: torch.device) -> Resampler:
    """From a sound to one `ratio` times slower sampled: 44,100 to 16,000 Hz is 441/160."""
    ratio = max(ratio.limit_denominator(MAX_PHASES), Fraction(1, MAX_PHASES))
    periods = math.ceil(BLOCK / ratio.denominator)
    block, stride = ratio.denominator * periods, ratio.numerator * periods
    reach = math.ceil(ZERO_CROSSINGS * max(1.0, float(ratio)) / ROLLOFF)
    groups = tuple(_group(ratio, at, min(at + GROUP, block), reach, device) for at in range(0, block, GROUP))
    return Resampler(stride, block, reach, groups)


def _group(
    ratio: Fraction, at: int, end: int, reach: int, device: torch.device
) -> tuple[int, int, torch.Tensor]:
    """Inputs from `reach` before the first output's instant to `reach` after the last one's."""
    first, last = math.floor(at * ratio), math.ceil((end - 1) * ratio)
    inputs = np.arange(first - reach, last + reach + 1)[:, None]  # (taps, 1)
    instants = np.arange(at, end) * ratio.numerator / ratio.denominator  # (outputs,), in inputs
    pace = ROLLOFF / max(1.0, float(ratio))  # zero crossings an input
    away = np.clip((inputs - instants) * pace, -ZERO_CROSSINGS, ZERO_CROSSINGS)  # (taps, outputs)
    weights = pace * np.sinc(away) * np.cos(away * (np.pi / 2 / ZERO_CROSSINGS)) ** 2
    return first, at, torch.from_numpy(weights.astype(np.float32)).to(device)
