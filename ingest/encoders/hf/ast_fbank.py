"""Windows of a sound to the input of AST: Kaldi's log mel filter bank, as its feature extractor computes it.

In float32, operation by operation as Kaldi's port does it: its floor hides most of the rounding, not all.

Source: Povey et al., The Kaldi Speech Recognition Toolkit, ASRU 2011, feature-fbank; Gong et al., AST,
Interspeech 2021, section 3.1, for mean and deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
import torch.nn.functional as F
from torchaudio.compliance.kaldi import get_mel_banks

FRAME_S, HOP_S, LOW_HZ, PREEMPHASIS = 0.025, 0.010, 20.0, 0.97
FLOOR: Final = torch.finfo(torch.float32).eps


@dataclass(frozen=True, slots=True)
class AstFbank:
    """Settings of a feature extractor."""

    rate_hz: int
    frames: int
    mels: int
    mean: float
    std: float
    """Twice this divides what is left after the mean; 0.5 where nothing is normalised."""

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return int(self.rate_hz * FRAME_S)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return int(self.rate_hz * HOP_S)

    @property
    def length(self) -> int:
        """Samples of a window: all frames are full."""
        return (self.frames - 1) * self.hop + self.frame

    def features(self, windows: torch.Tensor) -> torch.Tensor:
        """float32, (k, frames, mels), of windows (k, n), n <= length; frames that are not there are zero."""
        whole = F.pad(windows, (0, max(0, self.frame - windows.shape[1])))
        spans = whole.unfold(1, self.frame, self.hop)  # (k, t, frame)
        spans = spans - spans.mean(dim=2, keepdim=True)
        spans = spans - PREEMPHASIS * torch.cat([spans[..., :1], spans[..., :-1]], dim=2)
        spans = spans * torch.hann_window(self.frame, periodic=False, device=spans.device)
        bank = _mel_bank(self.mels, self.frame, self.rate_hz).to(spans.device)
        power = torch.fft.rfft(spans, n=2 * (len(bank) - 1)).abs().square()  # (k, t, bins)
        logs = (power @ bank).clamp_min(FLOOR).log()
        return (F.pad(logs, (0, 0, 0, self.frames - logs.shape[1])) - self.mean) / (2.0 * self.std)


def ast_fbank(found: Mapping[str, Any]) -> AstFbank:
    """The settings of a feature extractor, as it saved them."""
    normal = found.get("do_normalize", True)
    return AstFbank(
        int(found.get("sampling_rate", 16_000)),
        int(found.get("max_length", 1024)),
        int(found.get("num_mel_bins", 128)),
        float(found.get("mean", -4.2677393)) if normal else 0.0,
        float(found.get("std", 4.5689974)) if normal else 0.5,
    )


@lru_cache(maxsize=8)
def _mel_bank(mels: int, frame: int, rate_hz: int) -> torch.Tensor:
    """(bins, mels), of an FFT as long as the next power of two; its last bin is not heard."""
    fft = 1 << (frame - 1).bit_length()
    bank, _ = get_mel_banks(mels, fft, float(rate_hz), LOW_HZ, 0.0, 100.0, -500.0, 1.0)  # (mels, fft / 2)
    return F.pad(bank, (0, 1)).T.contiguous()
