"""The ways of `fusion.py` in torch, for training: the same formulas, with modalities and ids dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.contracts import MODALITIES, Floats, VideoTable
from ranker.fusion import (
    FITS,
    SIGNALS,
    Fusion,
    check_fusion,
    evidence_of,
    heads_of,
    neutral_fits,
    readable,
)

FIRST_GATE = 0.01
"""Spread of a gate's first weights: all gates start near 1."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence of b videos after some of it was dropped."""

    ids: Tensor
    """(b, d); zero rows where dropped."""
    ids_kept: Tensor
    """1 where the id was kept, (b, 1)."""
    vectors: dict[str, Tensor]
    """Per modality, (b, its length); zero rows where missing or dropped."""
    present: Tensor
    """1 where a modality is there and was kept, (b, m)."""
    signals: Tensor
    """(b, len(SIGNALS))."""


def untrained(kind: str, videos: VideoTable) -> Fusion:
    """A fusion without weights that reads what these videos have; `none` reads no modality.

    Raises:
        BadInput: there is no such fusion.
    """
    check_fusion(kind)
    names = () if kind == "none" else readable(videos)
    return Fusion(kind, names, neutral_fits(videos), {})


class FusionInputs:
    """All videos' evidence as tensors, and what is left of it when some is dropped."""

    def __init__(self, fusion: Fusion, videos: VideoTable) -> None:
        evidence = evidence_of(fusion, videos)
        self.vectors = {name: torch.from_numpy(v) for name, v in evidence.vectors.items()}
        self.present = torch.from_numpy(evidence.present)
        self.signals = torch.from_numpy(evidence.signals)
        self.lengths = {name: v.shape[1] for name, v in self.vectors.items()}
        self.places = [MODALITIES.index(name) for name in fusion.modalities]

    def seen(self, rows: Tensor, kept: dict[str, Tensor], ids: Tensor, ids_kept: Tensor) -> Seen:
        """Evidence of the rows, (b,), under masks of 0 and 1, (b, 1) each; `ids` are theirs, (b, d)."""
        vectors = {name: v[rows] * kept[name] for name, v in self.vectors.items()}
        if not vectors:
            return Seen(ids * ids_kept, ids_kept, {}, self.present[rows], self.signals[rows])
        was = self.present[rows]  # (b, m)
        present = was * torch.cat([kept[name] for name in self.vectors], dim=1)
        return Seen(ids * ids_kept, ids_kept, vectors, present, self._signals(rows, was, present))

    def _signals(self, rows: Tensor, was: Tensor, present: Tensor) -> Tensor:
        """Signals of what is left; fits are known only where nothing was dropped."""
        mask = torch.zeros((len(rows), len(MODALITIES)))
        mask[:, self.places] = present
        whole = (was == present).all(dim=1, keepdim=True).float().expand(-1, len(FITS))
        return self.signals[rows] * torch.cat([mask, mask, whole], dim=1)


class ConcatLayer(nn.Module):
    """See `fusion._concat`."""

    def __init__(self, lengths: dict[str, int], dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.projections = _projections(lengths, dim, generator)
        self.signals = nn.Parameter(torch.zeros(len(SIGNALS), dim))

    def forward(self, seen: Seen) -> Tensor:
        total = seen.ids + seen.signals @ self.signals  # (b, d)
        for name, vectors in seen.vectors.items():
            total = total + vectors @ self.projections[name]
        return total


class GatedLayer(nn.Module):
    """See `fusion._gated`."""

    def __init__(self, lengths: dict[str, int], dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.projections = _projections(lengths, dim, generator)
        self.gates, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for name in lengths:
            looks = normal((sum(lengths.values()), dim), FIRST_GATE, generator).data
            self.gates[name] = nn.Parameter(torch.cat([looks, torch.zeros(len(SIGNALS), dim)]))
            self.biases[name] = nn.Parameter(torch.zeros(dim))

    def forward(self, seen: Seen) -> Tensor:
        total = seen.ids  # (b, d)
        everything = torch.cat([*seen.vectors.values(), seen.signals], dim=1)  # (b, sum of lengths + s)
        for name, vectors in seen.vectors.items():
            gate = 2 * torch.sigmoid(everything @ self.gates[name] + self.biases[name])  # (b, d)
            total = total + gate * (vectors @ self.projections[name])
        return total


class AttentionLayer(nn.Module):
    """See `fusion._attention`; all tokens weigh the same at first."""

    def __init__(self, lengths: dict[str, int], dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.projections = _projections(lengths, dim, generator)
        self.heads, tokens = heads_of(dim), 1 + len(lengths)
        self.key = nn.Parameter(torch.zeros(dim, self.heads))
        self.token_bias = nn.Parameter(torch.zeros(tokens, self.heads))
        self.signals = nn.Parameter(torch.zeros(len(SIGNALS), tokens * self.heads))

    def forward(self, seen: Seen) -> Tensor:
        projected = [vectors @ self.projections[name] for name, vectors in seen.vectors.items()]
        tokens = torch.stack([seen.ids, *projected], dim=1)  # (b, t, d)
        there = torch.cat([seen.ids_kept, seen.present], dim=1)  # (b, t)
        b, t = there.shape
        logits = tokens @ self.key + self.token_bias + (seen.signals @ self.signals).view(b, t, self.heads)
        logits = logits.masked_fill(there[:, :, None] == 0, torch.finfo(logits.dtype).min)  # (b, t, h)
        shares = torch.softmax(logits, dim=1) * there[:, :, None]
        return (shares[:, :, :, None] * tokens.view(b, t, self.heads, -1)).sum(dim=1).view(b, -1)


def make_layer(kind: str, lengths: dict[str, int], dim: int, generator: torch.Generator) -> nn.Module:
    """The untrained layer of a fusion of at least one modality; `lengths` are those of their vectors."""
    layers = {"concat": ConcatLayer, "gated": GatedLayer, "attention": AttentionLayer}
    return layers[kind](lengths, dim, generator)


def weights_of(layer: nn.Module) -> dict[str, Floats]:
    """The layer's weights by the names that `fusion.py` reads."""
    names = {"projections": "projection", "gates": "gate", "biases": "gate_bias"}
    out: dict[str, Floats] = {}
    for path, value in layer.state_dict().items():
        group, dot, modality = path.partition(".")
        out[f"{names[group]}.{modality}" if dot else path] = exported(value)
    return out


def exported(tensor: Tensor) -> Floats:
    """The tensor as float32 of its own in NumPy."""
    return np.array(tensor.detach().numpy(), np.float32, order="C")


def normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> nn.Parameter:
    """A parameter drawn from a normal distribution."""
    return nn.Parameter(torch.randn(shape, generator=generator) * scale)


def _projections(lengths: dict[str, int], dim: int, generator: torch.Generator) -> Any:
    return nn.ParameterDict({n: normal((r, dim), r**-0.5, generator) for n, r in lengths.items()})
