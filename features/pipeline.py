"""From the tables of a workspace to everything a ranker trains on: the stages of this package in order."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.assemble import FEATURE_NAMES
from features.catalogue import is_bare, register
from features.contracts import VideoTable
from features.definitions import feature_version
from features.errors import BadInput, NotFound
from features.histories import EventLog, LogCounts, build_event_log
from features.merges import with_merges
from features.training_set import training_set
from features.videos import build_video_table
from features.workspace import Workspace

if TYPE_CHECKING:
    from features.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureSet:
    """All that training, recommending and evaluating read, of one state of the workspace."""

    videos: VideoTable
    interactions: pl.DataFrame
    """Columns of INTERACTIONS and `video_key`; only known videos."""
    log: EventLog
    catalogue: pl.DataFrame
    encoder_version: str | None
    space_version: str | None
    feature_version: str
    counts: LogCounts


def build_features(
    workspace: Workspace, *, space_version: str | None = None, max_unknown_share: float = 0.5
) -> FeatureSet:
    """The features of a workspace as it is now.

    Args:
        workspace: where the tables lie.
        space_version: the joint space to use; by default the newest, with the encoder it was built from.
        Without
            any space the newest embeddings, without embeddings none.
        max_unknown_share: largest share of interactions with videos that the catalogue does not have, [0, 1].

    Raises:
        BadInput: there are no interactions, or more than that share names unknown videos.
        NotFound: the named space is not there.
    """
    interactions = with_merges(workspace.interactions.scan(), workspace).collect()
    if not len(interactions):
        raise BadInput(f"there are no interactions in {workspace.root}; run `reelrank events import` first")
    space_version, encoder_version = _versions(workspace, space_version)
    catalogue = _catalogue(workspace, interactions, encoder_version)
    events, counts = build_event_log(interactions, catalogue)
    _refuse_strangers(counts, max_unknown_share)
    known = interactions.join(
        catalogue.select("video_id", "video_key"), on="video_id", how="inner", maintain_order="left"
    )
    return FeatureSet(
        videos=_video_table(workspace, catalogue, space_version, encoder_version),
        interactions=known,
        log=events,
        catalogue=catalogue,
        encoder_version=encoder_version,
        space_version=space_version,
        feature_version=feature_version(),
        counts=counts,
    )


def load_store(features: FeatureSet, store: Store, workspace: Workspace) -> int:
    """Puts all videos' statistics, users' counters and histories into Redis; returns how many users."""
    from features.loading import load_everybody  # Redis is not needed to train
    from features.row_store.statistic_rows import load_statistics

    version = features.feature_version
    load_statistics(store.rows, features.interactions, features.log, features.videos, version)
    return load_everybody(store, workspace, features.log, features.catalogue, features.feature_version)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What was written."""

    rows: int
    features: int
    files: int
    feature_version: str


def write_training_set(
    workspace: Workspace, out: Path, progress: Callable[[int], None] | None = None
) -> TrainingSet:
    """Writes a training set (`training_set`) as Parquet files below a new directory, whole or not at all.

    Args:
        workspace: whose log, catalogue and newest space it is made of.
        out: a directory that is not there yet.
        progress: called with the number of rows written so far.
    """
    table = workspace.interactions
    if not table.exists():
        raise BadInput(f"there are no interactions in {workspace.root}; run `reelrank events import` first")
    space_version, encoder_version = _versions(workspace, None)
    catalogue = workspace.catalogue.read().sort("video_key")
    videos = _video_table(workspace, catalogue, space_version, encoder_version)
    aside = out.parent / f".{out.name}.{os.getpid()}.tmp"
    aside.mkdir(parents=True)
    rows = files = 0
    try:
        log = with_merges(table.scan(), workspace)
        for frame in training_set(log, catalogue, videos, scratch=out.parent):
            frame.write_parquet(aside / f"part-{files:05d}.parquet")
            rows, files = rows + len(frame), files + 1
            if progress:
                progress(rows)
        if not files:
            raise BadInput(
                f"no impression or play in {workspace.root} names a user and has a time, so there is no "
                "example; import a log that does"
            )
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return TrainingSet(rows, len(FEATURE_NAMES), files, feature_version())


def _video_table(
    workspace: Workspace, catalogue: pl.DataFrame, space_version: str | None, encoder_version: str | None
) -> VideoTable:
    space = workspace.space(space_version).read() if space_version else None
    embeddings = workspace.embeddings(encoder_version).read() if encoder_version else None
    return build_video_table(catalogue, space, embeddings)


def _versions(workspace: Workspace, wanted: str | None) -> tuple[str | None, str | None]:
    """The space and the encoder to use."""
    spaces, encoders = workspace.space_versions(), workspace.encoder_versions()
    if wanted is not None and wanted not in spaces:
        raise NotFound(f"space {wanted} is not in {workspace.root}; it has {', '.join(spaces) or 'none'}")
    space = wanted or (spaces[-1] if spaces else None)
    if space is None:
        return None, encoders[-1] if encoders else None
    named = workspace.space(space).snapshot().meta.get("encoder_version")
    return space, str(named) if named in encoders else None


def _catalogue(workspace: Workspace, interactions: pl.DataFrame, encoder_version: str | None) -> pl.DataFrame:
    """The catalogue; where nothing but interactions was ever brought, it is the videos they name."""
    catalogue = workspace.catalogue.read().sort("video_key")
    if encoder_version is None and is_bare(catalogue):  # a space always names an encoder
        named = interactions.sort("order").select(pl.col("video_id").unique(maintain_order=True))
        return register(workspace, named)
    return catalogue


def _refuse_strangers(counts: LogCounts, bound: float) -> None:
    share = counts.unknown_video / max(counts.rows, 1)
    if counts.unknown_video:
        log.warning("unknown_videos rows=%d of=%d share=%.3f", counts.unknown_video, counts.rows, share)
    if share > bound:
        raise BadInput(
            f"{counts.unknown_video} of {counts.rows} interactions ({share:.0%}) name videos that the "
            f"catalogue does not have, more than {bound:.0%}; ingest them or raise --max-unknown-share"
        )
