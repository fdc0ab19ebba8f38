"""The default encoder: no weights, no download, the same vectors on every run.

Raw descriptors come from `picture`, `sound` and `text`; `projector` learns what is common in a corpus and
freezes it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from features.contracts import Floats
from ingest.encoders.picture import PICTURE_BLOCKS, PICTURE_VERSION, describe_picture
from ingest.encoders.projector import FittedProjector, fit_projector
from ingest.encoders.protocol import ClipLike
from ingest.encoders.sound import SOUND_BLOCKS, SOUND_VERSION, describe_sound
from ingest.encoders.text import TEXT_BLOCKS, TEXT_VERSION, describe_text

log = logging.getLogger(__name__)

BLOCKS = {"visual": PICTURE_BLOCKS, "audio": SOUND_BLOCKS, "text": TEXT_BLOCKS}
SIZES = {modality: sum(size for _, size in blocks) for modality, blocks in BLOCKS.items()}


@dataclass(frozen=True, slots=True)
class SignalEncoder:
    """Meets `protocol.Encoder`. Holds no state, so one serves any number of clips."""

    threads: int | None = 1
    """Torch threads of the whole process, set by `start`; None leaves them."""

    @property
    def descriptor_version(self) -> str:
        """Names code and settings of the raw descriptors."""
        return f"signal-{PICTURE_VERSION}-{SOUND_VERSION}-{TEXT_VERSION}"

    def start(self) -> SignalEncoder:
        """Sets the process's torch threads; a worker calls it once, before its first clip."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return self

    def describe(self, clip: ClipLike) -> dict[str, Floats]:
        """Raw descriptors, float32, (D,), finite; no `audio` for silence, no `visual` without frames."""
        found: dict[str, Floats | None] = {}
        with torch.inference_mode():
            if clip.frames is not None:
                found["visual"] = describe_picture(clip.frames, clip.timestamps_s)
            if clip.audio is not None:
                found["audio"] = describe_sound(clip.audio, clip.sample_rate_hz)
        return {modality: raw for modality, raw in found.items() if raw is not None}

    def describe_text(
        self, title: str | None, description: str | None, tags: list[str] | None
    ) -> Floats | None:
        """Raw descriptor of the words, float32, (D,); None where there are none."""
        return describe_text(title, description, tags)

    def fit(self, descriptors: dict[str, Floats]) -> FittedProjector:
        """The projector of a corpus, from raw descriptors (n, D) by modality; n may differ between them."""
        projector = fit_projector("signal", self.descriptor_version, BLOCKS, descriptors)
        counts = " ".join(f"{modality}={len(raw)}" for modality, raw in descriptors.items())
        log.info("fitted encoder_version=%s %s", projector.encoder_version, counts)
        return projector
