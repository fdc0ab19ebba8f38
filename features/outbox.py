"""What leaves Redis for the workspace: accepted events become interactions, slates become exposures.

Nothing is lost on the way: an event that came under a used id, and a record that this version cannot read, go
to the quarantine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from features.commits import commit_again
from features.contracts import INTERACTIONS, TS, Column, conform
from features.erasure.tombstones import refused_users
from features.errors import BadInput, VersionMismatch
from features.intake.appending import append_events, append_refused
from features.intake.event_identity import key_of_event_id
from features.packing import Exposure, unpack_event, unpack_exposure
from features.tables import Snapshot, Table
from features.workspace import Workspace

EXPOSURES: Final = (
    Column("request_id", pl.String(), True, "the slate"),
    Column("user_id", pl.String(), False, "null for an anonymous request"),
    Column("ts", TS, True, "when it was served, UTC"),
    Column("position", pl.Int32(), True, "place in the slate, from 0"),
    Column("video_key", pl.Int64(), True, "key of the catalogue"),
    Column("video_id", pl.String(), False, "id of the catalogue; null where it is gone"),
    Column("score", pl.Float32(), False, "as ranked"),
    Column(
        "propensity",
        pl.Float64(),
        False,
        "probability of this item in this place, (0, 1]; null where unknown",
    ),
    Column("bundle", pl.String(), True, "bundle that served it"),
    Column("arm", pl.String(), False, "experiment arm"),
    Column("policy", pl.String(), False, "which policy chose it"),
    Column("served_by", pl.String(), True, "rung of the degradation ladder"),
    Column("latency_ms", pl.Float32(), False, "of the request, ms"),
    Column(
        "history_at", TS, False, "when the newest event arrived that the slate knew of the user; null: none"
    ),
    Column("activity_at", TS, False, "watermark of the videos' activity that the slate knew; null: none"),
    Column(
        "statistics_at", TS, False, "instant that the videos' statistics describe; null: the bundle's own"
    ),
    Column("utc_offset_min", pl.Int16(), False, "the user's clock minus UTC, minutes"),
    Column("device", pl.String(), False, "kind of device"),
    Column("surface", pl.String(), False, "where in the product"),
    Column("country", pl.String(), False, "ISO 3166"),
)

Refusal = tuple[str, str, str | None]
"""Why, what, and whose, where that can be told."""

_TEXTS: Final = (
    "request_id",
    "user_id",
    "bundle",
    "arm",
    "policy",
    "served_by",
    "device",
    "surface",
    "country",
)


def exposures(workspace: Workspace) -> Table:
    """All slates that were served, one row an item, in one directory a UTC day."""
    return Table(workspace.root / "exposures", EXPOSURES)


def store_events(workspace: Workspace, records: list[tuple[bytes, bytes]]) -> int:
    """Adds accepted events to the interactions; returns how many were not there yet.

    Args:
        workspace: where they go.
        records: what the outbox says of each, and the packed event: `e` is accepted, `c` came under an id
            that another event had used.
    """
    rows: list[dict[str, Any]] = []
    refused: list[Refusal] = []
    for kind, packed in records:
        try:
            row = unpack_event(packed)
        except (VersionMismatch, BadInput) as error:
            refused.append((_why(error), packed.hex(), None))
            continue
        if kind == b"c":
            refused.append(("event_id given with another payload", repr(row), row["user_id"]))
        else:
            rows.append(row)
    _set_aside(workspace, refused)
    return append_events(workspace, _interactions(rows)) if rows else 0


def store_exposures(workspace: Workspace, records: list[tuple[bytes, bytes]]) -> int:
    """Adds slates to the exposures; returns how many were not there yet; `records` as in `store_events`.

    Slates of users who were deleted stay, as nobody's: they say what was shown, not to whom.
    """
    slates: list[Exposure] = []
    refused: list[Refusal] = []
    for _, packed in records:
        try:
            slates.append(unpack_exposure(packed))
        except (VersionMismatch, BadInput) as error:
            refused.append((_why(error), packed.hex(), None))
    _set_aside(workspace, refused)
    if not slates:
        return 0
    catalogue = workspace.catalogue.read(["video_key", "video_id"])
    named = _items(slates).join(catalogue, on="video_key", how="left", maintain_order="left")
    return commit_again(exposures(workspace), lambda before: _append(workspace, named, before))


def _append(workspace: Workspace, rows: pl.DataFrame, before: Snapshot) -> int:
    # Asked after the snapshot: a user who is deleted from here on makes the commit a conflict.
    refused = refused_users(workspace, rows["user_id"])
    named = rows.with_columns(pl.when(~refused).then("user_id").alias("user_id"))
    table = exposures(workspace)
    stored = _stored_slates(table, before, set(_by_day(rows)))
    fresh = named.join(stored, on="request_id", how="anti", maintain_order="left").unique(
        ["request_id", "position"], keep="first", maintain_order=True
    )
    if len(fresh):
        table.append_parts(_by_day(fresh), onto=before, merge_small=True)
    return fresh["request_id"].n_unique()


def _stored_slates(table: Table, at: Snapshot, days: set[str]) -> pl.DataFrame:
    """Slates of these days: a slate that comes again comes with its day."""
    files = tuple(name for name in at.files if name.partition("/")[0] in days)
    return table.scan(at=replace(at, files=files)).select("request_id").unique().collect()


def _why(error: VersionMismatch | BadInput) -> str:
    return "packed by another version" if isinstance(error, VersionMismatch) else "cut short"


def _set_aside(workspace: Workspace, refused: list[Refusal]) -> None:
    if not refused:
        return
    names = {"reason": pl.String, "content": pl.String, "user_id": pl.String}
    rows = pl.DataFrame(refused, schema=names, orient="row").with_columns(
        file=pl.lit("stream"), row=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    append_refused(workspace, [rows.lazy()])


def _interactions(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = [c.name for c in INTERACTIONS if c.name not in ("event_key", "order")]
    frame = pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], strict=False) for name in names}
    )
    times = [pl.col(name).cast(pl.Int64).cast(TS) for name in ("ts", "received_at")]
    numbers = [
        pl.col(c.name).cast(c.dtype, strict=False)
        for c in INTERACTIONS
        if c.dtype.is_numeric() and c.name in names
    ]
    keys = pl.Series("event_key", [key_of_event_id(row["event_id"]) for row in rows], dtype=pl.String)
    typed = frame.with_columns(*times, *numbers, keys, pl.int_range(pl.len(), dtype=pl.Int64).alias("order"))
    return conform(typed, INTERACTIONS, "accepted events")


def _items(slates: list[Exposure]) -> pl.DataFrame:
    """One row an item."""
    sizes = [len(slate.video_keys) for slate in slates]
    whose = np.repeat(np.arange(len(slates)), sizes)
    items = pl.DataFrame(
        {
            "position": np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
            "video_key": np.concatenate([slate.video_keys for slate in slates]),
            "score": np.concatenate([slate.scores for slate in slates]),
            "propensity": np.concatenate([slate.propensities for slate in slates]),
        }
    ).with_columns(pl.col("propensity").fill_nan(None))
    said = pl.DataFrame(
        {name: pl.Series(name, [getattr(s, name) for s in slates], dtype=pl.String) for name in _TEXTS}
    ).with_columns(
        _instants("ts", [slate.ts_ms for slate in slates]),
        _instants("history_at", [slate.history_ms or None for slate in slates]),
        _instants("activity_at", [slate.activity_ms or None for slate in slates]),
        _instants("statistics_at", [slate.statistics_ms or None for slate in slates]),
        pl.Series("latency_ms", [slate.latency_ms for slate in slates], pl.Float32).fill_nan(None),
        pl.Series("utc_offset_min", [slate.utc_offset_min for slate in slates], pl.Int16),
    )
    return pl.concat([items, said[whose.tolist()]], how="horizontal")


def _instants(name: str, times: list[int | None]) -> pl.Series:
    return pl.Series(name, times, pl.Int64).cast(TS)


def _by_day(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    day = pl.concat_str(pl.lit("date="), pl.col("ts").dt.strftime("%Y-%m-%d")).alias("_day")
    return {
        str(k[0]): part
        for k, part in rows.with_columns(day).partition_by("_day", as_dict=True, include_key=False).items()
    }
