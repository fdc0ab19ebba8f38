"""A query to the joint space, without torch: a server answers a text query in well under a millisecond."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.contracts import Floats
from features.errors import BadInput, NotFound, VersionMismatch
from features.workspace import Workspace
from ingest.encoders import projector
from ingest.encoders.heads import Heads, load_heads
from ingest.encoders.projector import FittedProjector, load_projector
from ingest.encoders.text import describe_text


@dataclass(frozen=True, slots=True)
class QueryEncoder:
    """What a bundle needs to understand a query."""

    heads: Heads
    projector: FittedProjector | None
    """None for imported embeddings: whoever made them has the encoder."""

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
        return QueryEncoder(found, fitted)

    @property
    def dim(self) -> int:
        """Length of joint vectors."""
        return self.heads.dim

    def text(self, words: str) -> Floats | None:
        """Unit vector, float32, (d,), in the joint space; None where the words say nothing to this catalogue.

        Raises:
            BadInput: the space was built without text, or on imported embeddings.
        """
        self._check("text")
        raw = describe_text(words)
        return None if raw is None else self.vector("text", raw)

    def vector(self, modality: str, raw: Floats) -> Floats | None:
        """Unit vector, float32, (d,), in the joint space, of a raw descriptor; None where it says nothing.

        Raises:
            BadInput: the space was built without this modality, or on imported embeddings.
        """
        fitted = self._check(modality)
        joint = self.heads.by_modality[modality].apply(fitted.project(modality, raw[None]))[0]
        return joint if joint.any() else None

    def _check(self, modality: str) -> FittedProjector:
        if self.projector is None:
            raise BadInput(
                f"no {modality} query is possible: embeddings {self.heads.encoder_version} were imported "
                "without their encoder; ingest the videos, or search by a video's neighbours instead"
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
    found.save(directory)
