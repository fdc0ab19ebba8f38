"""From the vectors of each modality to one joint space of the catalogue, with a verdict on its worth."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from features.contracts import Floats
from features.errors import BadInput
from features.impute import neighbour_means
from features.neighbours import Neighbours
from features.workspace import Workspace
from ingest.agree import Agreement, judge_agreement
from ingest.align import AlignSettings, CoWatched, align, publishable
from ingest.encoders.heads import Heads
from ingest.fuse import KINDS, Fused, FusionKind, fuse
from ingest.space_inputs import (
    Given,
    digest,
    earlier_spaces,
    hash_inputs,
    heads_directory,
    newest_encoder,
    read_commits,
    read_given,
)

log = logging.getLogger(__name__)

Flags = dict[str, np.ndarray[Any, np.dtype[np.bool_]]]


@dataclass(frozen=True, slots=True)
class SpaceSettings:
    """How a space is built."""

    align: AlignSettings = field(default_factory=AlignSettings)
    fusion: FusionKind = "mean"
    """How present modalities become one vector, see `fuse`."""
    co_watched: bool = False
    """Train on videos that the same people watch too. What is learnt from the log must not be judged on it:
    the item graph holds only what a bundle was trained on."""
    impute: bool = True
    """Fill in a missing modality from the item graph, where there is one."""
    threads: int = 2
    """Torch threads while training; not part of the version."""

    def __post_init__(self) -> None:
        if self.fusion not in KINDS:
            raise BadInput(f"fusion {self.fusion!r} is not one of {', '.join(KINDS)}")


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
    imputed: int
    """Videos with a modality that was filled in from neighbours."""
    warm: bool
    """True where training began at the last space's heads, so that vectors stay near its vectors."""


def build_space(
    workspace: Workspace, encoder_version: str | None = None, settings: SpaceSettings | None = None
) -> SpaceBuilt:
    """Builds and commits the joint space of an encoder's embeddings; the same input again is a no-op.

    Training starts at the heads of the newest space of the same encoder: vectors of one night stay near those
    of the night before.

    Args:
        workspace: with embeddings; groups of near-duplicates and an item graph are used where there are any.
        encoder_version: which; None means the newest.
        settings: how.

    Raises:
        NotFound: there are no such embeddings.
        BadInput: vectors of one modality differ in length, or are not finite.
    """
    settings = settings or SpaceSettings()
    encoder_version = encoder_version or newest_encoder(workspace)
    commits = read_commits(workspace, encoder_version)
    how = asdict(settings)
    how.pop("threads")
    inputs = hash_inputs(encoder_version, commits, how, graph=settings.impute or settings.co_watched)
    built, before = earlier_spaces(workspace, encoder_version, inputs)
    if built:
        if workspace.space_versions()[-1] != built:
            workspace.space(built).append_parts({}, meta={})  # it is the latest again
        return _read_built(workspace, built)
    given = read_given(workspace, encoder_version, before, commits)
    space_version = f"space-{digest([inputs, before])}"
    heads, said = _align(given, encoder_version, settings)
    filled, imputed = _impute(given, settings)
    fused = fuse(filled, heads, settings.fusion, imputed)
    fits = judge_agreement(filled, heads, imputed)
    heads.save(heads_directory(workspace, space_version))
    meta: dict[str, Any] = {
        "inputs": inputs,
        "settings": how,
        "before": before,
        "imputed": int((fused.imputed > 0).sum()),
        **said,
    }
    learnt = bool(meta["imputed"] or meta["co_watched"])
    meta |= {"graph_until_ms": commits.graph.meta.get("until_ms") if learnt else None}
    workspace.space(space_version).replace(_to_frame(given.frame, fused, fits), meta=meta)
    log.info("built space_version=%s videos=%d %s", space_version, len(given.frame), meta)
    return _read_built(workspace, space_version)


def last_settings(workspace: Workspace) -> SpaceSettings:
    """How the newest space was built, for a command that was not told; the defaults where there is none."""
    for version in reversed(workspace.space_versions()):
        how = workspace.space(version).snapshot().meta.get("settings")
        if how:
            return SpaceSettings(**{**how, "align": AlignSettings(**how["align"])})
    return SpaceSettings()


def to_lists(rows: Floats) -> pl.Series:
    """A list column of float32 rows (n, d); null for a zero row."""
    if not rows.shape[1]:
        return pl.Series([None] * len(rows), dtype=pl.List(pl.Float32))
    lists = pl.Series(np.ascontiguousarray(rows, np.float32)).cast(pl.List(pl.Float32))
    nothing = pl.Series([None], dtype=lists.dtype)
    return lists.zip_with(pl.Series(rows.any(axis=1)), nothing)


def _align(given: Given, encoder_version: str, settings: SpaceSettings) -> tuple[Heads, dict[str, object]]:
    """Trained heads where they beat their control, else blocks; and the commit's meta that says so."""
    found = align(
        given.vectors,
        encoder_version,
        settings.align,
        settings.threads,
        shared=given.shared,
        groups=given.groups,
        co_watched=_co_watched(given.neighbours) if settings.co_watched and given.neighbours.edges else None,
        start=given.start,
    )
    dims = {modality: rows.shape[1] for modality, rows in given.vectors.items() if rows.shape[1]}
    heads = publishable(found, encoder_version, dims, given.shared)
    said = {
        "encoder_version": encoder_version,
        "aligned": heads.aligned,
        "recall": round(found.recall, 6) if found else 0.0,
        "control": round(found.control, 6) if found else 0.0,
        "warm": bool(found and found.warm and heads is found.heads),
        "co_watched": bool(found and found.co_watched and heads is found.heads),
        "pairs": {name: asdict(one) for name, one in found.by_pair.items()} if found else {},
        "fusion": settings.fusion,
        "shared": list(given.shared),
        "dims": {**dims, "joint": heads.dim},
    }
    return heads, said


def _co_watched(neighbours: Neighbours) -> CoWatched:
    left = np.repeat(np.arange(len(neighbours)), np.diff(neighbours.offsets))
    return CoWatched(left.astype(np.int64), neighbours.rows.astype(np.int64), neighbours.weights)


def _impute(given: Given, settings: SpaceSettings) -> tuple[dict[str, Floats], Flags]:
    """Vectors with what is missing filled in from neighbours, and where that was done, by modality."""
    if not settings.impute or not given.neighbours.edges:
        return given.vectors, {}
    found = {m: neighbour_means(rows, given.neighbours) for m, rows in given.vectors.items()}
    return {m: rows for m, (rows, _) in found.items()}, {m: flags for m, (_, flags) in found.items()}


def _to_frame(frame: pl.DataFrame, fused: Fused, fits: Agreement) -> pl.DataFrame:
    return frame.with_columns(
        to_lists(fused.joint).alias("joint"),
        pl.Series("mask", fused.mask, pl.UInt8),
        pl.Series("agreement", fused.agreement, pl.Float32).fill_nan(None),
        pl.Series("imputed", fused.imputed, pl.UInt8),
        pl.Series("sound_fit", fits.sound_fit, pl.Float32).fill_nan(None),
        pl.Series("text_fit", fits.text_fit, pl.Float32).fill_nan(None),
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
        meta["imputed"],
        meta["warm"],
    )
