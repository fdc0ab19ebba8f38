"""What workers found, by content, committed shard by shard: a run that is cut off loses one shard.

Descriptors are kept so that new statistics, new words or a second name for the same bytes need no decoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from features.contracts import QUALITY, QUARANTINE, VECTOR, Column, schema
from features.tables import Table
from features.workspace import Workspace
from ingest.describe import Described, NotDescribed, Outcome
from ingest.failures import DecodeFailure
from ingest.increment import Plan

DESCRIBED: Final = ("visual", "audio")
"""Modalities that are described from the bytes; text is described from the catalogue."""

DESCRIPTORS: Final = (
    Column("content_hash", pl.String(), True, "of the bytes that were described"),
    Column("visual", VECTOR, False, "raw descriptor; null without picture"),
    Column("audio", VECTOR, False, "raw descriptor; null without sound, or in silence"),
    Column("duration_s", pl.Float32(), True, "s"),
    Column("rung", pl.String(), True, "which decoder answered"),
    Column("thumbnail", pl.Binary(), True, "WebP"),
    *QUALITY,
)


def descriptors_table(workspace: Workspace, version: str) -> Table:
    """Raw descriptors by content, of one descriptor version and one set of decoder settings."""
    return Table(workspace.root / "descriptors" / f"version={version}", DESCRIPTORS)


def commit_shard(workspace: Workspace, table: Table, plan: Plan, outcomes: Iterable[Outcome]) -> None:
    """Descriptors and refusals of one shard."""
    described: list[Described] = []
    refused: list[NotDescribed] = []
    for outcome in outcomes:
        if isinstance(outcome, Described):
            described.append(outcome)
        else:
            refused.append(outcome)
    if described:
        table.append(_descriptor_rows(described))
    if refused:
        workspace.quarantine.append(_quarantine_rows(plan.files, refused, plan.version))


def commit_listing_failures(workspace: Workspace, plan: Plan) -> None:
    """Quarantine rows for files that cannot be read, and for known bad contents under new names."""
    rows = [
        {"video_id": video_id, "uri": uri, **_failure_columns(failure, plan.version), "elapsed_ms": 0.0}
        for video_id, uri, failure in plan.unreadable
    ]
    frame = pl.DataFrame(rows, schema=schema(QUARANTINE))
    seen = workspace.quarantine.read(["video_id", "content_hash"])
    names = plan.files.join(seen, on=["video_id", "content_hash"], how="anti").select(
        "video_id", "uri", "content_hash", "size_bytes", "modified_ns"
    )
    facts = plan.known_bad.drop("video_id", "uri", "size_bytes", "modified_ns")
    renamed = names.join(facts, on="content_hash", how="inner").select(frame.columns)
    if len(frame) or len(renamed):
        workspace.quarantine.append(pl.concat([frame, renamed]))


def _descriptor_rows(described: list[Described]) -> pl.DataFrame:
    rows = [
        {
            "content_hash": one.content_hash,
            **{m: one.descriptors[m].tolist() if m in one.descriptors else None for m in DESCRIBED},
            "duration_s": one.duration_s,
            "rung": one.rung,
            "thumbnail": one.thumbnail,
            **one.quality,
        }
        for one in sorted(described, key=lambda one: one.content_hash)
    ]
    return pl.DataFrame(rows, schema=schema(DESCRIPTORS))


def _quarantine_rows(files: pl.DataFrame, refused: list[NotDescribed], version: str) -> pl.DataFrame:
    """One row for every name that a refused content goes by."""
    rows = [
        {
            "content_hash": one.content_hash,
            **_failure_columns(one.failure, version),
            "elapsed_ms": one.elapsed_ms,
        }
        for one in sorted(refused, key=lambda one: one.content_hash)
    ]
    names = files.select("video_id", "uri", "content_hash", "size_bytes", "modified_ns")
    given = schema(QUARANTINE)
    facts = pl.DataFrame(rows, schema={name: given[name] for name in rows[0]})
    return names.join(facts, on="content_hash", how="inner", maintain_order="left").select(given.names())


def _failure_columns(failure: DecodeFailure, version: str) -> dict[str, str | bool | int]:
    return {
        "stage": failure.stage,
        "reason": failure.reason,
        "message": failure.message,
        "retryable": failure.retryable,
        "attempts": failure.attempts,
        "encoder_version": version,
    }
