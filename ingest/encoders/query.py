"""A query to the joint space, without torch: a server answers a text query in well under a millisecond.

Several queries together are placed where a video with these parts would lie: each modality counts once,
whoever brought it, and several of one modality are averaged first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.contracts import MODALITIES, Floats, VideoTable
from features.errors import BadInput, NotFound, VersionMismatch
from features.tables import read_json, write_durably
from features.workspace import Workspace
from ingest.encoders import projector
from ingest.encoders.heads import Head, Heads, load_heads
from ingest.encoders.projector import FittedProjector, load_projector, unit_rows
from ingest.encoders.text import TEXT_VERSION, describe_text

ORIGIN_FILE: Final = "origin.json"
SHORT: Final = 1e-6
"""A vector shorter than this is none."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the catalogue was embedded with."""

    specs: tuple[str, ...] = ("signal",)
    """What `choose.make_encoder` makes that encoder of."""
    media_version: str = ""
    """Of the raw descriptors of media; empty where it was not noted, in older workspaces."""
    text_version: str = TEXT_VERSION
    """Of the raw descriptors of words."""
    shared: tuple[str, ...] = ()
    """Modalities whose vectors lie in one space as they are."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of a query can be compared: one block of the joint space's axes."""

    axes: slice
    """Of the block."""
    vector: Floats
    """Unit vector, float32, as long as the block."""
    by: tuple[str, ...]
    """Modalities of videos that lie in the block."""


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody looks for."""

    modalities: tuple[str, ...]
    """Those that the query has and that say something."""
    joint: Floats
    """Unit vector in the joint space, float32, (d,)."""
    parts: tuple[Part, ...]
    """One where the space is aligned."""
    aligned: bool
    """False: not every modality of a video is compared with the query."""

    @property
    def note(self) -> str | None:
        """What has to be said of the answer; None where all modalities are compared."""
        if self.aligned:
            return None
        by = ", ".join(name for part in self.parts for name in part.by)
        return f"not all modalities are aligned: compared by {by} alone, a video's own or its neighbours'"

    def cosines(self, videos: VideoTable) -> Floats:
        """How near each video is, float32, (n,), [-1, 1]; -inf where it has nothing to be compared by.

        The mean over the parts of the query; a part that the video lacks counts 0.

        Raises:
            BadInput: the videos are of another space.
        """
        if videos.joint.shape[1] != len(self.joint):
            raise BadInput(
                f"the query has length {len(self.joint)}, the videos {videos.joint.shape[1]}; they are of "
                "two spaces, train again"
            )
        total, present = np.zeros(len(videos), np.float32), np.zeros(len(videos), bool)
        for part in self.parts:
            rows = videos.joint[:, part.axes]
            lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
            total += rows @ part.vector / np.maximum(lengths, SHORT)
            present |= lengths > SHORT
        return np.where(present, total / len(self.parts), -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class QueryEncoder:
    """What a bundle needs to understand a query."""

    heads: Heads
    projector: FittedProjector | None
    """None for imported embeddings: whoever made them has the encoder."""
    origin: Origin = Origin()

    @staticmethod
    def load(directory: Path) -> QueryEncoder:
        """What `save_query_encoder` wrote.

        Raises:
            NotFound: nothing is there.
            VersionMismatch: heads and projector are of different encoders.
        """
        found = load_heads(directory)
        if not (directory / projector.META_FILE).exists():
            return QueryEncoder(found, None)
        fitted = load_projector(directory)
        if fitted.encoder_version != found.encoder_version:
            raise VersionMismatch(
                f"{directory} has heads on {found.encoder_version}, a projector of {fitted.encoder_version}"
            )
        return QueryEncoder(found, fitted, _load_origin(directory))

    @property
    def dim(self) -> int:
        """Length of joint vectors."""
        return self.heads.dim

    def text(self, words: str) -> Floats | None:
        """Unit vector, float32, (d,), in the joint space; None where the words say nothing to this catalogue.

        Raises:
            BadInput: as `words`.
        """
        query = self.words(words)
        return None if query is None else query.joint

    def words(self, words: str) -> Query | None:
        """The query of these words; None where they say nothing to this catalogue.

        Raises:
            BadInput: the space was built without text, on imported embeddings, or with a model for words.
        """
        self.check("text")
        if self.origin.text_version != TEXT_VERSION:
            raise BadInput(
                f"words were embedded with {self.origin.text_version}, whose weights a server does not load; "
                "`reelrank search` does"
            )
        raw = describe_text(words)
        return None if raw is None else self.query({"text": [raw]})

    def query(self, raw: Mapping[str, Sequence[Floats]]) -> Query | None:
        """The query of raw descriptors, (D,) each, by modality; None where none says anything here.

        Raises:
            BadInput: the space was built without one of the modalities, or on imported embeddings.
        """
        found, total = [], np.zeros((1, self.dim), np.float32)
        for modality in [name for name in MODALITIES if raw.get(name)]:
            fitted = self.check(modality)
            mean = fitted.project(modality, np.stack(raw[modality])).mean(axis=0, keepdims=True)
            placed = self.heads.by_modality[modality].apply(unit_rows(mean))
            if placed.any():
                found.append(modality)
                total = total + placed
        joint = unit_rows(total)[0]
        parts = _parts(self.heads, joint)
        return Query(tuple(found), joint, parts, self.heads.aligned) if parts else None

    def vector(self, modality: str, raw: Floats) -> Floats | None:
        """Unit vector, float32, (d,), in the joint space, of a raw descriptor; None where it says nothing.

        Raises:
            BadInput: the space was built without this modality, or on imported embeddings.
        """
        query = self.query({modality: [raw]})
        return None if query is None else query.joint

    def check(self, modality: str) -> FittedProjector:
        """The projector, where this modality can be asked for; else BadInput says why not."""
        if self.projector is None:
            raise BadInput(
                f"no query is possible: embeddings {self.heads.encoder_version} were imported without their "
                "encoder; ingest the videos, or search by a video's neighbours instead"
            )
        if modality not in self.heads.by_modality:
            known = ", ".join(self.heads.by_modality) or "nothing"
            raise BadInput(f"no {modality} query is possible: this catalogue was embedded from {known} only")
        return self.projector


def encoder_directory(workspace: Workspace, encoder_version: str) -> Path:
    """Where the fitted encoder of embeddings lies."""
    return workspace.embeddings(encoder_version).path / "encoder"


def save_query_encoder(workspace: Workspace, space_version: str, directory: Path) -> None:
    """Copies a space's heads, and its encoder's projector where there is one, into a directory (of a bundle).

    Raises:
        NotFound: there is no such space.
    """
    space = workspace.space(space_version)
    if not space.exists():
        known = ", ".join(workspace.space_versions()) or "none"
        raise NotFound(f"space {space_version} is not in {workspace.root}; it has {known}")
    found = load_heads(space.path / "heads")
    fitted = encoder_directory(workspace, found.encoder_version)
    if (fitted / projector.META_FILE).exists():
        load_projector(fitted).save(directory)
        _save_origin(workspace.embeddings(found.encoder_version).snapshot().meta, directory)
    found.save(directory)


def _parts(heads: Heads, joint: Floats) -> tuple[Part, ...]:
    """The blocks in which a joint vector has something."""
    alone = [(name,) for name in heads.by_modality if name not in heads.comparable]
    blocks = [names for names in (heads.comparable, *alone) if names]
    placed = [(_axes(heads.by_modality[names[0]], heads.dim, heads.aligned), names) for names in blocks]
    vectors = [(axes, unit_rows(joint[None, axes])[0], names) for axes, names in placed]
    return tuple(Part(axes, vector, names) for axes, vector, names in vectors if vector.any())


def _axes(head: Head, dim: int, aligned: bool) -> slice:
    """The axes that a head can reach."""
    reached = np.flatnonzero(head.weights.any(axis=0))
    return slice(0, dim) if aligned or not len(reached) else slice(int(reached[0]), int(reached[-1]) + 1)


def _save_origin(meta: Mapping[str, Any], directory: Path) -> None:
    said = {
        "specs": list(meta.get("encoder", Origin().specs)),
        # `version=` and the version, with a hash of the decoder's settings behind: a query has its own.
        "media_version": str(meta.get("descriptors", "")).removeprefix("version=").rpartition("-")[0],
        "text_version": meta.get("text", TEXT_VERSION),
        "shared": list(meta.get("shared", ())),
    }
    write_durably(directory / ORIGIN_FILE, json.dumps(said, sort_keys=True).encode())


def _load_origin(directory: Path) -> Origin:
    if not (directory / ORIGIN_FILE).exists():
        return Origin()  # of an earlier release, which knew one encoder only
    said = read_json(directory / ORIGIN_FILE, "what the catalogue was embedded with")
    return Origin(
        tuple(said["specs"]), said["media_version"], said["text_version"], tuple(said.get("shared", ()))
    )
