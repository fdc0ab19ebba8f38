"""What an encoder is: raw descriptors per video in a worker, then one fitted projection for the whole corpus.

Describing needs no statistics of other videos, so any number of workers do it at once. Fitting looks at all
raw descriptors once and freezes what it learnt: its `encoder_version` names code, settings and statistics
together. A model that needs no statistics meets the smaller `VectorEncoder`, and `vectors` makes an encoder
of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from features.contracts import Floats
from ingest.encoders.projector import FittedProjector

if TYPE_CHECKING:  # servers read this without torch
    import torch

Frames = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]
Words = tuple[str | None, str | None, list[str] | None]
"""Title, description and tags of a video."""


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


class Encoder(Protocol):
    """Turns a clip and its words into raw descriptors, and a corpus of descriptors into a projector."""

    @property
    def specs(self) -> tuple[str, ...]:
        """What `choose.make_encoder` makes this encoder of."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that it can embed."""

    @property
    def fitted(self) -> tuple[str, ...]:
        """Modalities whose projection depends on the corpus: `fit` wants descriptors of these only."""

    @property
    def descriptor_version(self) -> str:
        """Names code and settings of raw descriptors of media: equal versions may be fitted together."""

    @property
    def text_version(self) -> str:
        """The same for descriptors of words."""

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities whose vectors lie in one space as they are; none of the default encoder."""

    def describe(self, clip: ClipLike) -> dict[str, Floats]:
        """Raw descriptors, float32, (D,), finite, by modality; one that is missing or silent is left out."""

    def describe_many(self, clips: Sequence[ClipLike]) -> list[dict[str, Floats]]:
        """What `describe` gives for each clip; faster where the encoder computes several at once."""

    def describe_texts(self, texts: Sequence[Words]) -> list[Floats | None]:
        """Raw descriptor of the words of each video, float32, (D,); None where there are none."""

    def fit(self, descriptors: dict[str, Floats]) -> FittedProjector:
        """The projector of a corpus, from raw descriptors (n, D) by modality; n may differ between them."""


class VectorEncoder(Protocol):
    """A model whose vectors need no statistics of a corpus: batch in, unit float32 vectors out."""

    @property
    def encoder_version(self) -> str:
        """Names code, weights and settings: equal versions give equal vectors."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Length of the vectors of each modality that it reads."""

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities whose vectors lie in one space, as those of CLIP do; () for none."""

    @property
    def device(self) -> str:
        """Torch device that computes."""

    @property
    def batch_size(self) -> int:
        """Frames, sounds or texts computed at once; changes no result."""

    def encode(self, modality: str, items: Sequence[Any]) -> Floats:
        """Unit rows, float32, (n, d); a zero row where an item carries nothing, as silence or no words do.

        Args:
            modality: one that it reads.
            items: `visual`: frames of one video each, RGB, uint8, (t, h, w, 3), an array, or a tensor on the
                device that decoded them; `audio`: (samples, mono, (n,) float32; their rate, Hz); `text`: a
                string each.
        """
