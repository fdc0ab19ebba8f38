"""What heads are trained on: the vectors of a catalogue, and which of its videos belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from features.contracts import Floats, Int64s
from features.errors import BadInput

Vectors = dict[str, Floats]
Pairs = Sequence[tuple[str, str]]
Flags = npt.NDArray[np.bool_]
ALONE = -1
"""Group of a video that has no near-duplicate."""


@dataclass(frozen=True, slots=True)
class CoWatched:
    """Pairs of videos that the same people watch, as row numbers; a pair in one order, or in both."""

    left: Int64s
    """int64, (e,)."""
    right: Int64s
    """int64, (e,)."""
    weights: Floats
    """How alike their audiences are, float32, (e,), > 0."""

    def __post_init__(self) -> None:
        shapes = {self.left.shape, self.right.shape, self.weights.shape}
        if len(shapes) != 1 or self.left.ndim != 1:
            raise BadInput(f"co-watched pairs need three (e,) columns, got shapes {sorted(shapes)}")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise BadInput("weights of co-watched pairs must be finite and > 0; drop the other pairs")

    def among(self, rows: Int64s, n: int) -> CoWatched:
        """The pairs whose videos are both in `rows`, in the numbering of `rows`; n: videos before."""
        place = np.full(n, -1, np.int64)
        place[rows] = np.arange(len(rows))
        left, right = place[self.left], place[self.right]
        kept = (left >= 0) & (right >= 0) & (left != right)
        return CoWatched(left[kept], right[kept], self.weights[kept])


@dataclass(frozen=True, slots=True)
class Corpus:
    """n videos."""

    vectors: Vectors
    """By modality: unit rows, float32, (n, d); zero rows where it is missing."""
    groups: Int64s
    """Videos with the same number are near-duplicates, int64, (n,); ALONE for the others."""
    shared: tuple[str, ...] = ()
    """Modalities whose vectors lie in one space as they are: the anchor of the others."""
    co_watched: CoWatched | None = None
    present: dict[str, Flags] = field(init=False)
    """By modality: True where a video has it, (n,)."""

    def __post_init__(self) -> None:
        shapes = {name: rows.shape for name, rows in self.vectors.items()}
        if len({shape[0] for shape in shapes.values()} | {len(self.groups)}) > 1:
            raise BadInput(f"vectors {shapes} and {len(self.groups)} groups are not of the same videos")
        lengths = {shapes[name][1] for name in self.shared}
        if len(lengths) > 1:
            raise BadInput(
                f"{', '.join(self.shared)} cannot share a space: their lengths are {sorted(lengths)}"
            )
        pairs = self.co_watched
        if pairs and len(pairs.left):
            rows = np.concatenate([pairs.left, pairs.right])
            if rows.min() < 0 or rows.max() >= len(self):
                raise BadInput(
                    f"co-watched row {rows.max() if rows.max() >= len(self) else rows.min()} is not one of "
                    f"{len(self)} videos; drop pairs with videos that the catalogue no longer has"
                )
        object.__setattr__(self, "present", {name: rows.any(axis=1) for name, rows in self.vectors.items()})

    def __len__(self) -> int:
        return len(self.groups)

    def part(self, rows: Int64s) -> Corpus:
        """Some of the videos; of the co-watched pairs those among them."""
        vectors = {name: held[rows] for name, held in self.vectors.items()}
        pairs = self.co_watched.among(rows, len(self)) if self.co_watched else None
        return Corpus(vectors, self.groups[rows], self.shared, pairs)

    def without_co_watched(self) -> Corpus:
        """The same videos; nobody watched them."""
        return replace(self, co_watched=None)

    def shuffled(self, seed: int) -> Corpus:
        """Every modality keeps its rows and loses its videos; who has which modality stays.

        Near-duplicates and co-watched pairs are left out: they are of videos that are no more.
        """
        rng = np.random.default_rng(seed)
        vectors = {}
        for name, rows in self.vectors.items():
            present = np.flatnonzero(self.present[name])
            vectors[name] = rows.copy()
            vectors[name][present] = rows[rng.permutation(present)]
        return Corpus(vectors, np.full(len(self), ALONE, np.int64), self.shared)

    def pairs(self, min_pairs: int) -> list[tuple[str, str]]:
        """Pairs of modalities that enough videos have both of, and that do not share a space already."""
        found = []
        for a, b in combinations(self.vectors, 2):
            common = int((self.present[a] & self.present[b]).sum())
            if common >= min_pairs and not {a, b} <= set(self.shared):
                found.append((a, b))
        return found
