"""Which content a file held when it was last opened, by its name and stamp: committed while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import astuple
from typing import Final

import polars as pl

from features.contracts import Column, schema
from features.tables import Table
from features.workspace import Workspace
from ingest.describe import Opened

KNOWN: Final = (
    Column("uri", pl.String(), True, "as listed"),
    Column("content_hash", pl.String(), True, "BLAKE2b-128 of the bytes, hex"),
    Column("size_bytes", pl.Int64(), False, "of the file; null where a server does not say"),
    Column("modified_ns", pl.Int64(), False, "modification time, ns since the epoch; null: unknown"),
    Column("etag", pl.String(), False, "what an object store calls these bytes; null for local files"),
    Column("opened_ms", pl.Int64(), False, "when it was opened, ms since the epoch: no row repeats another"),
)
STALE: Final = 3
"""The table is written anew when it has so many times as many rows as files."""


def known_files_table(workspace: Workspace) -> Table:
    """Rows are added whenever a file was opened; of a file with several, the last counts."""
    return Table(workspace.root / "descriptors" / "files", KNOWN)


def read_known_files(workspace: Workspace) -> pl.DataFrame:
    """The last row of each file; the table is shortened where most of it is out of date."""
    table = known_files_table(workspace)
    before = table.snapshot()
    rows = table.read(at=before)
    last = rows.unique("uri", keep="last", maintain_order=True)
    if len(rows) > STALE * len(last):
        table.replace(last, onto=before)
    return last


def commit_known_files(workspace: Workspace, uris: pl.Series, opened: Iterable[Opened]) -> None:
    """Adds what was opened.

    Args:
        workspace: where to write.
        uris: of the listing, by number.
        opened: any number of them; none writes nothing.
    """
    now = time.time_ns() // 1_000_000
    rows = [(uris[one.number], one.content_hash, *astuple(one.stamp), now) for one in opened]
    if rows:
        known_files_table(workspace).append(pl.DataFrame(rows, schema=schema(KNOWN), orient="row"))
