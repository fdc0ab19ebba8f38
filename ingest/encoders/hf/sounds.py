"""Sounds to a network's input: one row a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ingest.encoders.hf.ast_fbank import AstFbank
from ingest.encoders.hf.batching import Batch, regroup
from ingest.encoders.hf.clap_mel import ClapMel
from ingest.encoders.hf.windows import cut_windows


@dataclass(frozen=True, slots=True)
class SoundReader:
    """How a model reads sounds: one row a window."""

    spectrum: ClapMel | AstFbank
    dim: int
    network: Callable[[Any, torch.Tensor], torch.Tensor]
    """(model, (n, …)) -> (n, dim)."""

    def batches(self, items: Sequence[Any], size: int, device: torch.device) -> Iterator[Batch]:
        """Prepared windows of all sounds; one that is silent has none."""
        return regroup(self._rows(items, device), size)

    def vectors(self, model: Any, batch: Batch) -> torch.Tensor:
        """(n, dim), one a window."""
        return self.network(model, batch.inputs)

    def _rows(self, items: Sequence[Any], device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
        for place, sound in enumerate(items):
            windows = cut_windows(sound, self.spectrum.rate_hz, self.spectrum.length, device)
            if windows is not None:
                yield place, self.spectrum.features(windows)
