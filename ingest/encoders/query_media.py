"""A query of words, a picture, a sound, a video, or several of them, read by what embedded the catalogue.

Files are untrusted: they are decoded in the child, within the limits of an ingest. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from features.contracts import Floats
from features.errors import BadInput, VersionMismatch
from ingest.encoders.choose import make_encoder
from ingest.encoders.protocol import Encoder
from ingest.encoders.query import Query, QueryEncoder
from ingest.failures import DecodeFailure
from ingest.isolation import DecoderChild
from ingest.media.decode import Clip, DecodeSettings

Raw = dict[str, list[Floats]]

ONE_FRAME: Final = DecodeSettings(frames=1)
NO_FRAME: Final = DecodeSettings(frames=0)


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for; at least one part."""

    words: str | None = None
    image: Path | None = None
    """One picture: of a video, the one in its middle."""
    audio: Path | None = None
    """A sound: of a video, its sound alone."""
    video: Path | None = None
    """Picture and sound, as far as there are."""

    def __post_init__(self) -> None:
        if self.words is None and not self.files:
            raise BadInput("there is nothing to search for; give words, an image, an audio file or a video")

    @property
    def files(self) -> dict[str, Path]:
        """The files that were given, by what they are."""
        given = {"image": self.image, "audio": self.audio, "video": self.video}
        return {kind: path for kind, path in given.items() if path is not None}


def understand(question: Question, query: QueryEncoder, device: str = "cpu") -> Query:
    """The query in the space of the catalogue.

    Args:
        question: words and files.
        query: of the space.
        device: torch device that computes.

    Raises:
        BadInput: a file that gives no picture or sound, words without a meaning here, or a space that lacks
            what is asked for.
        VersionMismatch: this installation would embed the query otherwise than the catalogue was embedded.
    """
    raw: Raw = {}
    encoder = open_encoder(query, device, media=bool(question.files))
    parts = [*_read_words(question, query, encoder), *_read_files(question, query, encoder)]
    for modality, vector in parts:
        raw.setdefault(modality, []).append(vector)
    found = query.query(raw)
    if found is None:
        raise BadInput(
            "the query says nothing to this catalogue; no video has anything like it, ask otherwise"
        )
    return found


def open_encoder(query: QueryEncoder, device: str = "cpu", *, media: bool = False) -> Encoder:
    """The encoder that the catalogue was embedded with, for words, and where `media` for files too.

    Raises:
        BadInput: it cannot be made here, or the embeddings were imported.
        VersionMismatch: it has changed since.
    """
    for modality in query.heads.by_modality:
        query.check(modality)
    encoder, origin = make_encoder(query.origin.specs, device), query.origin
    versions = [(origin.text_version, encoder.text_version)]
    if media and origin.media_version:
        versions.append((origin.media_version, encoder.descriptor_version))
    for then, now in versions:
        if then != now:
            raise VersionMismatch(
                f"the catalogue was embedded by {then}, {' '.join(origin.specs)} is {now} here; ingest again"
            )
    return encoder


def _read_words(question: Question, query: QueryEncoder, encoder: Encoder) -> Iterator[tuple[str, Floats]]:
    if question.words is None:
        return
    query.check("text")
    [raw] = encoder.describe_texts([(question.words, None, None)])
    if raw is None:
        raise BadInput(
            f"the words {question.words[:80]!r} hold no letter or digit; search for at least one word"
        )
    yield "text", raw


def _read_files(question: Question, query: QueryEncoder, encoder: Encoder) -> Iterator[tuple[str, Floats]]:
    with ExitStack() as stack:
        child = stack.enter_context(DecoderChild()) if question.files else None
        for kind, path in question.files.items():
            assert child is not None
            shown = _decode(kind, path, child)
            raw = encoder.describe_many([shown])[0]
            usable = {name: row for name, row in raw.items() if name in query.heads.by_modality}
            if not usable:
                raise BadInput(_why_nothing(kind, path, shown, query))
            yield from usable.items()


def _decode(kind: str, path: Path, child: DecoderChild) -> Clip:
    """The clip with no more than the kind of query asks for."""
    how = {"image": ONE_FRAME, "audio": NO_FRAME, "video": DecodeSettings()}[kind]
    with TemporaryDirectory(prefix="reelrank-") as folder:
        # Under a name without ending: `.jpg` sends FFmpeg to its reader of numbered files, which is refused.
        bare = Path(folder) / kind
        bare.symlink_to(path.absolute())
        clip = child.decode(bare, how)
    if isinstance(clip, DecodeFailure):
        raise BadInput(f"the {kind} {path} cannot be searched with: {clip.message}")
    return replace(clip, audio=None, sample_rate_hz=0) if kind == "image" else clip


def _why_nothing(kind: str, path: Path, shown: Clip, query: QueryEncoder) -> str:
    has = [name for name, held in (("visual", shown.frames), ("audio", shown.audio)) if held is not None]
    known = query.heads.by_modality
    if has and not any(name in known for name in has):
        return (
            f"the {kind} {path} has {', '.join(has)}, but this catalogue was embedded from "
            f"{', '.join(known)} only"
        )
    if kind != "audio" and shown.frames is None and shown.audio is None:
        return f"the {kind} {path} has no picture in it; give a file that has one"
    if kind == "audio" and shown.audio is None:
        return f"the audio {path} has no sound in it; give a file that has some"
    return f"the {kind} {path} is silent or empty, so nothing is like it; give another"
