"""An encoder made of a model whose vectors need no statistics of the corpus.

What a model gives is checked here, batch by batch: a vector that is not finite or not of unit length would
be found much later, and nobody would know where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.contracts import MODALITIES, Floats
from features.errors import BadInput
from ingest.encoders.projector import FittedProjector, Projection
from ingest.encoders.protocol import ClipLike, VectorEncoder, Words

VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""It names directories."""
UNIT: Final = 1e-3
"""How far from 1 the length of a vector may be; half precision comes that near."""


@dataclass(frozen=True, slots=True)
class ModelEncoder:
    """Meets `protocol.Encoder`; the model's vectors are its raw descriptors."""

    model: VectorEncoder
    spec: str
    """What `choose.make_encoder` makes it of."""

    def __post_init__(self) -> None:
        version, dims = self.model.encoder_version, self.model.dims
        if not isinstance(version, str) or not VERSION.fullmatch(version):
            raise BadInput(
                f"{self.spec} calls itself {version!r}; use up to 80 letters, digits, dots and dashes"
            )
        unknown = sorted({*dims, *self.model.shared} - set(MODALITIES))
        if unknown or not dims:
            raise BadInput(
                f"{self.spec} reads {', '.join(unknown) or 'nothing'}; known are {', '.join(MODALITIES)}"
            )
        lengths = {modality: dims[modality] for modality in self.model.shared if modality in dims}
        if len(set(lengths.values())) > 1:
            raise BadInput(
                f"{self.spec} says that vectors of lengths {lengths} share a space; give one length"
            )

    @property
    def specs(self) -> tuple[str, ...]:
        """What it is made of."""
        return (self.spec,)

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that the model embeds."""
        return tuple(modality for modality in MODALITIES if modality in self.model.dims)

    @property
    def fitted(self) -> tuple[str, ...]:
        """None: a model needs no corpus."""
        return ()

    @property
    def descriptor_version(self) -> str:
        """The model's version."""
        return self.model.encoder_version

    @property
    def text_version(self) -> str:
        """The model's version."""
        return self.model.encoder_version

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities whose vectors lie in one space as they are."""
        return tuple(self.model.shared)

    def describe(self, clip: ClipLike) -> dict[str, Floats]:
        """Vectors, float32, (d,), by modality; one that is missing or carries nothing is left out."""
        return self.describe_many([clip])[0]

    def describe_many(self, clips: Sequence[ClipLike]) -> list[dict[str, Floats]]:
        """What `describe` gives for each clip."""
        found: list[dict[str, Floats]] = [{} for _ in clips]
        for modality, read in READ.items():
            items = [(i, item) for i, clip in enumerate(clips) if (item := read(clip)) is not None]
            if modality in self.model.dims and items:
                rows = self._encode(modality, [item for _, item in items])
                for (place, _), row in zip(items, rows, strict=True):
                    if row.any():
                        found[place][modality] = row
        return found

    def describe_texts(self, texts: Sequence[Words]) -> list[Floats | None]:
        """Vector of the words of each video, float32, (d,); None where there are none."""
        if not texts or "text" not in self.model.dims:
            return [None] * len(texts)
        rows = self._encode("text", [as_sentence(words) for words in texts])
        return [row if row.any() else None for row in rows]

    def fit(self, descriptors: dict[str, Floats]) -> FittedProjector:
        """The projector that leaves vectors as they are, whatever the corpus."""
        version = self.model.encoder_version
        projections = {modality: unchanged(dim) for modality, dim in self.model.dims.items()}
        return FittedProjector(version, version, projections)

    def _encode(self, modality: str, items: list[Any]) -> Floats:
        rows = np.asarray(self.model.encode(modality, items))
        expected = (len(items), self.model.dims[modality])
        if rows.shape != expected or rows.dtype != np.float32:
            raise BadInput(
                f"{self.spec} gave {modality} vectors {rows.shape} of {rows.dtype}, not {expected} of float32"
            )
        lengths = np.linalg.norm(rows, axis=1)
        wrong = ~((np.abs(lengths - 1.0) <= UNIT) | (lengths == 0.0))
        if wrong.any():
            raise BadInput(
                f"{self.spec} gave a {modality} vector of length {lengths[wrong][0]:.4g}; "
                "give unit vectors, or zeros where there is nothing to say"
            )
        return rows


def as_sentence(words: Words) -> str:
    """Title, description and tags as one text, for models that read sentences.

    Example:
        >>> as_sentence(("Blue drums", None, ["sea", "night"]))
        'Blue drums. sea, night'
    """
    title, description, tags = words
    parts = [part.strip() for part in (title, description, ", ".join(tags or ())) if part and part.strip()]
    return ". ".join(parts)


def unchanged(dim: int) -> Projection:
    """A projection that gives unit vectors back as they are."""
    ones, free = np.ones(dim, np.float32), np.full(dim, np.inf, np.float32)
    axes = np.eye(dim, dtype=np.float32)
    return Projection(ones, np.zeros(dim, np.float32), ones, free, axes, unit_rows=False)


def _frames(clip: ClipLike) -> Any:
    return clip.frames if clip.frames is not None and clip.frames.ndim == 4 and len(clip.frames) else None


def _sound(clip: ClipLike) -> Any:
    return (clip.audio, clip.sample_rate_hz) if clip.audio is not None and len(clip.audio) else None


READ: Final[dict[str, Callable[[ClipLike], Any]]] = {"visual": _frames, "audio": _sound}
"""What a model is given of a clip, by modality; None where there is nothing."""
