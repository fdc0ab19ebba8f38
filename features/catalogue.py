"""The catalogue: which videos there are, and the number each keeps for life."""

from __future__ import annotations

from typing import Any

import polars as pl

from features.contracts import CATALOGUE, MAX_ID_BYTES, Column, check_id, conform
from features.errors import BadInput, CommitConflict
from features.workspace import Workspace

ATTEMPTS = 8
"""How often a registration is repeated when another writer commits first."""

_GIVEN: tuple[Column, ...] = tuple(c for c in CATALOGUE if c.name != "video_key")


def register(workspace: Workspace, videos: pl.DataFrame) -> pl.DataFrame:
    """The whole catalogue, sorted by key, after these videos are in it.

    New ids get the next keys in the order of the frame; known ids get the given columns that are not null.
    Nothing is committed where nothing changes.

    Args:
        workspace: where the catalogue lies.
        videos: `video_id` and any optional columns of CATALOGUE; of an id given twice the last row counts.

    Raises:
        BadInput: an id is null, empty or too long, or a column has the wrong type.
        CommitConflict: other writers kept committing first.
    """
    given = _check(videos)
    for _ in range(ATTEMPTS):
        before = workspace.catalogue.snapshot()
        old = workspace.catalogue.read(at=before).sort("video_key")
        next_key = int(before.meta.get("next_key", 0))
        after, next_after = _merge(old, given, next_key)
        if after.equals(old):
            return after
        meta: dict[str, Any] = {**before.meta, "next_key": next_after}
        try:
            workspace.catalogue.replace(after, meta=meta, onto=before)
        except CommitConflict:
            continue
        return after
    raise CommitConflict(f"the catalogue in {workspace.root} was changed by others {ATTEMPTS} times; repeat")


def is_bare(catalogue: pl.DataFrame) -> bool:
    """True where the catalogue holds ids alone: it was made from interactions, and may grow with them."""
    facts = [c.name for c in CATALOGUE if c.name not in ("video_key", "video_id")]
    return bool(catalogue.select(pl.all_horizontal(pl.col(facts).is_null().all())).item())


def _check(videos: pl.DataFrame) -> pl.DataFrame:
    given = conform(videos.drop("video_key", strict=False), _GIVEN, "videos")
    sizes = pl.col("video_id").str.len_bytes()
    for bad in given.filter((sizes < 1) | (sizes > MAX_ID_BYTES))["video_id"].head(1):
        check_id(bad, "video_id")
    tags = pl.col("tags").list.eval(pl.element().str.to_lowercase())
    return given.with_columns(tags).unique("video_id", keep="last", maintain_order=True)


def _merge(old: pl.DataFrame, given: pl.DataFrame, next_key: int) -> tuple[pl.DataFrame, int]:
    fresh = given.join(old, on="video_id", how="anti", maintain_order="left")
    fresh = fresh.select(
        (pl.int_range(pl.len(), dtype=pl.Int64) + next_key).alias("video_key"), *(c.name for c in _GIVEN)
    )
    facts = [c.name for c in _GIVEN if c.name != "video_id"]
    updated = old.join(given, on="video_id", how="left", suffix="_given", maintain_order="left").select(
        "video_key", "video_id", *(pl.coalesce(f"{name}_given", name).alias(name) for name in facts)
    )
    merged = pl.concat([updated, fresh]).sort("video_key")
    if merged["video_id"].n_unique() != len(merged):
        raise BadInput("the catalogue holds an id twice; it was written by other means than `register`")
    return merged, next_key + len(fresh)
