"""Files of tags: a vocabulary in, the tags of all videos out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import VideoTable
from features.errors import BadInput
from ingest.encoders.tags import TagBlock, Tagger

SCHEMA = pa.schema(
    [("video_id", pa.string()), ("rank", pa.int32()), ("tag", pa.string()), ("probability", pa.float32())]
)


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Tags of a file, one a line, in lower case, each once; BadInput where there is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no readable UTF-8 file of tags; give one tag a line") from error
    tags = tuple(dict.fromkeys(line.strip().lower() for line in lines if line.strip()))
    if not tags:
        raise BadInput(f"{path} names no tag; give one a line")
    return tags


def write_tags(tagger: Tagger, videos: VideoTable, k: int, out: Path) -> int:
    """Writes `video_id, rank, tag, probability`, at most k rows a video; returns the number of rows.

    Written aside and renamed, block by block, so memory does not grow with the videos.
    """
    if out.is_dir():
        raise BadInput(f"--out {out} is a directory; name a file")
    out.parent.mkdir(parents=True, exist_ok=True)
    ids, tags = np.array(videos.ids, object), np.array(tagger.tags, object)
    aside, rows = out.parent / f".{out.name}.{os.getpid()}.tmp", 0
    try:
        with pq.ParquetWriter(aside, SCHEMA, compression="zstd") as writer:
            for block in tagger.best(videos, k):
                table = _as_table(block, ids, tags)
                writer.write_table(table)
                rows += len(table)
        os.replace(aside, out)
    finally:
        aside.unlink(missing_ok=True)
    return rows


def _as_table(block: TagBlock, ids: np.ndarray, tags: np.ndarray) -> pa.Table:
    known = np.isfinite(block.probabilities)  # (b, k)
    at, rank = np.nonzero(known)
    columns = [ids[block.rows[at]], rank, tags[block.tags[known]], block.probabilities[known]]
    return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)
