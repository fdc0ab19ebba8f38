"""Many modalities, one vector: the mean of those present, whatever is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts import MODALITIES, Floats
from ingest.encoders.heads import Heads
from ingest.encoders.projector import unit_rows


@dataclass(frozen=True, slots=True)
class Fused:
    """Joint vectors of n videos."""

    joint: Floats
    """Unit rows, float32, (n, d); zero rows where no modality is present."""
    mask: npt.NDArray[np.uint8]
    """Modalities present: visual 1, audio 2, text 4; uint8, (n,)."""
    agreement: Floats
    """Mean cosine between modalities, float32, (n,), [-1, 1]; NaN under two of them or unaligned."""


def fuse(vectors: dict[str, Floats], heads: Heads) -> Fused:
    """Joint vectors, masks and agreement.

    Args:
        vectors: unit rows (n, d_in) by modality, zero rows where it is missing; the same n for all.
        heads: of the space; a modality without a head is in the mask and nowhere else.

    Raises:
        BadInput: vectors of another length than the space was built on.
    """
    n = len(next(iter(vectors.values())))
    mask = np.zeros(n, np.uint8)
    for bit, modality in enumerate(MODALITIES):
        if modality in vectors:
            mask |= vectors[modality].any(axis=1).astype(np.uint8) << np.uint8(bit)
    seen = [heads.by_modality[m].apply(rows) for m, rows in vectors.items() if m in heads.by_modality]
    total = np.zeros((n, heads.dim), np.float32)
    for rows in seen:
        total += rows
    return Fused(unit_rows(total), mask, _agreement(seen, n, heads.aligned))


def _agreement(seen: list[Floats], n: int, aligned: bool) -> Floats:
    cosines, pairs = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for i, one in enumerate(seen if aligned else ()):
        for other in seen[:i]:
            both = one.any(axis=1) & other.any(axis=1)
            cosines += np.einsum("nd,nd->n", one, other)
            pairs += both
    return np.where(pairs > 0, cosines / np.maximum(pairs, 1.0), np.nan).astype(np.float32)
