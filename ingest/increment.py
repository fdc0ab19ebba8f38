"""What of a listing is new: a second run over unchanged files reads no byte of them.

Size with modification time, or an object store's ETag, tells whether a file is the one we know. The rest is
opened by the workers, whose hash of the bytes tells whether we know the content under another name. What is
known of a content is the same whatever it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from features.contracts import QUARANTINE
from features.workspace import Workspace
from ingest.describe import NotDescribed, Opened, Task
from ingest.failures import DecodeFailure
from ingest.known_files import read_known_files
from ingest.source.listing import STAMP
from ingest.source.locations import Access
from ingest.source.stamps import Stamp, stamps

CONTENT: Final = ("content_hash", *STAMP)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a listing."""

    version: str
    """Of the descriptors that are to be made."""
    listing: pl.DataFrame
    """All rows, with content_hash where it is known, and the stamp where the file could be found."""
    unreadable: tuple[NotDescribed, ...]
    """Files that are not there or may not be read."""
    settled: frozenset[str]
    """Contents that are described, or refused for good."""
    tasks: tuple[Task, ...]
    """Files to be opened, and described where their content is not settled."""

    def files(self, opened: list[Opened]) -> pl.DataFrame:
        """The rows whose content is known by now; a file that was opened is what it was then."""
        fresh = pl.DataFrame(
            {
                "number": [o.number for o in opened],
                "content_hash": [o.content_hash for o in opened],
                "size_bytes": [o.stamp.size_bytes for o in opened],
                "modified_ns": [o.stamp.modified_ns for o in opened],
                "etag": [o.stamp.etag for o in opened],
            },
            schema={"number": pl.UInt32(), **{name: self.listing.schema[name] for name in CONTENT}},
        ).unique("number", keep="last")
        rows = self.listing.with_row_index("number").join(fresh, on="number", how="left", suffix="_new")
        anew = pl.col("content_hash_new").is_not_null()
        updated = [pl.when(anew).then(f"{name}_new").otherwise(name).alias(name) for name in CONTENT]
        known = rows.with_columns(updated).select(self.listing.columns)
        return known.filter(pl.col("content_hash").is_not_null())


def plan_increment(
    workspace: Workspace,
    listing: pl.DataFrame,
    access: Access,
    described: pl.Series,
    version: str,
    *,
    verify: bool = False,
    retry: bool = False,
) -> Plan:
    """Which files of a listing have to be opened.

    Args:
        workspace: what was ingested before.
        listing: rows of `list_source`.
        access: which files may be read.
        described: hashes of the contents that are described already.
        version: of the descriptors.
        verify: open every file, also where its stamp is as known.
        retry: try again what was refused for good.
    """
    stamped, failures = _stamped(listing, access)
    known = read_known_files(workspace)
    rows = _with_content(stamped, known.clear() if verify else known).with_row_index("number")
    refused = described.clear() if retry else _refused(workspace, version)
    settled = pl.concat([described, refused]).unique()
    is_done = pl.col("content_hash").is_in(settled.implode())
    failed = {failure.number for failure in failures}
    due = rows.filter(~is_done.fill_null(False)).select("number", "uri")
    tasks = tuple(Task(number, uri) for number, uri in due.iter_rows() if number not in failed)
    return Plan(version, rows.drop("number"), failures, frozenset(settled), tasks)


def known_refusals(workspace: Workspace, version: str) -> pl.DataFrame:
    """The last row of each content that this version of the descriptors refused, and why."""
    rows = workspace.quarantine.read().filter(
        pl.col("encoder_version") == version, pl.col("content_hash").is_not_null()
    )
    return rows.unique("content_hash", keep="last", maintain_order=True).select(c.name for c in QUARANTINE)


def _refused(workspace: Workspace, version: str) -> pl.Series:
    return known_refusals(workspace, version).filter(~pl.col("retryable"))["content_hash"]


def _stamped(listing: pl.DataFrame, access: Access) -> tuple[pl.DataFrame, tuple[NotDescribed, ...]]:
    """The listing with the stamps that it lacked, and the files that have none."""
    numbered = listing.with_row_index("number")
    lacking = numbered.filter(pl.all_horizontal(pl.col(name).is_null() for name in STAMP))
    found = stamps(lacking["uri"].to_list(), access)
    failures = [
        NotDescribed(number, None, failure, 0.0)
        for number, failure in zip(lacking["number"], found, strict=True)
        if isinstance(failure, DecodeFailure)
    ]
    known = [one if isinstance(one, Stamp) else Stamp(None, None) for one in found]
    fresh = lacking.select("number").with_columns(
        pl.Series(name, [getattr(one, name) for one in known], listing.schema[name]) for name in STAMP
    )
    return numbered.update(fresh, on="number").drop("number"), tuple(failures)


def _with_content(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows with content_hash, null where no file of this name and stamp is known."""
    for mark in ("etag", "modified_ns"):
        facts = known.select("uri", "size_bytes", mark, "content_hash").drop_nulls()
        once = facts.unique(["uri", "size_bytes", mark], keep="last")
        rows = rows.join(
            once.rename({"content_hash": f"by_{mark}"}),
            on=["uri", "size_bytes", mark],
            how="left",
            maintain_order="left",
        )
    # An ETag, where there is one, is the store's own word on the bytes; a time may be that of a copy.
    by_mark = pl.when(pl.col("etag").is_null()).then("by_modified_ns").otherwise("by_etag")
    return rows.with_columns(by_mark.alias("content_hash")).drop("by_etag", "by_modified_ns")
