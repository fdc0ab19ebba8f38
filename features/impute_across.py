"""A missing modality from all that is known of a video: its other modalities, and its neighbours.

Ridge regression from the other modalities' vectors, the neighbours' mean and flags of which are there, fitted
on videos that have the modality. It is used where it comes clearly nearer to held-out vectors than the
neighbours' mean does; else that mean stands, and a video that no neighbour reaches stays without. Without a
graph the other modalities alone are asked, and have to come nearer than the mean of all videos.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.contracts import MODALITIES, Floats, Int64s, modality_bits
from features.impute import Flags, mean_of_neighbours, neighbour_means, unit_or_zero
from features.neighbours import Neighbours

RIDGES = (1.0, 10.0, 100.0)
"""Penalties that are tried; a video's unit vectors add about 1 to each modality's trace."""
MAX_FITTED = 50_000
"""Most videos that a regression is fitted on, drawn evenly."""
HELD_OUT = 0.2
"""Share of those that choose the penalty and decide whether the regression is used."""
MIN_FITTED = 200
"""With fewer videos that have the modality only neighbours are asked."""
ERRORS = 2.0
"""Standard errors by which the regression has to be nearer."""
PORTION = 65_536
"""Videos whose inputs are laid side by side at a time."""


@dataclass(frozen=True, slots=True)
class Imputed:
    """Vectors of n videos after imputation."""

    vectors: dict[str, Floats]
    """Per modality: unit rows, float32, (n, d); present ones as given, zero rows where nothing is known."""
    imputed: npt.NDArray[np.uint8]
    """Modalities that were filled in: visual 1, audio 2, text 4; uint8, (n,)."""
    said: dict[str, dict[str, Any]]
    """Per modality that some video lacks: method, rows filled, mean cosines to held-out vectors."""


def impute(vectors: Mapping[str, Floats], neighbours: Neighbours | None, *, seed: int = 7) -> Imputed:
    """All modalities, each with its missing rows filled in where something is known.

    Args:
        vectors: by modality, unit rows, float32, (n, d), zero where missing; d is 0 where no video has it.
        neighbours: of the same n videos, nothing later than they know comes into the vectors; None asks the
            other modalities only.
        seed: of the draw of held-out videos.

    Raises:
        BadInput: as `neighbour_means`.
    """
    filled, said = dict(vectors), {}
    new: dict[str, Flags] = {}
    for name in MODALITIES:
        there = vectors[name].any(axis=1) if name in vectors else np.ones(0, bool)
        if there.any() and not there.all():
            filled[name], new[name], said[name] = _fill(name, vectors, neighbours, seed)
    n = max(map(len, vectors.values()), default=0)
    return Imputed(filled, modality_bits(new, n), said)


def _fill(
    name: str, vectors: Mapping[str, Floats], neighbours: Neighbours | None, seed: int
) -> tuple[Floats, Flags, dict[str, Any]]:
    """One modality's vectors, which rows were filled, and what is said of it."""
    own = vectors[name]
    weights, said = _regression(name, vectors, neighbours, seed)
    if weights is None:
        nothing = own, np.zeros(len(own), bool)
        out, new = nothing if neighbours is None else neighbour_means(own, neighbours)
        method = "none" if neighbours is None else "neighbours"
        return out, new, {"method": method, "filled": int(new.sum()), **said}
    out, new = own.copy(), np.zeros(len(own), bool)
    missing = np.flatnonzero(~own.any(axis=1)).astype(np.int64)
    for start in range(0, len(missing), PORTION):
        rows = missing[start : start + PORTION]
        known = _known(name, vectors, neighbours, rows)
        out[rows] = unit_or_zero(known @ weights) * known[:, :-1].any(axis=1, keepdims=True)
    new[missing] = out[missing].any(axis=1)
    return out, new, {"method": "across", "filled": int(new.sum()), **said}


def _regression(
    name: str, vectors: Mapping[str, Floats], neighbours: Neighbours | None, seed: int
) -> tuple[Floats | None, dict[str, Any]]:
    """Weights (f, d), or None where neighbours alone do as well; and both methods' mean cosine."""
    there = np.flatnonzero(vectors[name].any(axis=1)).astype(np.int64)
    if len(there) < MIN_FITTED:
        return None, {}
    drawn = np.random.default_rng(seed).permutation(there)[:MAX_FITTED]
    cut = int(len(drawn) * HELD_OUT)
    held, fitted = np.sort(drawn[:cut]), np.sort(drawn[cut:])
    wanted, known = vectors[name][held], _known(name, vectors, neighbours, held)
    found = _ridges(_known(name, vectors, neighbours, fitted), vectors[name][fitted])
    tried = [(_cosines(known @ weights, wanted), weights) for weights in found]
    across, weights = max(tried, key=lambda one: float(one[0].mean()))
    rival = _cosines(_without_regression(vectors[name], neighbours, fitted, held), wanted)
    gain = across - rival
    said = {"cosine_across": float(across.mean()), "cosine_rival": float(rival.mean())}
    better = gain.mean() > ERRORS * gain.std() / len(gain) ** 0.5
    return (weights if better else None), said


def _without_regression(own: Floats, neighbours: Neighbours | None, fitted: Int64s, held: Int64s) -> Floats:
    """What would be said of the held-out videos: their neighbours' mean, else the mean of all, (m, d)."""
    centre = own[fitted].mean(axis=0)
    if neighbours is None:
        return np.broadcast_to(centre, (len(held), own.shape[1]))
    around = mean_of_neighbours(own, neighbours, held)
    return np.where(around.any(axis=1, keepdims=True), around, centre)


def _known(name: str, vectors: Mapping[str, Floats], neighbours: Neighbours | None, rows: Int64s) -> Floats:
    """Inputs of the regression, float32, (m, f): vectors, then flags of which are there, then 1."""
    others = [held[rows] for other, held in vectors.items() if other != name and held.shape[1]]
    around = [] if neighbours is None else [mean_of_neighbours(vectors[name], neighbours, rows)]
    parts = [*others, *around]
    flags = [part.any(axis=1, keepdims=True).astype(np.float32) for part in parts]
    return np.concatenate([*parts, *flags, np.ones((len(rows), 1), np.float32)], axis=1)


def _ridges(known: Floats, wanted: Floats) -> list[Floats]:
    """Weights by penalty, float32, (f, d)."""
    gram = (known.T @ known).astype(np.float64)
    cross = (known.T @ wanted).astype(np.float64)
    eye = np.eye(len(gram))
    return [np.linalg.solve(gram + ridge * eye, cross).astype(np.float32) for ridge in RIDGES]


def _cosines(rows: Floats, wanted: Floats) -> Floats:
    return np.asarray((unit_or_zero(rows) * wanted).sum(axis=1), np.float32)
