"""Frozen statistics of a corpus: raw descriptors in, unit vectors out. In NumPy, for servers without torch.

Per modality: weigh (text only: inverse document frequency, then unit length), centre, scale, clip at 5,
divide each block by the root of its size, rotate onto the principal axes and divide by the fourth root of
their variance. Full whitening would lift axes that hold noise only; the fourth root lifts weak axes
half-way.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from features.contracts import Floats
from features.errors import BadInput
from features.tables import read_json, write_durably

PROJECTOR_VERSION = "pca-1"
MAX_DIM, MIN_DIM = 64, 8
MIN_FIT_ROWS = 16
"""Below this a corpus has no statistics worth the name: raw descriptors are turned at random instead."""
MAX_FIT_ROWS = 20_000
CLIP = 5.0
PARTS = ("weights", "mean", "scale", "limit", "axes")
WEIGHTS_FILE, META_FILE = "projector.safetensors", "projector.json"

Blocks = tuple[tuple[str, int], ...]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Projection:
    """The statistics of one modality."""

    weights: Floats
    """(D,): multiplies raw values; with `unit_rows` the row is then brought to unit length."""
    mean: Floats
    """(D,)."""
    scale: Floats
    """(D,): one over deviation and root of the block's size; zero where a column never changes."""
    limit: Floats
    """(D,): bound of a scaled value on either side."""
    axes: Floats
    """(D, d): principal axes over the fourth root of their variance."""
    unit_rows: bool
    """True for text, whose rows differ in length."""

    def apply(self, raw: Floats) -> Floats:
        """Unit rows, float32, (n, d); zero where the raw row is zero, not finite, or the very mean."""
        rows = np.where(np.isfinite(raw).all(axis=1, keepdims=True), raw, 0.0).astype(np.float32)
        usable = np.asarray((rows * self.weights).any(axis=1, keepdims=True))
        centred = _weigh(rows, self.weights, self.unit_rows) - self.mean
        turned = np.clip(centred * self.scale, -self.limit, self.limit) @ self.axes
        return unit_rows(np.where(usable, turned, 0.0).astype(np.float32))


@dataclass(frozen=True, slots=True)
class FittedProjector:
    """The projections of all modalities, and the version that names them."""

    encoder_version: str
    descriptor_version: str
    projections: dict[str, Projection]

    @property
    def dims(self) -> dict[str, int]:
        """Length of the vectors of each modality."""
        return {name: projection.axes.shape[1] for name, projection in self.projections.items()}

    def project(self, modality: str, raw: Floats) -> Floats:
        """Unit rows, float32, (n, d), from raw descriptors (n, D); a row that carries nothing stays zero.

        Raises:
            BadInput: the modality was not fitted, or the descriptors are of another length.
        """
        if modality not in self.projections:
            known = ", ".join(self.projections)
            raise BadInput(f"encoder {self.encoder_version} has no {modality}; it has {known}")
        projection = self.projections[modality]
        if raw.ndim != 2 or raw.shape[1] != len(projection.mean):
            size = len(projection.mean)
            raise BadInput(f"{modality} descriptors have shape {raw.shape}, expected (n, {size})")
        return projection.apply(raw)

    def save(self, directory: Path) -> None:
        """Writes `projector.safetensors` and, last, `projector.json`."""
        tensors = {f"{m}.{n}": value for m, p in self.projections.items() for n, value in _tensors(p).items()}
        meta = {
            "encoder_version": self.encoder_version,
            "descriptor_version": self.descriptor_version,
            "unit_rows": {m: p.unit_rows for m, p in self.projections.items()},
        }
        write_durably(directory / WEIGHTS_FILE, save(tensors))
        write_durably(directory / META_FILE, json.dumps(meta, sort_keys=True).encode())


def load_projector(directory: Path) -> FittedProjector:
    """The projector that `save` wrote.

    Raises:
        NotFound: there is none.
        BadInput: its files do not belong together.
    """
    meta: dict[str, Any] = read_json(directory / META_FILE, "the encoder's projector")
    tensors: dict[str, Floats] = load_file(directory / WEIGHTS_FILE)
    lost = [f"{m}.{n}" for m in meta["unit_rows"] for n in PARTS if f"{m}.{n}" not in tensors]
    if lost:
        raise BadInput(
            f"{directory / WEIGHTS_FILE} lacks {', '.join(lost)}; restore the file or ingest again"
        )
    projections = {
        modality: Projection(**{name: tensors[f"{modality}.{name}"] for name in PARTS}, unit_rows=unit)
        for modality, unit in meta["unit_rows"].items()
    }
    return FittedProjector(meta["encoder_version"], meta["descriptor_version"], projections)


def fit_projector(
    prefix: str, descriptor_version: str, blocks: dict[str, Blocks], descriptors: dict[str, Floats]
) -> FittedProjector:
    """The projector of a corpus.

    Args:
        prefix: start of the version's name.
        descriptor_version: of the raw descriptors.
        blocks: of every modality that this encoder knows: names and sizes, in order.
        descriptors: raw rows (n, D) by modality; one that is absent or has no rows can still be projected.

    Raises:
        BadInput: an unknown modality or a wrong length.
    """
    for modality, raw in descriptors.items():
        size = sum(n for _, n in blocks.get(modality, ()))
        if raw.ndim != 2 or raw.shape[1] != size:
            raise BadInput(f"{modality} descriptors have shape {raw.shape}, expected (n, {size})")
    projections = {
        modality: _fit_one(descriptors.get(modality, _no_rows(parts)), parts, unit=modality == "text")
        for modality, parts in blocks.items()
    }
    version = f"{prefix}-{_digest(descriptor_version, projections)}"
    return FittedProjector(version, descriptor_version, projections)


def unit_rows(rows: Floats) -> Floats:
    """Each row over its Euclidean length; rows shorter than 1e-9 become zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(np.where(length > 1e-9, rows / np.maximum(length, 1e-9), 0.0), np.float32)


def _no_rows(blocks: Blocks) -> Floats:
    return np.zeros((0, sum(size for _, size in blocks)), np.float32)


def _fit_one(raw: Floats, blocks: Blocks, *, unit: bool) -> Projection:
    raw = raw[np.isfinite(raw).all(axis=1) & raw.any(axis=1)]
    if len(raw) > MAX_FIT_ROWS:
        raw = raw[np.linspace(0, len(raw) - 1, MAX_FIT_ROWS).astype(np.int64)]
    root = np.concatenate([np.full(size, 1.0 / np.sqrt(size), np.float32) for _, size in blocks])
    if len(raw) < MIN_FIT_ROWS:
        return _turn_at_random(root, unit=unit)
    weights = _inverse_frequency(raw) if unit else np.ones_like(root)
    rows = _weigh(raw, weights, unit)
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    if unit:  # tf-idf values are comparable already, and a rare word's deviation would blow it up
        scale, limit = np.ones_like(root), np.full_like(root, np.inf)
    else:
        scale = np.where(deviation > 1e-6, root / np.maximum(deviation, 1e-6), 0.0)
        limit = CLIP * root
    centred = np.clip((rows - mean) * scale, -limit, limit)
    axes = _principal_axes(centred)
    found = {"weights": weights, "mean": mean, "scale": scale, "limit": limit, "axes": axes}
    return Projection(
        **{name: np.asarray(value, np.float32) for name, value in found.items()}, unit_rows=unit
    )


def _turn_at_random(root: Floats, *, unit: bool) -> Projection:
    # Too few rows to learn from: block-scaled values, turned into fewer dimensions by one fixed rotation.
    size = len(root)
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((size, min(MAX_DIM, size))))[0]
    return Projection(
        np.ones(size, np.float32),
        np.zeros(size, np.float32),
        root,
        np.full(size, np.inf, np.float32),
        turn.astype(np.float32),
        unit_rows=unit,
    )


def _inverse_frequency(raw: Floats) -> Floats:
    # A bucket that no document fills says nothing of this corpus: weight 0, so unknown words do not count.
    filled = (raw != 0).sum(axis=0)
    return np.where(filled > 0, np.log((1.0 + len(raw)) / (1.0 + filled)) + 1.0, 0.0).astype(np.float32)


def _weigh(raw: Floats, weights: Floats, unit: bool) -> Floats:
    return unit_rows(raw * weights) if unit else raw


def _principal_axes(centred: Doubles) -> Doubles:
    n, size = centred.shape
    most = min(MAX_DIM, max(MIN_DIM, n // 4))  # further axes of a small corpus hold its accidents
    if n < size:  # the small Gram matrix has the same non-zero spectrum
        values, left = np.linalg.eigh(centred @ centred.T / n)
        values, left = values[::-1][:most], left[:, ::-1][:, :most]
        vectors = centred.T @ left / np.sqrt(np.maximum(values, 1e-12) * n)
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred / n)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
    kept = values > 1e-4 * max(values[0], 1e-12)
    if not kept.any():
        kept[0] = True
    signs = np.sign(
        vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    )  # eigh leaves them open
    vectors = (vectors * signs)[:, kept]
    return np.asarray(vectors / np.maximum(values[kept], 1e-12) ** 0.25, np.float64)


def _tensors(projection: Projection) -> dict[str, Floats]:
    return {name: np.ascontiguousarray(getattr(projection, name)) for name in PARTS}


def _digest(descriptor_version: str, projections: dict[str, Projection]) -> str:
    said = hashlib.blake2b(f"{PROJECTOR_VERSION} {descriptor_version}".encode(), digest_size=4)
    for modality in sorted(projections):
        for name, value in _tensors(projections[modality]).items():
            said.update(f"{modality}.{name}".encode() + value.tobytes())
    return said.hexdigest()
