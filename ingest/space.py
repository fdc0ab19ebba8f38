"""From the vectors of each modality to one joint space of the catalogue, with a verdict on its worth."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from features.contracts import MODALITIES, Floats
from features.errors import BadInput, NotFound
from features.tables import Snapshot
from features.workspace import Workspace
from ingest.align import AlignSettings, align
from ingest.encoders.heads import Heads, block_heads
from ingest.fuse import Fused, fuse

log = logging.getLogger(__name__)

SPACE_CODE = "space-code-1"
"""Goes into the version's hash: changes whenever the same input would give other vectors."""


@dataclass(frozen=True, slots=True)
class SpaceSettings:
    """How a space is built."""

    align: AlignSettings = field(default_factory=AlignSettings)
    threads: int = 2
    """Torch threads while training; not part of the version."""


@dataclass(frozen=True, slots=True)
class SpaceBuilt:
    """What was built."""

    space_version: str
    encoder_version: str
    aligned: bool
    """False: the modalities stand side by side, for alignment did not beat its control."""
    recall: float
    """Held-out pairs found among the nearest tenth, [0, 1]; 0 where nothing could be tried."""
    control: float
    """The same after training on shuffled pairs, [0, 1]."""
    videos: int
    """Rows of the space."""


def build_space(
    workspace: Workspace, encoder_version: str | None = None, settings: SpaceSettings | None = None
) -> SpaceBuilt:
    """Builds and commits the joint space of an encoder's embeddings; the same input again is a no-op.

    Args:
        workspace: with embeddings.
        encoder_version: which; None means the newest.
        settings: how.

    Raises:
        NotFound: there are no such embeddings.
        BadInput: vectors of one modality differ in length.
    """
    settings = settings or SpaceSettings()
    encoder_version = encoder_version or _newest_encoder(workspace)
    embeddings = workspace.embeddings(encoder_version)
    snapshot = embeddings.snapshot()
    if not snapshot.rows:
        known = ", ".join(workspace.encoder_versions()) or "none"
        raise NotFound(
            f"there are no embeddings of encoder {encoder_version} in {workspace.root}; it has {known}"
        )
    space_version = _version(encoder_version, snapshot, settings)
    table = workspace.space(space_version)
    if not table.exists():
        frame = embeddings.read(["video_key", "video_id", *MODALITIES])
        frame = frame.unique("video_key", keep="last", maintain_order=True).sort("video_key")
        vectors = stack_modalities(frame)
        heads, said = _choose_heads(vectors, encoder_version, settings)
        heads.save(heads_directory(workspace, space_version))
        table.replace(_to_frame(frame, fuse(vectors, heads)), meta=said)
        log.info("built space_version=%s videos=%d %s", space_version, len(frame), said)
    return _read_built(workspace, space_version)


def heads_directory(workspace: Workspace, space_version: str) -> Path:
    """Where the heads of a space lie."""
    return workspace.space(space_version).path / "heads"


def stack_modalities(frame: pl.DataFrame) -> dict[str, Floats]:
    """Rows (n, d), float32, of each modality's list column; zero rows for nulls, width 0 where all are null.

    Raises:
        BadInput: a modality's vectors differ in length.
    """
    return {modality: _stack(frame[modality], modality) for modality in MODALITIES}


def to_lists(rows: Floats) -> pl.Series:
    """A list column of float32 rows (n, d); null for a zero row."""
    if not rows.shape[1]:
        return pl.Series([None] * len(rows), dtype=pl.List(pl.Float32))
    lists = pl.Series(np.ascontiguousarray(rows, np.float32)).cast(pl.List(pl.Float32))
    nothing = pl.Series([None], dtype=lists.dtype)
    return lists.zip_with(pl.Series(rows.any(axis=1)), nothing)


def _stack(lists: pl.Series, modality: str) -> Floats:
    present = lists.is_not_null().to_numpy()
    lengths = lists.drop_nulls().list.len().unique().to_list()
    if len(lengths) > 1:
        raise BadInput(f"{modality} vectors have lengths {sorted(lengths)}; one encoder gives one length")
    out = np.zeros((len(lists), lengths[0] if lengths else 0), np.float32)
    if out.size:
        out[present] = lists.drop_nulls().explode().to_numpy().reshape(-1, out.shape[1])
    return out


def _newest_encoder(workspace: Workspace) -> str:
    versions = workspace.encoder_versions()
    if not versions:
        raise NotFound(f"{workspace.root} has no embeddings; run `reelrank ingest` first")
    return versions[-1]


def _version(encoder_version: str, snapshot: Snapshot, settings: SpaceSettings) -> str:
    said = json.dumps([SPACE_CODE, encoder_version, snapshot.files, asdict(settings.align)], sort_keys=True)
    return f"space-{hashlib.blake2b(said.encode(), digest_size=4).hexdigest()}"


def _choose_heads(
    vectors: dict[str, Floats], encoder_version: str, settings: SpaceSettings
) -> tuple[Heads, dict[str, object]]:
    """Trained heads where they beat their control, else blocks; and the commit's meta that says so."""
    held = {modality: rows for modality, rows in vectors.items() if rows.shape[1]}
    dims = {modality: rows.shape[1] for modality, rows in held.items()}
    found = align(held, encoder_version, settings.align, settings.threads)
    heads = found.heads if found and found.beats_control else block_heads(encoder_version, dims)
    if found and not heads.aligned:
        log.warning("space not aligned: recall=%.3f control=%.3f", found.recall, found.control)
    said = {
        "encoder_version": encoder_version,
        "aligned": heads.aligned,
        "recall": round(found.recall, 6) if found else 0.0,
        "control": round(found.control, 6) if found else 0.0,
        "dims": {**dims, "joint": heads.dim},
    }
    return heads, said


def _to_frame(frame: pl.DataFrame, fused: Fused) -> pl.DataFrame:
    return frame.select("video_key", "video_id").with_columns(
        to_lists(fused.joint).alias("joint"),
        pl.Series("mask", fused.mask, pl.UInt8),
        pl.Series("agreement", fused.agreement, pl.Float32).fill_nan(None),
    )


def _read_built(workspace: Workspace, space_version: str) -> SpaceBuilt:
    snapshot = workspace.space(space_version).snapshot()
    meta = snapshot.meta
    return SpaceBuilt(
        space_version,
        meta["encoder_version"],
        meta["aligned"],
        meta["recall"],
        meta["control"],
        snapshot.rows,
    )
