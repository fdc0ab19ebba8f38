"""What an encoder is: raw descriptors per video in a worker, then one fitted projection for the whole corpus.

Describing needs no statistics of other videos, so any number of workers do it at once. Fitting looks at all
raw descriptors once and freezes what it learnt: its `encoder_version` names code, settings and statistics
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from features.contracts import Floats

if TYPE_CHECKING:  # servers read this without torch
    import torch

Frames = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]


class ClipLike(Protocol):
    """What an encoder reads of a decoded clip; a missing modality is None or empty."""

    @property
    def frames(self) -> Frames | torch.Tensor | None:
        """RGB, uint8, (t, h, w, 3); a tensor where a device decoded them."""

    @property
    def timestamps_s(self) -> Float64s | None:
        """Instant of each frame, s, increasing, (t,); None or empty where unknown."""

    @property
    def audio(self) -> Floats | None:
        """Mono, full scale is 1.0, (n,)."""

    @property
    def sample_rate_hz(self) -> int:
        """Of `audio`, Hz; 0 where there is none."""


class Projector(Protocol):
    """Frozen statistics that turn raw descriptors into unit vectors."""

    @property
    def encoder_version(self) -> str:
        """Names code, settings and fitted statistics: equal versions give equal vectors."""

    @property
    def dims(self) -> dict[str, int]:
        """Length of the vectors of each modality."""

    def project(self, modality: str, raw: Floats) -> Floats:
        """Unit rows, float32, (n, d), from raw descriptors (n, D); a row that carries nothing stays zero."""

    def save(self, directory: Path) -> None:
        """Writes the statistics below the directory, which is made where it is missing."""


class Encoder(Protocol):
    """Turns a clip and its words into raw descriptors, and a corpus of descriptors into a projector."""

    @property
    def descriptor_version(self) -> str:
        """Names code and settings of the raw descriptors: equal versions may be fitted together."""

    def describe(self, clip: ClipLike) -> dict[str, Floats]:
        """Raw descriptors, float32, (D,), finite, by modality; one that is missing or silent is left out."""

    def describe_many(self, clips: Sequence[ClipLike]) -> list[dict[str, Floats]]:
        """What `describe` gives for each clip; faster where the encoder computes several at once."""

    def describe_text(
        self, title: str | None, description: str | None, tags: list[str] | None
    ) -> Floats | None:
        """Raw descriptor of the words, float32, (D,); None where there are none."""

    def fit(self, descriptors: dict[str, Floats]) -> Projector:
        """The projector of a corpus, from raw descriptors (n, D) by modality; n may differ between them."""
