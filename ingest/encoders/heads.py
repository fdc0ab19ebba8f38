"""One linear head a modality, from its own unit vectors into the joint space. In NumPy, without torch.

In an aligned space the heads are trained so that the modalities of one video meet. In an unaligned space
each head puts its modality in a block of its own: the mean of present modalities is then their block
concatenation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from features.contracts import MODALITIES, Floats
from features.errors import BadInput
from features.tables import read_json, write_durably
from ingest.encoders.projector import unit_rows

WEIGHTS_FILE, META_FILE = "heads.safetensors", "heads.json"


@dataclass(frozen=True, slots=True)
class Head:
    """Of one modality."""

    mean: Floats
    """(d_in,): subtracted first, so that no modality has a corner of the space to itself."""
    weights: Floats
    """(d_in, d)."""

    def apply(self, vectors: Floats) -> Floats:
        """Unit rows, float32, (n, d), from unit rows (n, d_in); a zero row (missing) stays zero.

        Raises:
            BadInput: vectors of another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise BadInput(
                f"vectors have shape {vectors.shape}, this space was built on (n, {len(self.mean)})"
            )
        present = vectors.any(axis=1, keepdims=True)
        return unit_rows(np.where(present, (vectors - self.mean) @ self.weights, 0.0).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Heads:
    """Of all modalities of one space."""

    encoder_version: str
    aligned: bool
    by_modality: dict[str, Head]

    @property
    def dim(self) -> int:
        """Length of joint vectors; 0 where there is no modality."""
        return next((head.weights.shape[1] for head in self.by_modality.values()), 0)

    def save(self, directory: Path) -> None:
        """Writes `heads.safetensors` and, last, `heads.json`."""
        tensors = {
            f"{modality}.{name}": np.ascontiguousarray(value)
            for modality, head in self.by_modality.items()
            for name, value in (("mean", head.mean), ("weights", head.weights))
        }
        meta = {
            "encoder_version": self.encoder_version,
            "aligned": self.aligned,
            "modalities": list(self.by_modality),
        }
        write_durably(directory / WEIGHTS_FILE, save(tensors))
        write_durably(directory / META_FILE, json.dumps(meta, sort_keys=True).encode())


def load_heads(directory: Path) -> Heads:
    """The heads that `save` wrote.

    Raises:
        NotFound: there are none.
    """
    meta: dict[str, Any] = read_json(directory / META_FILE, "the heads of the space")
    tensors: dict[str, Floats] = load_file(directory / WEIGHTS_FILE)
    by_modality = {m: Head(tensors[f"{m}.mean"], tensors[f"{m}.weights"]) for m in meta["modalities"]}
    return Heads(meta["encoder_version"], meta["aligned"], by_modality)


def block_heads(encoder_version: str, dims: dict[str, int]) -> Heads:
    """Heads that put each modality, unchanged, in a block of its own.

    Args:
        encoder_version: of the vectors.
        dims: length of the vectors by modality.
    """
    names = [modality for modality in MODALITIES if dims.get(modality)]
    total, start, found = sum(dims[name] for name in names), 0, {}
    for name in names:
        size = dims[name]
        weights = np.zeros((size, total), np.float32)
        weights[:, start : start + size] = np.eye(size, dtype=np.float32)
        found[name] = Head(np.zeros(size, np.float32), weights)
        start += size
    return Heads(encoder_version, False, found)
