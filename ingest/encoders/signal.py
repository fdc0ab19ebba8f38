"""The default encoder: no weights, no download, the same vectors on every run.

Raw descriptors come from `picture`, `sound` and `text`; `projector` learns what is common in a corpus and
freezes it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from features.contracts import Floats
from features.errors import BadInput
from ingest.encoders.picture import PICTURE_BLOCKS, PICTURE_VERSION, describe_pictures
from ingest.encoders.projector import FittedProjector, fit_projector
from ingest.encoders.protocol import ClipLike, Words
from ingest.encoders.sound import SOUND_BLOCKS, SOUND_VERSION, describe_sounds
from ingest.encoders.text import TEXT_BLOCKS, TEXT_VERSION, describe_text

log = logging.getLogger(__name__)

BLOCKS = {"visual": PICTURE_BLOCKS, "audio": SOUND_BLOCKS, "text": TEXT_BLOCKS}
SIZES = {modality: sum(size for _, size in blocks) for modality, blocks in BLOCKS.items()}
TOGETHER = {"cpu": 1, "cuda": 32}
"""Clips computed at once: a CPU's cache holds one, a GPU takes 1.5 GB for 32."""


@dataclass(frozen=True, slots=True)
class SignalEncoder:
    """Meets `protocol.Encoder`. Holds no state, so one serves any number of clips."""

    device: str = "cpu"
    """Torch device that computes: "cpu", "cuda", "cuda:1". It computes in single precision on each, so that
    descriptors of two devices may be fitted together."""
    threads: int | None = 1
    """Torch threads of the whole process, set by `start`; None leaves them."""
    together: int | None = None
    """Clips computed at once; None chooses by the device. Changes no result."""

    def __post_init__(self) -> None:
        if self.device.partition(":")[0] not in TOGETHER:
            raise BadInput(f"device {self.device!r} is not one of {', '.join(TOGETHER)}")
        if self.together is not None and self.together < 1:
            raise BadInput(f"{self.together} clips together; at least 1 is needed")

    @property
    def specs(self) -> tuple[str, ...]:
        """What `choose.make_encoder` makes it of."""
        return ("signal",)

    @property
    def reads(self) -> tuple[str, ...]:
        """All modalities."""
        return tuple(BLOCKS)

    @property
    def fitted(self) -> tuple[str, ...]:
        """All modalities."""
        return tuple(BLOCKS)

    @property
    def descriptor_version(self) -> str:
        """Names code and settings of raw descriptors of media."""
        return f"signal-{PICTURE_VERSION}-{SOUND_VERSION}"

    @property
    def text_version(self) -> str:
        """Names code and settings of raw descriptors of words."""
        return TEXT_VERSION

    @property
    def shared(self) -> tuple[str, ...]:
        """No two modalities meet before they are aligned."""
        return ()

    def start(self) -> SignalEncoder:
        """Sets the process's torch threads; a worker calls it once, before its first clip."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return self

    def describe(self, clip: ClipLike) -> dict[str, Floats]:
        """Raw descriptors, float32, (D,), finite; no `audio` for silence, no `visual` without frames."""
        return self.describe_many([clip])[0]

    def describe_many(self, clips: Sequence[ClipLike]) -> list[dict[str, Floats]]:
        """What `describe` gives, clip by clip, whatever else is among them."""
        device = torch.device(self.device)
        together = self.together or TOGETHER[device.type]
        found: list[dict[str, Floats]] = [{} for _ in clips]
        with torch.inference_mode():
            seen = [(i, (c.frames, c.timestamps_s)) for i, c in enumerate(clips) if c.frames is not None]
            heard = [(i, (c.audio, c.sample_rate_hz)) for i, c in enumerate(clips) if c.audio is not None]
            visual = describe_pictures([video for _, video in seen], device, together)
            audio = describe_sounds([sound for _, sound in heard], device, together)
        for modality, places, rows in (("visual", seen, visual), ("audio", heard, audio)):
            for (place, _), raw in zip(places, rows, strict=True):
                if raw is not None:
                    found[place][modality] = raw
        return found

    def describe_texts(self, texts: Sequence[Words]) -> list[Floats | None]:
        """Raw descriptor of the words of each video, float32, (D,); None where there are none."""
        return [describe_text(*words) for words in texts]

    def fit(self, descriptors: dict[str, Floats]) -> FittedProjector:
        """The projector of a corpus, from raw descriptors (n, D) by modality; n may differ between them."""
        projector = fit_projector(
            "signal", f"{self.descriptor_version}-{self.text_version}", BLOCKS, descriptors
        )
        counts = " ".join(f"{modality}={len(raw)}" for modality, raw in descriptors.items())
        log.info("fitted encoder_version=%s %s", projector.encoder_version, counts)
        return projector
