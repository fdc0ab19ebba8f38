"""What workers found, by content, committed shard by shard: a run that is cut off loses one shard.

Descriptors are kept so that new statistics, new words or a second name for the same bytes need no decoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from features.contracts import MEDIA, QUALITY, QUARANTINE, VECTOR, Column, schema
from features.tables import Table
from features.workspace import Workspace
from ingest.describe import Described, NotDescribed, Outcome
from ingest.increment import CONTENT, Plan, known_refusals
from ingest.source.listing import STAMP

DESCRIBED: Final = ("visual", "audio")
"""Modalities that are described from the bytes; text is described from the catalogue."""

PICTURES: Final = ("thumbnail", "preview")
PRINTS: Final = ("frame_hashes", "sound_hashes")

DESCRIPTORS: Final = (
    Column("content_hash", pl.String(), True, "of the bytes that were described"),
    Column("visual", VECTOR, False, "raw descriptor; null without picture"),
    Column("audio", VECTOR, False, "raw descriptor; null without sound, or in silence"),
    Column("duration_s", pl.Float32(), True, "s"),
    Column("rung", pl.String(), True, "which decoder answered"),
    Column("thumbnail", pl.Binary(), False, "WebP; null where extras were left out"),
    Column("preview", pl.Binary(), False, "animated WebP; null where nothing moves"),
    Column("frame_hashes", pl.Binary(), False, "of `fingerprint`: 64 bits a frame"),
    Column("sound_hashes", pl.Binary(), False, "of `fingerprint`: 32 bits a step"),
    *MEDIA,
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
    commit_refusals(workspace, plan, refused)


def commit_refusals(workspace: Workspace, plan: Plan, refused: Iterable[NotDescribed]) -> None:
    """One quarantine row for every file that was tried, or could not be."""
    names = plan.listing.select("video_id", "uri", "size_bytes", "modified_ns", "etag")
    rows = [
        {**names.row(one.number, named=True), **_failure_columns(one, plan.version)}
        for one in sorted(refused, key=lambda one: one.number)
    ]
    if rows:
        workspace.quarantine.append(pl.DataFrame(rows, schema=schema(QUARANTINE)))


def commit_refused_names(
    workspace: Workspace, described: pl.DataFrame, files: pl.DataFrame, version: str
) -> None:
    """Quarantine rows for the other names of refused contents, unless they have been described since."""
    files = files.join(described, on="content_hash", how="anti", maintain_order="left")
    seen = workspace.quarantine.read(["video_id", "content_hash", "encoder_version"])
    seen = seen.filter(pl.col("encoder_version") == version)
    names = files.join(seen, on=["video_id", "content_hash"], how="anti")
    facts = known_refusals(workspace, version).drop("video_id", "uri", *STAMP)
    rows = names.select("video_id", "uri", *CONTENT).join(facts, on="content_hash", how="inner")
    if len(rows):
        workspace.quarantine.append(rows.sort("video_id"))


def _descriptor_rows(described: list[Described]) -> pl.DataFrame:
    rows = [_row(one) for one in sorted(described, key=lambda one: one.content_hash)]
    return pl.DataFrame(rows, schema=schema(DESCRIPTORS))


def _row(one: Described) -> dict[str, Any]:
    extras = one.extras
    told: dict[str, Any] = {}
    if extras:
        told = {"thumbnail": extras.thumbnail, "preview": extras.preview, **extras.quality}
        told |= {name: getattr(extras.prints, name) for name in PRINTS}
    return {
        "content_hash": one.content_hash,
        **{m: one.descriptors[m].tolist() if m in one.descriptors else None for m in DESCRIBED},
        "duration_s": one.duration_s,
        "rung": one.rung,
        **one.media,
        **told,
    }


def _failure_columns(one: NotDescribed, version: str) -> dict[str, Any]:
    failure = one.failure
    return {
        "content_hash": one.content_hash,
        "stage": failure.stage,
        "reason": failure.reason,
        "message": failure.message,
        "rung": failure.rung,
        "retryable": failure.retryable,
        "attempts": failure.attempts,
        "elapsed_ms": one.elapsed_ms,
        "encoder_version": version,
    }
