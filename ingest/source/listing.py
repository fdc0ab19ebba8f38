"""What there is to ingest: a directory, a glob or a manifest becomes one row a video.

Nothing is opened here but a manifest; whether a file is media is for the probe to say. A source is a local
path or a URL of any filesystem that fsspec knows.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.contracts import MAX_ID_BYTES, check_id
from features.errors import BadInput
from ingest.source.locations import is_below, is_remote, is_utf8, shown, uri_of
from ingest.source.locations import path_of as path_of
from ingest.source.manifest import MANIFESTS, TEXT_COLUMNS, read_manifest
from ingest.source.remote_listing import Row, kind_of_source, list_folder, list_glob, read_bytes
from ingest.source.walk import Found, fixed_part, glob_files, walk

STAMP: Final = ("size_bytes", "modified_ns", "etag")
FILES: Final = pl.Schema(
    {"video_id": pl.String(), "uri": pl.String()}
    | {"size_bytes": pl.Int64(), "modified_ns": pl.Int64(), "etag": pl.String()}
)
LISTING: Final = pl.Schema({**FILES, **{column.name: column.dtype for column in TEXT_COLUMNS}})


@dataclass(frozen=True, slots=True)
class Listing:
    """The videos of a source."""

    frame: pl.DataFrame
    """Columns of LISTING, sorted by `video_id`, which is unique. The stamp is null where the directory does
    not know it: for links, and for rows of a manifest."""
    root: str
    """Directory or URL that its files have to lie below, see `locations.Access`."""


def list_source(source: str, media_root: str | None = None) -> Listing:
    """One row a video.

    Args:
        source: a directory (all below it, each real directory once), a glob, or a manifest (Parquet, CSV or
            JSONL) with `video_id` and `uri`, relative to the manifest; each local or a URL. The id of a file
            is its path below the directory, or below the fixed part of the glob.
        media_root: directory or URL that files have to lie below; None for the directory, the fixed part of
            the glob or the manifest's directory.

    Raises:
        BadInput: the source is missing, holds nothing, is no manifest, lacks `video_id` or `uri`, or
            cannot be reached.
    """
    if media_root is not None and not is_remote(media_root):
        media_root = os.path.abspath(path_of(media_root).expanduser())
    if is_remote(source):
        return _list_url(source, media_root)
    path = path_of(source) if "://" in source else Path(source).expanduser()
    if path.is_dir():
        root = os.path.abspath(path)
        return _found(f"directory {path}", root, walk(root, _bound(root, media_root)), media_root)
    if path.is_file():
        return _manifest(path, str(path), os.path.dirname(os.path.abspath(path)), media_root)
    if glob.has_magic(str(path)):
        fixed = fixed_part(str(path))
        root, rest = os.path.abspath(fixed), str(path)[len(fixed) :].lstrip("/")
        return _found(f"glob {path}", root, glob_files(root, rest, _bound(root, media_root)), media_root)
    raise BadInput(f"source {source} is not there; name a directory, a glob or a manifest")


def _list_url(url: str, media_root: str | None) -> Listing:
    kind = kind_of_source(url)
    if kind == "manifest":
        base = url.partition("?")[0].rpartition("/")[0]
        return _manifest(read_bytes(url), url, base, media_root)
    rows, root = (list_folder(url), url.rstrip("/")) if kind == "folder" else list_glob(url)
    return Listing(_rows(rows, f"{kind} {shown(url)}"), media_root or root)


def _bound(root: str, media_root: str | None) -> str:
    """Real path of the directory outside which nothing is looked into."""
    real = os.path.realpath(root)
    if media_root is None:
        return real
    bound = os.path.realpath(media_root)
    if is_remote(media_root) or not is_below(real, bound):
        raise BadInput(f"directory {root} lies outside the media root {shown(media_root)}; name one above it")
    return bound


def _found(what: str, root: str, files: Iterable[Found], media_root: str | None) -> Listing:
    rows = [_row(root, found) for found in files]
    return Listing(_rows(rows, what), media_root or root)


def _row(root: str, found: Found) -> Row:
    path = os.path.join(root, found.below)
    uri = path if path.isascii() else uri_of(path)
    return _id(found.below), uri, found.size_bytes, found.modified_ns, None


def _id(below: str) -> str:
    return below if is_utf8(below) else os.fsencode(below).decode("utf-8", "backslashreplace")


def _rows(rows: list[Row], what: str) -> pl.DataFrame:
    if not rows:
        raise BadInput(f"{what} holds no media file; hidden files, text and tables do not count")
    return _finish(pl.DataFrame(rows, schema=FILES, orient="row"), what)


def _manifest(content: Path | bytes, name: str, base: str, media_root: str | None) -> Listing:
    kind = os.path.splitext(name.partition("?")[0] if is_remote(name) else name)[1].lower()
    if kind not in MANIFESTS:
        known = ", ".join(sorted(MANIFESTS))
        raise BadInput(f"source {name} is a file but no manifest ({known}); name its directory")
    what = f"manifest {shown(name)}"
    return Listing(_finish(read_manifest(content, kind, base, what), what), media_root or base)


def _finish(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """The rows with all columns, in order of the ids, which are checked."""
    sizes = frame["video_id"].str.len_bytes()
    for video_id in frame["video_id"].filter((sizes < 1) | (sizes > MAX_ID_BYTES)):
        check_id(video_id, f"a video_id of {what}")
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in LISTING.items() if name not in frame.columns]
    rows = frame.with_columns(absent).select(LISTING.names()).sort("video_id")
    repeated = rows.filter(pl.col("video_id").is_duplicated())["video_id"]
    if len(repeated):
        raise BadInput(f"{what} gives video_id {repeated[0]!r} more than once; ids must be unique")
    return rows
