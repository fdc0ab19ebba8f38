"""What leaves Redis for the workspace: accepted events become interactions, slates become exposures."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from features.contracts import INTERACTIONS, TS, Column, conform
from features.errors import CommitConflict
from features.importers import ATTEMPTS, append_events, key_of_event_id
from features.packing import unpack_event, unpack_exposure
from features.tables import Table
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
)


def exposures(workspace: Workspace) -> Table:
    """All slates that were served, one row an item, in one directory a UTC day."""
    return Table(workspace.root / "exposures", EXPOSURES)


def store_events(workspace: Workspace, packed: list[bytes]) -> int:
    """Adds accepted events to the interactions; returns how many were not there yet."""
    rows = [unpack_event(event) for event in packed]
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
    return append_events(workspace, conform(typed, INTERACTIONS, "accepted events"))


def store_exposures(workspace: Workspace, packed: list[bytes]) -> int:
    """Adds slates to the exposures; returns how many were not there yet."""
    rows = pl.concat([_items(exposure) for exposure in packed])
    catalogue = workspace.catalogue.read(["video_key", "video_id"])
    named = rows.join(catalogue, on="video_key", how="left", maintain_order="left")
    table = exposures(workspace)
    for _ in range(ATTEMPTS):
        before = table.snapshot()
        stored = table.read(["request_id"], at=before).unique()
        fresh = named.join(stored, on="request_id", how="anti", maintain_order="left").unique(
            ["request_id", "position"], keep="first", maintain_order=True
        )
        if not len(fresh):
            return 0
        try:
            table.append_parts(_by_day(fresh), onto=before)
        except CommitConflict:
            continue
        return fresh["request_id"].n_unique()
    raise CommitConflict(f"the exposures in {workspace.root} were changed by others {ATTEMPTS} times; repeat")


def _items(packed: bytes) -> pl.DataFrame:
    slate = unpack_exposure(packed)
    n = len(slate.video_keys)
    return pl.DataFrame(
        {
            "position": np.arange(n, dtype=np.int32),
            "video_key": slate.video_keys,
            "score": slate.scores,
            "propensity": slate.propensities,
        }
    ).with_columns(
        pl.col("propensity").fill_nan(None),
        ts=pl.lit(slate.ts_ms, pl.Int64).cast(TS),
        latency_ms=pl.lit(slate.latency_ms, pl.Float32).fill_nan(None),
        **{
            name: pl.lit(getattr(slate, name), pl.String)
            for name in ("request_id", "user_id", "bundle", "arm", "policy", "served_by")
        },
    )


def _by_day(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    day = pl.concat_str(pl.lit("date="), pl.col("ts").dt.strftime("%Y-%m-%d")).alias("_day")
    return {
        str(k[0]): part
        for k, part in rows.with_columns(day).partition_by("_day", as_dict=True, include_key=False).items()
    }
