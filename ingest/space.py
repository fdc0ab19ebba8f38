"""From the vectors of each modality to one joint space of the catalogue, with a verdict on its worth."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from features.contracts import MODALITIES, Floats, Int64s
from features.errors import BadInput, NotFound
from features.impute import neighbour_means
from features.neighbours import Neighbours, neighbours_of
from features.tables import Snapshot
from features.workspace import Workspace
from ingest.agree import Agreement, judge_agreement
from ingest.align import AlignSettings, CoWatched, align, publishable
from ingest.alignment.corpus import ALONE
from ingest.encoders.heads import META_FILE, Heads, load_heads
from ingest.fuse import KINDS, Fused, FusionKind, fuse

log = logging.getLogger(__name__)

SPACE_CODE: Final = "space-code-2"
"""Goes into the version's hash: changes whenever the same input would give other vectors."""

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


@dataclass(frozen=True, slots=True)
class _Commits:
    """One state of each table that a space is built from: whoever writes meanwhile changes nothing."""

    embeddings: Snapshot
    duplicates: Snapshot
    graph: Snapshot


@dataclass(frozen=True, slots=True)
class _Given:
    """All that a space is built from."""

    frame: pl.DataFrame
    """`video_key` and `video_id` of n videos, by key."""
    vectors: dict[str, Floats]
    """Unit rows (n, d) by modality, zero rows where it is missing; (n, 0) for one where no video has any."""
    shared: tuple[str, ...]
    groups: Int64s
    """Near-duplicates have the same number, (n,)."""
    neighbours: Neighbours
    start: Heads | None


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
    encoder_version = encoder_version or _newest_encoder(workspace)
    tables = workspace.embeddings(encoder_version), workspace.duplicates, workspace.item_graph
    commits = _Commits(*(table.snapshot() for table in tables))
    if not commits.embeddings.rows:
        known = ", ".join(workspace.encoder_versions()) or "none"
        raise NotFound(
            f"there are no embeddings of encoder {encoder_version} in {workspace.root}; it has {known}"
        )
    inputs = _hash_inputs(encoder_version, commits, settings)
    built, before = _earlier(workspace, encoder_version, inputs)
    if built:
        if workspace.space_versions()[-1] != built:
            workspace.space(built).append_parts({}, meta={})  # it is the latest again
        return _read_built(workspace, built)
    given = _read_given(workspace, encoder_version, before, commits)
    space_version = f"space-{_digest([inputs, before])}"
    heads, said = _align(given, encoder_version, settings)
    filled, imputed = _impute(given, settings)
    fused = fuse(filled, heads, settings.fusion, imputed)
    fits = judge_agreement(filled, heads, imputed)
    heads.save(heads_directory(workspace, space_version))
    meta: dict[str, Any] = {
        "inputs": inputs,
        "before": before,
        "imputed": int((fused.imputed > 0).sum()),
        **said,
    }
    learnt = bool(meta["imputed"] or meta["co_watched"])
    meta |= {"graph_until_ms": commits.graph.meta.get("until_ms") if learnt else None}
    workspace.space(space_version).replace(_to_frame(given.frame, fused, fits), meta=meta)
    log.info("built space_version=%s videos=%d %s", space_version, len(given.frame), meta)
    return _read_built(workspace, space_version)


def heads_directory(workspace: Workspace, space_version: str) -> Path:
    """Where the heads of a space lie."""
    return workspace.space(space_version).path / "heads"


def stack_modalities(frame: pl.DataFrame) -> dict[str, Floats]:
    """Rows (n, d), float32, of each modality's list column; zero rows for nulls, width 0 where all are null.

    Raises:
        BadInput: a modality's vectors differ in length, or are not finite.
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
        flat = lists.drop_nulls().explode().to_numpy().reshape(-1, out.shape[1])
        broken = int((~np.isfinite(flat)).any(axis=1).sum())
        if broken:
            raise BadInput(f"{modality} vectors of {broken} video(s) hold NaN or infinity; embed these again")
        out[present] = flat
    return out


def _newest_encoder(workspace: Workspace) -> str:
    versions = workspace.encoder_versions()
    if not versions:
        raise NotFound(f"{workspace.root} has no embeddings; run `reelrank ingest` first")
    return versions[-1]


def _hash_inputs(encoder_version: str, commits: _Commits, settings: SpaceSettings) -> str:
    how = asdict(settings)
    how.pop("threads")
    others = [commits.duplicates.files]
    if settings.impute or settings.co_watched:
        others.append(commits.graph.files)
    return _digest([SPACE_CODE, encoder_version, commits.embeddings.files, others, how])


def _digest(said: object) -> str:
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=4).hexdigest()


def _earlier(workspace: Workspace, encoder_version: str, inputs: str) -> tuple[str | None, str | None]:
    """The space of these very inputs, and the newest one of this encoder that has heads, where there are."""
    before = None
    for version in reversed(workspace.space_versions()):
        meta = workspace.space(version).snapshot().meta
        if meta.get("inputs") == inputs:
            return version, before
        kept = (heads_directory(workspace, version) / META_FILE).exists()
        if before is None and meta.get("encoder_version") == encoder_version and kept:
            before = version
    return None, before


def _read_given(workspace: Workspace, encoder_version: str, before: str | None, commits: _Commits) -> _Given:
    embeddings = workspace.embeddings(encoder_version)
    frame = embeddings.read(["video_key", "video_id", *MODALITIES], at=commits.embeddings)
    frame = frame.unique("video_key", keep="last", maintain_order=True).sort("video_key")
    keys = frame["video_key"].to_numpy()
    alike = workspace.duplicates.read(["video_key", "group_key"], at=commits.duplicates)
    groups = frame.select("video_key").join(alike, on="video_key", how="left")
    graph = workspace.item_graph.read(at=commits.graph)
    edges = [graph[name].to_numpy() for name in ("video_key", "neighbour_key", "weight")]
    return _Given(
        frame=frame.select("video_key", "video_id"),
        vectors=_stacked(frame),
        shared=tuple(commits.embeddings.meta.get("shared", ())),
        groups=groups.sort("video_key")["group_key"].fill_null(ALONE).to_numpy().astype(np.int64),
        neighbours=neighbours_of(keys, *edges),
        start=load_heads(heads_directory(workspace, before)) if before else None,
    )


def _stacked(frame: pl.DataFrame) -> dict[str, Floats]:
    """The modalities that some video has; where there is none, one without length says how many videos."""
    stacked = stack_modalities(frame)
    return {m: rows for m, rows in stacked.items() if rows.shape[1]} or {
        MODALITIES[0]: stacked[MODALITIES[0]]
    }


def _align(given: _Given, encoder_version: str, settings: SpaceSettings) -> tuple[Heads, dict[str, object]]:
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


def _impute(given: _Given, settings: SpaceSettings) -> tuple[dict[str, Floats], Flags]:
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
