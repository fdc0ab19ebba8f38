"""Who was merged into whom (being written)."""

import polars as pl

from features.workspace import Workspace


def merges(workspace: Workspace) -> list[tuple[str, str]]:
    return []


def apply_merges(rows: pl.DataFrame, pairs: list[tuple[str, str]]) -> pl.DataFrame:
    return rows
