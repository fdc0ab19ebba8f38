"""What of a listing is new: a second run over unchanged files reads no byte of them.

Size and modification time tell whether a file is the one we know; the hash of its bytes tells whether we know
the content under another name. What is known of a content is the same whatever it is called.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.contracts import QUARANTINE
from features.workspace import Workspace
from ingest.describe import Task
from ingest.failures import DecodeFailure
from ingest.listing import path_of

CHUNK: Final = 1 << 20
STAMP: Final = ("content_hash", "size_bytes", "modified_ns")
STAMPED: Final = pl.Schema({"content_hash": pl.String(), "size_bytes": pl.Int64(), "modified_ns": pl.Int64()})


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a listing."""

    version: str
    """Of the descriptors that are to be made."""
    files: pl.DataFrame
    """The readable part of the listing, with content_hash, size_bytes and modified_ns."""
    unreadable: tuple[tuple[str, str, DecodeFailure], ...]
    """(video_id, uri, why) of the rest."""
    known_bad: pl.DataFrame
    """Quarantine rows, one a content, of contents that are not tried again."""
    tasks: tuple[Task, ...]
    """Contents to be described, each once."""


def plan_increment(
    workspace: Workspace, listing: pl.DataFrame, done: pl.Series, version: str, *, verify: bool = False
) -> Plan:
    """Which contents of a listing have to be described.

    Args:
        workspace: what was ingested before.
        listing: rows of `list_source`.
        done: hashes of the contents that are described already.
        version: of the descriptors.
        verify: hash every file, also where size and modification time are as known.
    """
    known = {} if verify else _known_stamps(workspace)
    stamps: list[tuple[str, int, int]] = []
    unreadable: list[tuple[str, str, DecodeFailure]] = []
    kept: list[bool] = []
    for video_id, uri in listing.select("video_id", "uri").iter_rows():
        stamp = _stamp(uri, known)
        kept.append(not isinstance(stamp, DecodeFailure))
        if isinstance(stamp, DecodeFailure):
            unreadable.append((video_id, uri, stamp))
        else:
            stamps.append(stamp)
    files = listing.filter(pl.Series(kept, dtype=pl.Boolean)).hstack(
        pl.DataFrame(stamps, schema=STAMPED, orient="row").get_columns()
    )
    bad = _known_bad(workspace, version)
    settled = pl.concat([done, bad["content_hash"]]).to_frame("content_hash")
    new = files.join(settled, on="content_hash", how="anti", maintain_order="left")
    return Plan(version, files, tuple(unreadable), bad, tuple(_tasks(new)))


def _tasks(new: pl.DataFrame) -> Iterator[Task]:
    once = new.unique("content_hash", keep="first", maintain_order=True)
    for content_hash, uri in once.select("content_hash", "uri").iter_rows():
        yield Task(content_hash, uri)


def _known_stamps(workspace: Workspace) -> dict[tuple[str, int, int], str]:
    """Content by (uri, size, modification time), from what was embedded and what was quarantined."""
    columns = ["uri", "size_bytes", "modified_ns", "content_hash"]
    tables = [workspace.catalogue.read(columns), workspace.quarantine.read(columns)]
    rows = pl.concat(tables).drop_nulls().iter_rows()
    return {(uri, size, modified): content for uri, size, modified, content in rows}


def _known_bad(workspace: Workspace, version: str) -> pl.DataFrame:
    """The last row of each content that this version of the descriptors refused for good."""
    rows = workspace.quarantine.read().filter(
        pl.col("encoder_version") == version, pl.col("content_hash").is_not_null()
    )
    last = rows.unique("content_hash", keep="last", maintain_order=True)
    return last.filter(~pl.col("retryable")).select(c.name for c in QUARANTINE)


def _stamp(uri: str, known: dict[tuple[str, int, int], str]) -> tuple[str, int, int] | DecodeFailure:
    """(content hash, size, modification time), or why the bytes cannot be read."""
    if "://" in uri and not uri.startswith("file://"):
        return DecodeFailure("list", "unreadable", "it is a URL; this version reads local files only")
    path = path_of(uri)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return DecodeFailure("list", "unreadable", "it is not a regular file or may not be read")
        content = known.get((uri, status.st_size, status.st_mtime_ns)) or hash_file(path)
    except OSError as error:
        return DecodeFailure("list", "unreadable", f"it cannot be read: {error.strerror or error}")
    return content, status.st_size, status.st_mtime_ns


def hash_file(path: Path) -> str:
    """BLAKE2b-128 of the bytes, hex."""
    digest = hashlib.blake2b(digest_size=16)
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while size := stream.readinto(buffer):
            digest.update(memoryview(buffer)[:size])
    return digest.hexdigest()
