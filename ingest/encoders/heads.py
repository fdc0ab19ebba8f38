"""One linear head a modality, from its own unit vectors into the joint space. In NumPy, without torch.

A space is made of blocks of axes. Modalities that can be compared with each other have one block together:
those that were trained to meet, or whose encoder put them into one space. Any other has a block of its own,
unchanged, so that the mean of present modalities is the concatenation of the blocks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    shift: Floats | None = None
    """(d,): added last, in a space whose mean is not its origin; None adds nothing."""

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
        turned = (vectors - self.mean) @ self.weights
        if self.shift is not None:
            turned = turned + self.shift
        return unit_rows(np.where(present, turned, 0.0).astype(np.float32))

    def placed(self, start: int, total: int) -> Head:
        """The same head into axes `start` and following of a space of `total` axes."""
        before_after = (start, total - start - self.weights.shape[1])
        shift = None if self.shift is None else np.pad(self.shift, before_after)
        return Head(self.mean, np.pad(self.weights, ((0, 0), before_after)), shift)

    def first(self, dim: int) -> Head:
        """The same head into the first axes of its space only, or into all where there are no more."""
        shift = None if self.shift is None else self.shift[:dim]
        return Head(self.mean, np.ascontiguousarray(self.weights[:, :dim]), shift)


@dataclass(frozen=True, slots=True)
class Heads:
    """Of all modalities of one space."""

    encoder_version: str
    aligned: bool
    """True where all modalities can be compared with each other."""
    by_modality: dict[str, Head]
    together: tuple[str, ...] = ()
    """Modalities that can be compared where not all can; () for none, and where all can."""

    @property
    def dim(self) -> int:
        """Length of joint vectors; 0 where there is no modality."""
        return next((head.weights.shape[1] for head in self.by_modality.values()), 0)

    @property
    def comparable(self) -> tuple[str, ...]:
        """Modalities of one block: a cosine between their vectors means something."""
        return tuple(self.by_modality) if self.aligned else self.together

    def save(self, directory: Path) -> None:
        """Writes `heads.safetensors` and, last, `heads.json`."""
        tensors = {
            f"{modality}.{name}": np.ascontiguousarray(value)
            for modality, head in self.by_modality.items()
            for name, value in (("mean", head.mean), ("weights", head.weights), ("shift", head.shift))
            if value is not None
        }
        meta = {
            "encoder_version": self.encoder_version,
            "aligned": self.aligned,
            "modalities": list(self.by_modality),
            "together": list(self.together),
        }
        write_durably(directory / WEIGHTS_FILE, save(tensors))
        write_durably(directory / META_FILE, json.dumps(meta, sort_keys=True).encode())


def load_heads(directory: Path) -> Heads:
    """The heads that `save` wrote, by this version or an earlier one.

    Raises:
        NotFound: there are none.
        BadInput: the two files do not belong together.
    """
    meta: dict[str, Any] = read_json(directory / META_FILE, "the heads of the space")
    tensors: dict[str, Floats] = load_file(directory / WEIGHTS_FILE)
    lost = [f"{m}.{n}" for m in meta["modalities"] for n in ("mean", "weights") if f"{m}.{n}" not in tensors]
    if lost:
        raise BadInput(
            f"{directory / WEIGHTS_FILE} lacks {', '.join(lost)}; restore the file or build the space again"
        )
    by_modality = {
        m: Head(tensors[f"{m}.mean"], tensors[f"{m}.weights"], tensors.get(f"{m}.shift"))
        for m in meta["modalities"]
    }
    return Heads(meta["encoder_version"], meta["aligned"], by_modality, tuple(meta.get("together", ())))


def identity_head(dim: int) -> Head:
    """A head that leaves unit vectors as they are."""
    return Head(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))


def block_heads(encoder_version: str, dims: dict[str, int], shared: tuple[str, ...] = ()) -> Heads:
    """Heads that leave every modality as it is, in a block of its own or in that of its encoder's space.

    Args:
        encoder_version: of the vectors.
        dims: length of the vectors by modality; one of length 0 has no head.
        shared: modalities whose vectors lie in one space as they are.

    Raises:
        BadInput: shared modalities differ in length.
    """
    names = [modality for modality in MODALITIES if dims.get(modality)]
    met = {name: identity_head(dims[name]) for name in names if name in shared}
    rest = {name: identity_head(dims[name]) for name in names if name not in met}
    return stack_blocks(encoder_version, met, rest)


def stack_blocks(encoder_version: str, met: dict[str, Head], alone: dict[str, Head]) -> Heads:
    """A space of one block for modalities that meet, and of one more for each that does not.

    Args:
        encoder_version: of the vectors.
        met: heads into one space.
        alone: heads into one space each.

    Raises:
        BadInput: the heads of `met` lead into spaces of different lengths.
    """
    lengths = {name: head.weights.shape[1] for name, head in met.items()}
    if len(set(lengths.values())) > 1:
        raise BadInput(
            f"modalities of one space have vectors of one length, these have {lengths}; see the encoder"
        )
    blocks = [*([met] if met else []), *({name: head} for name, head in alone.items())]
    by_modality = _side_by_side(blocks)
    aligned = len(met) > 1 and not alone
    together = tuple(met) if len(met) > 1 and alone else ()
    return Heads(
        encoder_version, aligned, {m: by_modality[m] for m in MODALITIES if m in by_modality}, together
    )


def _side_by_side(blocks: Sequence[dict[str, Head]]) -> dict[str, Head]:
    sizes = [next(iter(block.values())).weights.shape[1] for block in blocks]
    found: dict[str, Head] = {}
    total, start = sum(sizes), 0
    for block, size in zip(blocks, sizes, strict=True):
        found |= {name: head.placed(start, total) for name, head in block.items()}
        start += size
    return found
