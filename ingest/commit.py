"""From raw descriptors to embeddings, each row written once.

Everything that names videos is committed at the end of a run, in an order that a later run can repeat: ids,
thumbnails, embeddings, and last the stamps by which the next run knows that there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.catalogue import register
from features.contracts import VECTOR, Floats
from features.tables import Snapshot, Table, write_all_durably
from features.workspace import Workspace
from ingest.descriptors import DESCRIBED, PICTURES, PRINTS
from ingest.encoders.projector import MAX_FIT_ROWS, FittedProjector, load_projector
from ingest.encoders.protocol import Encoder
from ingest.encoders.query import encoder_directory

log = logging.getLogger(__name__)

WORDS: Final = ("title", "description", "tags")
"""Columns that the text descriptor reads."""

HAS_WORDS: Final = pl.any_horizontal(pl.col(w).is_not_null() for w in WORDS)

CHUNK_ROWS: Final = 1 << 15
"""Videos whose descriptors are in memory at a time: about 200 MiB."""

REFIT_GROWTH: Final = 4.0
"""A modality that has grown so many times since its statistics were fitted gets new ones: a new version."""

MIN_REFIT: Final = 16
"""Fewer descriptors of a modality make no new statistics worth having."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the end of a run committed."""

    encoder_version: str | None
    """None where nothing has ever been embedded."""
    video_ids: frozenset[str]
    """Videos with a new row."""


def commit_embeddings(
    workspace: Workspace, table: Table, files: pl.DataFrame, encoder: Encoder, *, refit: bool = False
) -> Written:
    """Rows of embeddings for every described file that lacks one or has changed, and all that goes with them.

    Args:
        workspace: where to write.
        table: descriptors of all contents.
        files: the readable listing with its stamps.
        encoder: fits the statistics where there are none, or too few.
        refit: fit new statistics, which makes a new encoder version.
    """
    facts = table.read(["content_hash", "duration_s"]).unique("content_hash", keep="last")
    ready = files.join(facts, on="content_hash", how="inner", maintain_order="left")
    if not facts.height or not (ready.height or workspace.encoder_versions()):
        return Written(None, frozenset())
    before = workspace.catalogue.read()
    videos = _with_words(ready, before)
    chosen = _choose(workspace, table, videos, before, encoder, refit=refit)
    projector, target = chosen.projector, workspace.embeddings(chosen.projector.encoder_version)
    held, others = target.read(["video_id", "content_hash"]), facts
    if chosen.behind:
        held = held.clear()
    else:
        others = facts.clear()
    due = _due(videos, before, held, others)
    if not due.height and workspace.encoder_versions()[-1] != projector.encoder_version:
        target.upsert([], "video_key")  # it is the latest again
    if due.height:
        catalogue = register(workspace, due.select("video_id", "uri"))
        due = due.join(catalogue.select("video_id", "video_key"), on="video_id", maintain_order="left")
        write_all_durably(_pictures(workspace, due, table))
        meta = {"fitted_on": chosen.fitted_on, **_origin(table, encoder)}
        meta |= {"encoder": list(encoder.specs), "shared": list(encoder.shared)}
        target.upsert(_embedding_rows(due, table, projector, encoder), "video_key", meta=meta)
        log.info("embedded videos=%d encoder_version=%s", due.height, projector.encoder_version)
    if ready.height:
        register(workspace, ready)
    return Written(projector.encoder_version, frozenset(due["video_id"]))


def _origin(table: Table, encoder: Encoder) -> dict[str, str]:
    """What vectors were made of, for the commit's meta."""
    return {"descriptors": table.name, "text": encoder.text_version}


def _is_of(snapshot: Snapshot, origin: dict[str, str]) -> bool:
    return all(snapshot.meta.get(name) == value for name, value in origin.items())


def _with_words(ready: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    """The files with the words they will have: the listing's, else the catalogue's."""
    old = catalogue.select("video_id", *WORDS)
    joined = ready.join(old, on="video_id", how="left", suffix="_old", maintain_order="left")
    changed = [(pl.coalesce(w, f"{w}_old").ne_missing(pl.col(f"{w}_old"))) for w in WORDS]
    return joined.with_columns(
        pl.any_horizontal(changed).alias("new_words"), *(pl.coalesce(w, f"{w}_old").alias(w) for w in WORDS)
    ).drop(f"{w}_old" for w in WORDS)


def _due(
    videos: pl.DataFrame, catalogue: pl.DataFrame, held: pl.DataFrame, others: pl.DataFrame
) -> pl.DataFrame:
    """Videos without a row, with new bytes or new words; and unlisted ones with one of the other contents."""
    rows = held.rename({"content_hash": "old_hash"})
    state = videos.join(rows, on="video_id", how="left", maintain_order="left")
    due = state.filter(pl.col("content_hash").ne_missing(pl.col("old_hash")) | pl.col("new_words"))
    columns = ("video_id", "uri", "content_hash", *WORDS)
    unlisted = catalogue.join(videos, on="video_id", how="anti").join(others, on="content_hash", how="semi")
    return pl.concat([due.select(columns), unlisted.select(columns)])


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What embeds the videos of a run."""

    projector: FittedProjector
    fitted_on: dict[str, int]
    """Descriptors of each modality that there were when it was fitted."""
    behind: bool
    """True where it is new, or words may have changed while another encoder was in use: no row stands."""


def _choose(
    workspace: Workspace,
    table: Table,
    videos: pl.DataFrame,
    catalogue: pl.DataFrame,
    encoder: Encoder,
    *,
    refit: bool,
) -> _Chosen:
    """The newest projector of these descriptors, or a new one."""
    counts, behind = _counts(table, videos, catalogue), False
    for version in () if refit else reversed(workspace.encoder_versions()):
        snapshot = workspace.embeddings(version).snapshot()
        if not _is_of(snapshot, _origin(table, encoder)):
            behind |= "descriptors" in snapshot.meta  # else somebody's own vectors, which hold no words
            continue
        fitted_on = snapshot.meta["fitted_on"]
        grown = (counts[m] >= max(MIN_REFIT, REFIT_GROWTH * fitted_on.get(m, 0)) for m in encoder.fitted)
        if not any(grown):
            return _Chosen(load_projector(encoder_directory(workspace, version)), fitted_on, behind)
        break
    return _Chosen(_fit(workspace, table, videos, catalogue, encoder), counts, behind=True)


def _counts(table: Table, videos: pl.DataFrame, catalogue: pl.DataFrame) -> dict[str, int]:
    """Descriptors of each modality that statistics could be fitted on now."""
    described = table.scan().select(pl.col(m).count() for m in DESCRIBED).collect().row(0, named=True)
    return {**described, "text": int(_all_words(videos, catalogue).select(HAS_WORDS.sum()).item())}


def _all_words(videos: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    """Words of the listed videos and of all known ones, sorted by id."""
    known = catalogue.join(videos, on="video_id", how="anti").select("video_id", *WORDS)
    return pl.concat([videos.select("video_id", *WORDS), known]).sort("video_id")


def _fit(
    workspace: Workspace, table: Table, videos: pl.DataFrame, catalogue: pl.DataFrame, encoder: Encoder
) -> FittedProjector:
    """Statistics of all contents, or of a sample that does not depend on which worker was faster."""
    raw: dict[str, Floats] = {m: _stack(_sample(table, m)) for m in DESCRIBED if m in encoder.fitted}
    if "text" in encoder.fitted:
        words = _all_words(videos, catalogue).filter(HAS_WORDS)
        _, raw["text"] = _describe_words(words.gather_every(max(1, len(words) // MAX_FIT_ROWS)), encoder)
    fitted = encoder.fit({m: values for m, values in raw.items() if len(values)})
    projector = _named_apart(workspace, fitted, _origin(table, encoder))
    projector.save(encoder_directory(workspace, projector.encoder_version))
    return projector


def _named_apart(workspace: Workspace, fitted: FittedProjector, origin: dict[str, str]) -> FittedProjector:
    """The projector under a version that no rows of other settings have.

    A model has no statistics, and a small corpus none of its own: they do not tell 8 frames from 16.
    """
    snapshot = workspace.embeddings(fitted.encoder_version).snapshot()
    if not snapshot.sequence or _is_of(snapshot, origin):
        return fitted
    said = hashlib.blake2b(json.dumps(origin, sort_keys=True).encode(), digest_size=3).hexdigest()
    return replace(fitted, encoder_version=f"{fitted.encoder_version}-{said}")


def _sample(table: Table, modality: str) -> pl.Series:
    """Descriptors of the contents with the smallest hashes, which are as good as drawn by lot."""
    hashes = table.scan().filter(pl.col(modality).is_not_null()).select("content_hash").unique()
    kept = hashes.sort("content_hash").head(MAX_FIT_ROWS)
    rows = table.scan().select("content_hash", modality).join(kept, on="content_hash", how="semi").collect()
    return rows.unique("content_hash", keep="last").sort("content_hash")[modality]


def _describe_words(words: pl.DataFrame, encoder: Encoder) -> tuple[list[int], Floats]:
    """Rows that have words, and their raw descriptors (n, D)."""
    found = encoder.describe_texts(words.select(WORDS).rows())
    at = [place for place, raw in enumerate(found) if raw is not None]
    return at, np.stack([raw for raw in found if raw is not None]) if at else np.zeros((0, 0), np.float32)


def _stack(vectors: pl.Series) -> Floats:
    """The lists that are not null, float32, (n, D)."""
    present = vectors.drop_nulls()
    if not len(present):
        return np.zeros((0, 0), np.float32)
    width = len(present[0])
    flat: Floats = present.explode().to_numpy().astype(np.float32).reshape(-1, width)
    return flat


def _embedding_rows(
    due: pl.DataFrame, table: Table, projector: FittedProjector, encoder: Encoder
) -> Iterator[pl.DataFrame]:
    """Rows of embeddings in the order of the frame, so many at a time that memory stays bounded."""
    pictures = [*PICTURES, *PRINTS]
    facts = [column.name for column in table.columns if column.name not in pictures]
    for some in due.iter_slices(CHUNK_ROWS):
        wanted = some.lazy().select("content_hash").unique()
        rows = table.scan().select(facts).join(wanted, on="content_hash", how="semi").collect()
        joined = some.join(
            rows.unique("content_hash", keep="last"), on="content_hash", how="left", maintain_order="left"
        )
        vectors = [_project(joined[m], m, projector) for m in DESCRIBED]
        at, texts = _describe_words(joined, encoder)
        vectors.append(_place("text", len(joined), at, projector.project("text", texts) if at else texts))
        yield joined.drop(*DESCRIBED, *WORDS).hstack(vectors)


def _project(raw: pl.Series, modality: str, projector: FittedProjector) -> pl.Series:
    at = raw.is_not_null().arg_true().to_list()
    return _place(modality, len(raw), at, projector.project(modality, _stack(raw)) if at else _stack(raw))


def _place(name: str, n: int, at: list[int], vectors: Floats) -> pl.Series:
    """A column of n lists: the vectors at their rows, null elsewhere and where a vector is zero."""
    column: list[Floats | None] = [None] * n
    for row, vector in zip(at, vectors, strict=True):
        column[row] = vector if vector.any() else None
    return pl.Series(name, [None if v is None else v.tolist() for v in column], dtype=VECTOR)


def _pictures(workspace: Workspace, due: pl.DataFrame, table: Table) -> Iterator[tuple[Path, bytes]]:
    """Thumbnails and previews of these videos, by file of the descriptors: few are in memory at a time."""
    keys = due.select("content_hash", "video_key").lazy()
    place = {"thumbnail": workspace.thumbnail, "preview": workspace.preview}
    for name in table.snapshot().files:
        rows = pl.scan_parquet(table.path / name).select("content_hash", *PICTURES)
        named = rows.join(keys, on="content_hash").select("video_key", *PICTURES).collect()
        for key, *pictures in named.iter_rows():
            for kind, picture in zip(PICTURES, pictures, strict=True):
                if picture is None:
                    place[kind](key).unlink(missing_ok=True)  # of bytes that this name had before
                else:
                    yield place[kind](key), picture
