"""One vector of a video from its id and its modalities, without torch: the ways to put them together.

`concat` is one linear map of everything side by side; `gated` adds projections, each scaled by what the other
modalities and the signals say; `attention` weighs one token for the id and one for each modality that is
there, in several heads. All see the same signals: which modalities are there, which of them were filled in
from neighbours, and how well they agree. `fusion_torch.py` holds the same formulas for training; a test says
that both agree. Sources: gates, Arevalo et al., "Gated Multimodal Units", ICLR workshop 2017, with several
modalities and a gate a dimension; attention pooling with a learned query, Lee et al., "Set Transformer",
ICML 2019, section 3.2, with one seed and no feed-forward part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.contracts import MODALITIES, Floats, VideoTable
from features.errors import BadInput

FUSIONS: Final = ("concat", "gated", "attention", "none")
"""Ways to put a video's id and modalities together; `none` knows the id alone."""

DEFAULT_FUSION: Final = "gated"

SIGNALS: Final = (
    *(f"has_{name}" for name in MODALITIES),
    *(f"filled_{name}" for name in MODALITIES),
    "agreement",
    "sound_fit",
    "text_fit",
)
"""Columns of `Evidence.signals`."""

FITS: Final = ("agreement", "sound_fit", "text_fit")
"""Those that compare modalities, and are known only where all that a video has are looked at."""

HEADS: Final = 4
"""Of attention; fewer where they do not divide the dimension."""

BLOCK: Final = 65_536
"""Videos fused at a time: bounds the memory."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a tower reads modalities, and the weights it learnt."""

    kind: str
    """One of FUSIONS."""
    modalities: tuple[str, ...]
    """Those that are read, in the order of MODALITIES."""
    neutral: Floats
    """What stands for an unknown fit, and is taken from a known one, float32, (len(FITS),)."""
    weights: dict[str, Floats]
    """By name, see the functions below."""
    silent: frozenset[str] = frozenset()
    """Modalities that are not looked at although they are there."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n videos beside their ids."""

    vectors: dict[str, Floats]
    """Per modality that is read: unit rows, float32, (n, its length); zero rows where it is missing."""
    present: Floats
    """1 where a modality's vector is there, float32, (n, modalities that are read)."""
    signals: Floats
    """float32, (n, len(SIGNALS)); all 0 where nothing is there."""


def check_fusion(kind: str) -> None:
    """Nothing, if there is such a fusion.

    Raises:
        BadInput: there is none.
    """
    if kind not in FUSIONS:
        raise BadInput(f"fusion {kind!r} is unknown; choose one of {', '.join(FUSIONS)}")


def readable(videos: VideoTable) -> tuple[str, ...]:
    """Modalities that at least one video has."""
    return tuple(name for name in MODALITIES if name in videos.vectors and videos.vectors[name].any())


def fits_of(videos: VideoTable) -> Floats:
    """Columns of FITS, float32, (n, len(FITS)); NaN where unknown."""
    return np.stack([getattr(videos, name) for name in FITS], axis=1).astype(np.float32)


def neutral_fits(videos: VideoTable) -> Floats:
    """Mean of each fit where it is known, float32, (len(FITS),); 0 where none is."""
    fits = fits_of(videos)
    known = np.isfinite(fits)
    sums = np.where(known, fits, 0.0).sum(axis=0, dtype=np.float64)
    return np.asarray(sums / np.maximum(known.sum(axis=0), 1), np.float32)


def evidence_of(fusion: Fusion, videos: VideoTable, rows: slice = slice(None)) -> Evidence:
    """What a fusion looks at in some rows of a table."""
    count = len(range(*rows.indices(len(videos))))
    vectors = {name: _looked_at(fusion, videos, name)[rows] for name in fusion.modalities}
    there = {name: np.asarray(v.any(axis=1)) for name, v in vectors.items()}
    bits = [there.get(name, np.zeros(count, bool)) for name in MODALITIES]
    filled = [bit & ((videos.imputed[rows] >> at) & 1).astype(bool) for at, bit in enumerate(bits)]
    fits = fits_of(videos)[rows] - fusion.neutral
    usable = np.isfinite(fits) & (not fusion.silent) & np.any(bits, axis=0)[:, None]
    signals = np.concatenate(
        [np.stack([*bits, *filled], axis=1), np.where(usable, fits, np.float32(0))], axis=1
    )
    present = np.stack(list(there.values()), axis=1) if there else np.zeros((count, 0))
    return Evidence(vectors, present.astype(np.float32), signals.astype(np.float32))


def fuse(fusion: Fusion, ids: Floats, videos: VideoTable) -> Floats:
    """Sum of id and modalities before it is brought to unit length, float32, (n, d).

    Args:
        fusion: what was learnt.
        ids: embedding of each video, (n, d); zero rows for videos without one.
        videos: the same n videos.

    Returns:
        A zero row for a video of which nothing is known.
    """
    if not fusion.modalities:
        return ids.copy()
    way = {"concat": _concat, "gated": _gated, "attention": _attention}[fusion.kind]
    parts = [way(fusion, ids[rows], evidence_of(fusion, videos, rows)) for rows in _blocks(len(videos))]
    return np.concatenate([np.zeros((0, ids.shape[1]), np.float32), *parts]).astype(np.float32)


def without(fusion: Fusion, modalities: frozenset[str]) -> Fusion:
    """The fusion that does not look at these modalities, and so at no fit between modalities either."""
    taken = modalities & frozenset(fusion.modalities)
    return replace(fusion, silent=fusion.silent | taken) if taken else fusion


def heads_of(dim: int) -> int:
    """How many heads divide the dimension, at most HEADS."""
    return next(heads for heads in range(HEADS, 0, -1) if dim % heads == 0)


def _concat(fusion: Fusion, ids: Floats, evidence: Evidence) -> Floats:
    """id + [vectors, signals] W."""
    w = fusion.weights
    total = ids + evidence.signals @ w["signals"]
    for name, vectors in evidence.vectors.items():
        total = total + vectors @ w[f"projection.{name}"]
    return np.asarray(total)


def _gated(fusion: Fusion, ids: Floats, evidence: Evidence) -> Floats:
    """id + sum over modalities of 2 sigmoid([vectors, signals] G + g) * (vector P)."""
    w, total = fusion.weights, ids
    everything = np.concatenate(
        [*evidence.vectors.values(), evidence.signals], axis=1
    )  # (n, sum of lengths + s)
    for name, vectors in evidence.vectors.items():
        gate = 2.0 / (1.0 + np.exp(-(everything @ w[f"gate.{name}"] + w[f"gate_bias.{name}"])))  # (n, d)
        total = total + gate * (vectors @ w[f"projection.{name}"])
    return np.asarray(total)


def _attention(fusion: Fusion, ids: Floats, evidence: Evidence) -> Floats:
    """Per head: softmax of (token k + signals s + bias) over tokens that are there, then their mean."""
    w = fusion.weights
    projected = [vectors @ w[f"projection.{name}"] for name, vectors in evidence.vectors.items()]
    tokens = np.stack([ids, *projected], axis=1)  # (n, t, d)
    known = np.asarray(ids.any(axis=1))
    there = np.concatenate([known[:, None], evidence.present > 0], axis=1)  # (n, t)
    n, t, heads = len(ids), tokens.shape[1], w["key"].shape[1]
    logits = tokens @ w["key"] + w["token_bias"] + (evidence.signals @ w["signals"]).reshape(n, t, heads)
    logits = np.where(there[:, :, None], logits, -np.inf)  # (n, t, h)
    highest = np.maximum(logits.max(axis=1), np.finfo(np.float32).min)  # finite where no token is there
    shares = np.exp(logits - highest[:, None])  # 0 where a token is missing
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    values = tokens.reshape(n, t, heads, -1)
    return np.asarray((shares[:, :, :, None] * values).sum(axis=1).reshape(n, -1))


def _looked_at(fusion: Fusion, videos: VideoTable, name: str) -> Floats:
    vectors = videos.vectors[name]
    return np.zeros_like(vectors) if name in fusion.silent else vectors


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))
