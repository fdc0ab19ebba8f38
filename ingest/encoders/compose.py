"""Several encoders as one: each modality is read by the encoder that was chosen for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from features.contracts import MODALITIES, Floats
from ingest.encoders.projector import FittedProjector, Projection
from ingest.encoders.protocol import ClipLike, Encoder, Float64s, Frames, Words


@dataclass(frozen=True, slots=True)
class ComposedEncoder:
    """Meets `protocol.Encoder`."""

    by_modality: dict[str, Encoder]
    """Encoder of each modality; a modality without one is not embedded."""
    specs: tuple[str, ...]
    """What `choose.make_encoder` makes it of."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities that are embedded."""
        return tuple(self.by_modality)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Modalities whose own encoder fits them on the corpus."""
        return tuple(m for m, encoder in self.by_modality.items() if m in encoder.fitted)

    @property
    def descriptor_version(self) -> str:
        """The version of the encoder that reads picture and sound; of two, both in one hash."""
        media = [m for m in ("visual", "audio") if m in self.by_modality]
        reads = {id(self.by_modality[m]): self.by_modality[m] for m in media}
        if len(reads) == 1 and len(media) == 2:  # the same descriptors, whoever reads the words
            return next(iter(reads.values())).descriptor_version
        return _together([f"{m}={self.by_modality[m].descriptor_version}" for m in media])

    @property
    def text_version(self) -> str:
        """The version of the encoder of words."""
        return self.by_modality["text"].text_version if "text" in self.by_modality else "none"

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities of one encoder whose vectors lie in one space as they are."""
        for encoder in self._encoders():
            held = tuple(m for m in encoder.shared if self.by_modality.get(m) is encoder)
            if len(held) > 1:
                return held
        return ()

    def describe(self, clip: ClipLike) -> dict[str, Floats]:
        """Raw descriptors, float32, (D,), by modality."""
        return self.describe_many([clip])[0]

    def describe_many(self, clips: Sequence[ClipLike]) -> list[dict[str, Floats]]:
        """What `describe` gives for each clip; no encoder is shown a modality that is not its own."""
        found: list[dict[str, Floats]] = [{} for _ in clips]
        for encoder in self._encoders():
            own = {m for m, chosen in self.by_modality.items() if chosen is encoder}
            if own & {"visual", "audio"}:
                shown = [_only(clip, own) for clip in clips]
                for place, raw in enumerate(encoder.describe_many(shown)):
                    found[place] |= {m: row for m, row in raw.items() if m in own}
        return found

    def describe_texts(self, texts: Sequence[Words]) -> list[Floats | None]:
        """Raw descriptor of the words of each video; None where there are none, or nobody reads them."""
        if "text" not in self.by_modality:
            return [None] * len(texts)
        return self.by_modality["text"].describe_texts(texts)

    def fit(self, descriptors: dict[str, Floats]) -> FittedProjector:
        """The projections of each encoder for its own modalities, under a version that names all of them."""
        projections: dict[str, Projection] = {}
        versions: list[str] = []
        for encoder in self._encoders():
            own = {m for m, chosen in self.by_modality.items() if chosen is encoder}
            fitted = encoder.fit({m: raw for m, raw in descriptors.items() if m in own})
            projections |= {m: p for m, p in fitted.projections.items() if m in own}
            versions += [f"{m}={fitted.encoder_version}" for m in MODALITIES if m in own]
        return FittedProjector(_together(versions), self.descriptor_version, projections)

    def _encoders(self) -> list[Encoder]:
        """Each encoder once."""
        return list({id(encoder): encoder for encoder in self.by_modality.values()}.values())


@dataclass(frozen=True, slots=True)
class _Shown:
    """What one encoder is shown of a clip."""

    frames: Frames | None
    timestamps_s: Float64s | None
    audio: Floats | None
    sample_rate_hz: int


def _only(clip: ClipLike, own: set[str]) -> ClipLike:
    seen, heard = "visual" in own, "audio" in own
    return _Shown(
        clip.frames if seen else None,  # type: ignore[arg-type]
        clip.timestamps_s if seen else None,
        clip.audio if heard else None,
        clip.sample_rate_hz if heard else 0,
    )


def _together(versions: Sequence[str]) -> str:
    return f"mix-{hashlib.blake2b(' '.join(versions).encode(), digest_size=6).hexdigest()}"
