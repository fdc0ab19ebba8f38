"""What `open_hf` gives: batches, means over frames and windows, unit vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from features.contracts import Floats
from features.errors import BadInput
from ingest.encoders.hf.families import Reader


@dataclass(frozen=True, slots=True)
class HuggingFaceEncoder:
    """Meets `protocol.VectorEncoder`."""

    encoder_version: str
    shared: tuple[str, ...]
    device: str
    batch_size: int
    model: Any
    """On the CPU until the first call of `encode`, which moves it."""
    readers: Mapping[str, Reader]
    """By modality."""

    @property
    def dims(self) -> dict[str, int]:
        """Length of the vectors by modality."""
        return {modality: reader.dim for modality, reader in self.readers.items()}

    def encode(self, modality: str, items: Sequence[Any]) -> Floats:
        """Unit rows, float32, (n, d); a zero row where an item carries nothing.

        The vector of a video is the mean over its frames' unit vectors, that of a sound over its windows'.

        Args:
            modality: one that the model reads.
            items: `visual`: frames of one video each, RGB, uint8, (t, h, w, 3), arrays or tensors on any
                device; `audio`: (samples, mono, (n,); their rate, Hz); `text`: a string each.

        Raises:
            BadInput: a modality that it does not read, an item of another shape, weights that give no number.
        """
        if modality not in self.readers:
            raise BadInput(f"{self.encoder_version} reads {', '.join(self.readers)}, not {modality}")
        reader, device = self.readers[modality], torch.device(self.device)
        with torch.inference_mode():
            model = self.model.to(device)
            sums = torch.zeros(len(items), reader.dim, device=device)
            for batch in reader.batches(items, self.batch_size, device):
                rows = _unit(reader.vectors(model, batch).float())
                sums.index_add_(0, torch.tensor(batch.places, device=device), rows)
            found: Floats = _unit(sums).cpu().numpy()
        if not np.isfinite(found).all():
            raise BadInput(
                f"{self.encoder_version} gave {modality} vectors that are no numbers; fetch it again"
            )
        return found


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1; a zero row stays zero."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(lengths == 0.0, torch.ones_like(lengths), lengths)
