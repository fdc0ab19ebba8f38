"""Bring-your-own embeddings: checked, brought to unit length, and stored as those of an encoder."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from features.catalogue import register
from features.contracts import EMBEDDINGS, MAX_ID_BYTES, MODALITIES, VECTOR, Floats, cast_column, conform
from features.errors import BadInput
from features.formats.readers import Source, find_files, is_table, read_table
from features.workspace import Workspace


@dataclass(frozen=True, slots=True)
class EmbeddingImport:
    """What became of the rows of an import."""

    encoder_version: str
    """`import-` and 8 hex digits of the content."""
    rows: int
    imported: int
    refused: dict[str, int] = field(default_factory=dict)
    """Rows refused, and zero vectors set aside (`zero visual`, ...: the row itself is used), by reason."""
    dims: dict[str, int] = field(default_factory=dict)
    """Length of the vectors, by modality."""


def import_embeddings(workspace: Workspace, paths: list[Path]) -> EmbeddingImport:
    """Stores vectors as the embeddings of an encoder named by their content, and registers their videos.

    The same content again changes nothing.

    Args:
        workspace: where they go.
        paths: Parquet files with `video_id` and any of `visual`, `audio`, `text` as lists of floats, each
        of one
            length in all files; any may be null.

    Raises:
        BadInput: a file is missing or unreadable, lacks `video_id`, has no modality, or no row can be used.
    """
    sources = [read_table(path) for path in find_files(paths, is_table)]
    given = pl.concat([_select(source) for source in sources])
    version = (
        "import-" + hashlib.blake2b("".join(s.digest for s in sources).encode(), digest_size=4).hexdigest()
    )
    refused: Counter[str] = Counter()
    size = pl.col("video_id").str.len_bytes()
    rows = _drop(given, pl.col("video_id").is_null() | (size == 0), "no video_id", refused)
    rows = _drop(rows, size > MAX_ID_BYTES, "video_id too long", refused)
    rows = _drop(rows, ~pl.struct("video_id").is_last_distinct(), "video_id given again", refused)
    rows, dims = _check_vectors(rows, refused)
    if not len(rows):
        raise BadInput(f"none of the {len(given)} rows can be used: {_tell(refused)}")
    catalogue = register(workspace, rows.select("video_id"))
    table = workspace.embeddings(version)
    if not table.exists():
        units = [_unit(rows[name], dims.get(name, 0), refused) for name in MODALITIES]
        keyed = rows.select("video_id", rung=pl.lit("import")).with_columns(units)
        found = keyed.join(catalogue.select("video_id", "video_key"), on="video_id", maintain_order="left")
        table.replace(conform(found, EMBEDDINGS, "embeddings"), meta={"dims": dims})
    else:
        for name in MODALITIES:
            _unit(rows[name], dims.get(name, 0), refused)
    return EmbeddingImport(version, len(given), len(rows), dict(sorted(refused.items())), dims)


def _select(source: Source) -> pl.DataFrame:
    has = [name for name in source.frame.columns if name != "row"]
    if "video_id" not in has:
        raise BadInput(
            f"{source.path.name} lacks the required column video_id; it has {', '.join(has) or 'none'}"
        )
    if not set(MODALITIES) & set(has):
        raise BadInput(f"{source.path.name} has none of {', '.join(MODALITIES)}; it has {', '.join(has)}")
    columns = [cast_column(source.frame["video_id"], pl.String(), source.path.name, strict=False)]
    wrong: list[str] = []
    for name in MODALITIES:
        if name not in has or source.frame[name].dtype == pl.Null:
            columns.append(pl.Series(name, [None] * len(source.frame), dtype=VECTOR))
            continue
        kind = source.frame[name].dtype
        if isinstance(kind, pl.List | pl.Array) and kind.inner is not None and kind.inner.is_numeric():
            columns.append(source.frame[name].cast(VECTOR, strict=False))
        else:
            wrong.append(f"{name} is {kind}, not a list of floats")
    if wrong:
        raise BadInput(f"{source.path.name}: {'; '.join(wrong)}")
    return pl.DataFrame(columns)


def _drop(rows: pl.DataFrame, wrong: pl.Expr, reason: str, refused: Counter[str]) -> pl.DataFrame:
    mask = rows.select(wrong.fill_null(False).alias("wrong")).to_series()
    if mask.any():
        refused[reason] += int(mask.sum())
    return rows.filter(~mask)


def _check_vectors(rows: pl.DataFrame, refused: Counter[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows whose vectors are all finite and of their modality's most common length; and these lengths."""
    dims: dict[str, int] = {}
    for name in MODALITIES:
        sizes = rows[name].list.len().drop_nulls()
        if not len(sizes):
            continue
        common = sizes.value_counts().sort(["count", name], descending=True)[name]
        dims[name] = int(common[0])
        rows = _drop(rows, pl.col(name).list.len() != dims[name], f"{name} of another length", refused)
        sound = pl.col(name).list.eval(pl.element().is_finite().fill_null(False)).list.all()
        rows = _drop(rows, ~sound, f"{name} not finite", refused)
    return rows, {name: size for name, size in dims.items() if size}


def _unit(values: pl.Series, size: int, refused: Counter[str]) -> pl.Series:
    """The vectors at length 1, null where they are null or zero."""
    there: npt.NDArray[np.bool_] = values.is_not_null().to_numpy()
    if not size or not there.any():
        return pl.Series(values.name, [None] * len(values), dtype=VECTOR)
    flat = values.drop_nulls().explode().to_numpy().reshape(-1, size)
    vectors = np.zeros((len(values), size), np.float64)
    vectors[there] = flat
    lengths = np.sqrt((vectors * vectors).sum(axis=1))
    if (there & (lengths == 0)).any():
        refused[f"zero {values.name}"] += int((there & (lengths == 0)).sum())
    units: Floats = (vectors / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    lists = pl.Series(values.name, units).cast(VECTOR)
    return pl.select(pl.when(pl.Series(lengths > 0)).then(lists).alias(values.name)).to_series()


def _tell(refused: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items())) or "there are none"
