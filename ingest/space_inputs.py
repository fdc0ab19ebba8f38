"""What a space is built from: one state of each table, and the heads of the space before."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from features.contracts import MODALITIES, Floats, Int64s
from features.errors import BadInput, NotFound
from features.neighbours import Neighbours, neighbours_of
from features.tables import Snapshot
from features.workspace import Workspace
from ingest.alignment.corpus import ALONE
from ingest.encoders.heads import META_FILE, Heads, load_heads

SPACE_CODE: Final = "space-code-2"
"""Goes into the version's hash: changes whenever the same input would give other vectors."""


@dataclass(frozen=True, slots=True)
class Commits:
    """One state of each table that a space is built from: whoever writes meanwhile changes nothing."""

    embeddings: Snapshot
    duplicates: Snapshot
    graph: Snapshot


@dataclass(frozen=True, slots=True)
class Given:
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


def read_commits(workspace: Workspace, encoder_version: str) -> Commits:
    """The newest commits of the tables that a space of this encoder is built from.

    Raises:
        NotFound: there are no embeddings of it.
    """
    tables = workspace.embeddings(encoder_version), workspace.duplicates, workspace.item_graph
    commits = Commits(*(table.snapshot() for table in tables))
    if not commits.embeddings.rows:
        known = ", ".join(workspace.encoder_versions()) or "none"
        raise NotFound(
            f"there are no embeddings of encoder {encoder_version} in {workspace.root}; it has {known}"
        )
    return commits


def newest_encoder(workspace: Workspace) -> str:
    """The encoder whose embeddings were committed last; NotFound where there are none."""
    versions = workspace.encoder_versions()
    if not versions:
        raise NotFound(f"{workspace.root} has no embeddings; run `reelrank ingest` first")
    return versions[-1]


def hash_inputs(encoder_version: str, commits: Commits, how: dict[str, Any], *, graph: bool) -> str:
    """Names what a space follows from, but for where its training starts.

    Args:
        encoder_version: of the vectors.
        commits: the tables.
        how: settings that change the result.
        graph: whether the item graph is used.
    """
    others = [commits.duplicates.files, *([commits.graph.files] if graph else [])]
    return digest([SPACE_CODE, encoder_version, commits.embeddings.files, others, how])


def digest(said: object) -> str:
    """8 hex digits of plain values."""
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=4).hexdigest()


def earlier_spaces(workspace: Workspace, encoder_version: str, inputs: str) -> tuple[str | None, str | None]:
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


def read_given(workspace: Workspace, encoder_version: str, before: str | None, commits: Commits) -> Given:
    """Everything at these commits, and the heads of the space before where there is one."""
    embeddings = workspace.embeddings(encoder_version)
    frame = embeddings.read(["video_key", "video_id", *MODALITIES], at=commits.embeddings)
    frame = frame.unique("video_key", keep="last", maintain_order=True).sort("video_key")
    keys = frame["video_key"].to_numpy()
    alike = workspace.duplicates.read(["video_key", "group_key"], at=commits.duplicates)
    groups = frame.select("video_key").join(alike, on="video_key", how="left")
    graph = workspace.item_graph.read(at=commits.graph)
    edges = [graph[name].to_numpy() for name in ("video_key", "neighbour_key", "weight")]
    return Given(
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


def heads_directory(workspace: Workspace, space_version: str) -> Path:
    """Where the heads of a space lie."""
    return workspace.space(space_version).path / "heads"


def stack_modalities(frame: pl.DataFrame) -> dict[str, Floats]:
    """Rows (n, d), float32, of each modality's list column; zero rows for nulls, width 0 where all are null.

    Raises:
        BadInput: a modality's vectors differ in length, or are not finite.
    """
    return {modality: _stack(frame[modality], modality) for modality in MODALITIES}


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
