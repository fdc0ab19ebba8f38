"""What one bundle lays on the desk of a worker: the model, its videos' shelf data, and the query encoder.

A desk is made whole and never changed; a request takes one desk and keeps it, so that a swap mixes nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.activity_board import ActivitySnapshot
from features.contracts import Int64s, VideoTable
from features.errors import NotFound, RecError, VersionMismatch
from features.row_store.loads import RowLoad
from features.row_store.rows import RowStore
from features.row_store.statistic_rows import read_statistics, statistic_schema
from features.workspace import Workspace
from ingest.encoders.query import QueryEncoder
from ranker.bundle import Bundle, load_bundle

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int32]

ALWAYS: Final = 1 << 62
"""Stands for "no end", ms."""

IS_REMOTE: Final = pl.col("uri").str.contains("://", literal=True) & ~pl.col("uri").str.starts_with("file://")

MOST_POPULAR: Final = 1000
"""Length of the popularity list that the lower rungs serve from."""

_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the catalogue says of the bundle's videos, row by row of the bundle."""

    titles: tuple[str | None, ...]
    creator_ids: tuple[str | None, ...]
    uris: tuple[str | None, ...]
    """Of media that was read at ingest; None elsewhere."""
    available_from_ms: Int64s
    """int64, (n,); 0 where unknown."""
    available_until_ms: Int64s
    """int64, (n,); ALWAYS where unknown."""
    min_age: npt.NDArray[np.int16]
    """Years, (n,); 0 where unknown."""
    regions: dict[int, frozenset[str]]
    """Row to the countries it may be shown in, only for rows that are limited."""
    words: tuple[frozenset[str], ...]
    """Lower-case words of title and tags, (n,)."""


@dataclass(frozen=True, slots=True)
class Desk:
    """All that is needed to serve one bundle."""

    bundle: Bundle
    shelf: Shelf
    popular: Rows
    """Most popular videos first, (<= MOST_POPULAR,)."""
    words: QueryEncoder | None
    """None where the bundle brings no encoder for text."""
    row_by_id: dict[str, int]
    catalogue_commit: int
    """Commit of the catalogue that the shelf was read from."""
    activity_ms: int = 0
    """Watermark of the videos' activity, ms since the epoch; 0 where it is the bundle's own."""
    statistics_load: RowLoad | None = None
    """Where the videos' statistics are from; None where they are the bundle's own."""

    @property
    def name(self) -> str:
        return self.bundle.name

    @property
    def videos(self) -> VideoTable:
        return self.bundle.videos

    def row_of_id(self, video_id: str) -> int:
        """Row of a video, -1 where the bundle does not know it."""
        return self.row_by_id.get(video_id, -1)

    def row_of_key(self, video_key: int) -> int:
        """Row of a video, -1 where the bundle does not know it."""
        return int(self.videos.rows_of(np.array([video_key], np.int64))[0])


def with_activity(desk: Desk, activity: ActivitySnapshot) -> Desk:
    """The desk with the videos' activity as it is put up; the same desk where it has that already."""
    if not activity.watermark_ms or activity.watermark_ms == desk.activity_ms:
        return desk
    counts = activity.matrix(desk.videos.keys)
    bundle = dataclasses.replace(desk.bundle, activity=counts)
    return dataclasses.replace(desk, bundle=bundle, activity_ms=activity.watermark_ms)


def with_statistics(desk: Desk, rows: RowStore) -> Desk:
    """The desk with the statistics of the last night for its bundle's features; the same where it has them.

    A load older than the bundle is passed over: the bundle's own statistics know more.
    """
    try:
        load = rows.find(statistic_schema(desk.bundle.manifest["feature_version"]))
    except (NotFound, VersionMismatch):
        return desk
    held = desk.statistics_load
    if load.as_of_ms <= desk.bundle.manifest["training_window_ms"][1] or (held and held.load == load.load):
        return desk
    matrix = read_statistics(rows, load, desk.videos.keys, desk.bundle.statistics)
    return dataclasses.replace(
        desk, bundle=dataclasses.replace(desk.bundle, statistics=matrix), statistics_load=load
    )


def open_desk(workspace: Workspace, bundle_name: str) -> Desk:
    """The desk of a bundle; its pages are touched, so that the first request is as fast as the next.

    Raises:
        RecError: the bundle is missing, half-written or of another version.
    """
    bundle = load_bundle(workspace.model(bundle_name), threads=1)
    videos, commit = bundle.videos, workspace.catalogue.snapshot().sequence
    desk = Desk(
        bundle=bundle,
        shelf=build_shelf(workspace.catalogue.read(), videos),
        popular=_most_popular(bundle),
        words=_query_encoder(workspace, bundle_name),
        row_by_id={video_id: row for row, video_id in enumerate(videos.ids)},
        catalogue_commit=commit,
    )
    log.info(
        "desk opened bundle=%s videos=%d text_search=%s", bundle_name, len(videos), desk.words is not None
    )
    return desk


def restock(desk: Desk, workspace: Workspace) -> Desk:
    """The same desk with the shelf as the catalogue has it now; the desk itself where nothing changed."""
    commit = workspace.catalogue.snapshot().sequence
    if commit == desk.catalogue_commit:
        return desk
    shelf = build_shelf(workspace.catalogue.read(), desk.videos)
    return dataclasses.replace(desk, shelf=shelf, catalogue_commit=commit)


def build_shelf(catalogue: pl.DataFrame, videos: VideoTable) -> Shelf:
    """The catalogue's columns in the order of the videos; a video that left the catalogue has none."""
    wanted = pl.DataFrame({"video_key": videos.keys})
    rows = wanted.join(catalogue, on="video_key", how="left", maintain_order="left")
    stamps = rows.select(
        since=pl.col("available_from").dt.epoch("ms").fill_null(0),
        until=pl.col("available_until").dt.epoch("ms").fill_null(ALWAYS),
        age=pl.col("min_age").fill_null(0),
        # A file at a URL is not passed on: the API has neither its credentials nor its bandwidth.
        uri=pl.when(pl.col("content_hash").is_not_null(), ~IS_REMOTE).then(pl.col("uri")),
    )
    limited = rows.with_row_index("row").filter(pl.col("regions").is_not_null()).select("row", "regions")
    return Shelf(
        titles=tuple(rows["title"].to_list()),
        creator_ids=tuple(rows["creator_id"].to_list()),
        uris=tuple(stamps["uri"].to_list()),
        available_from_ms=stamps["since"].to_numpy(),
        available_until_ms=stamps["until"].to_numpy(),
        min_age=stamps["age"].to_numpy(),
        regions={row: frozenset(c.upper() for c in allowed) for row, allowed in limited.iter_rows()},
        words=tuple(
            words_of(" ".join((title or "", *tags)))
            for title, tags in zip(rows["title"], videos.tags, strict=True)
        ),
    )


def words_of(text: str) -> frozenset[str]:
    """The different words of a text, in lower case."""
    return frozenset(_WORD.findall(text.lower()))


def _most_popular(bundle: Bundle) -> Rows:
    return np.argsort(-bundle.popularity, kind="stable")[:MOST_POPULAR].astype(np.int32)


def _query_encoder(workspace: Workspace, bundle_name: str) -> QueryEncoder | None:
    directory = workspace.model(bundle_name) / "encoder"
    if not directory.is_dir():
        return None
    try:
        return QueryEncoder.load(directory)
    except NotFound:
        return None
    except RecError as error:
        log.warning("bundle=%s has no text search: %s", bundle_name, error)
        return None
