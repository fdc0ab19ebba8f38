"""Groups of near-duplicates over the whole catalogue: a re-upload is found under its new bytes."""

from __future__ import annotations

from typing import Final

import polars as pl

from features.contracts import DUPLICATES, schema
from features.tables import Table
from features.workspace import Workspace
from ingest.descriptors import PRINTS
from ingest.likeness.duplicates import group_duplicates

FACTS: Final = ("content_hash", "duration_s", *PRINTS)


def commit_duplicates(workspace: Workspace, table: Table) -> int:
    """Writes the groups anew where what they were made of has changed.

    Args:
        workspace: whose catalogue is grouped; videos without bytes of their own are left out.
        table: descriptors of all contents.

    Returns:
        Videos that have a near-duplicate.
    """
    before = workspace.duplicates.snapshot()
    made_of = {
        "catalogue": workspace.catalogue.snapshot().sequence,
        "descriptors": [table.name, table.snapshot().sequence],
    }
    if made_of == before.meta:
        return before.rows
    videos = workspace.catalogue.read(["video_key", "video_id", "content_hash"]).drop_nulls()
    prints = table.read(list(FACTS)).unique("content_hash", keep="last").sort("content_hash")
    known = videos.join(prints.select("content_hash"), on="content_hash", how="semi")
    prints = prints.join(known, on="content_hash", how="semi").sort("content_hash")
    rows = _rows(known, _grouped(prints))
    workspace.duplicates.replace(rows, meta=made_of)
    return len(rows)


def _grouped(prints: pl.DataFrame) -> pl.DataFrame:
    """content_hash, label (null outside every group), similarity and matched_by of each content."""
    found = group_duplicates(
        prints["frame_hashes"].to_list(), prints["sound_hashes"].to_list(), prints["duration_s"].to_numpy()
    )
    return prints.select("content_hash").with_columns(
        pl.Series("label", found.labels, pl.Int64).replace(-1, None),
        pl.Series("similarity", found.similarity, pl.Float32),
        pl.Series("matched_by", found.matched_by, pl.String),
    )


def _rows(videos: pl.DataFrame, contents: pl.DataFrame) -> pl.DataFrame:
    """The DUPLICATES rows: groups of contents, and contents that go by several names."""
    joined = videos.join(contents, on="content_hash")
    named = joined.with_columns(
        pl.coalesce("label", -1 - pl.col("content_hash").rank("dense").cast(pl.Int64)).alias("label"),
        pl.len().over("content_hash").alias("names"),
    )
    grouped = named.filter(pl.len().over("label") > 1)
    same_bytes = pl.col("names") > 1
    return (
        grouped.select(
            "video_key",
            "video_id",
            pl.col("video_key").min().over("label").alias("group_key"),
            pl.when(same_bytes).then(1.0).otherwise("similarity").cast(pl.Float32).alias("similarity"),
            pl.when(same_bytes).then(pl.lit("bytes")).otherwise("matched_by").alias("matched_by"),
        )
        .select(schema(DUPLICATES).names())
        .sort("group_key", "video_key")
    )
