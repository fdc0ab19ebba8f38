"""All that is known of each video, as arrays in one order of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import MODALITIES, QUALITY_FEATURES, Floats, Int64s, VideoTable, modality_bits
from features.errors import BadInput


def build_video_table(
    catalogue: pl.DataFrame, space: pl.DataFrame | None, embeddings: pl.DataFrame | None
) -> VideoTable:
    """Every video of the catalogue, sorted by key.

    Args:
        catalogue: columns of CATALOGUE.
        space: columns of SPACES, or None: `joint` is then (n, 0).
        embeddings: columns of EMBEDDINGS, or None: every modality is then (n, 0).

    Returns:
        A table whose `vectors` hold all three modalities; (n, 0) where no video has one, zero rows where a
        video lacks it; quality columns are NaN where the embeddings have none. The mask says what the vectors
        hold; the space's mask where there are no embeddings.
        Nothing is imputed yet, and nobody has neighbours: who trains on a part of the log may fill in from
        that part alone.

    Raises:
        BadInput: vectors of one modality differ in length.
    """
    rows = catalogue.sort("video_key")
    keys = rows["video_key"].to_numpy().astype(np.int64)
    vectors = {name: _vectors(keys, embeddings, name) for name in MODALITIES}
    return VideoTable(
        keys=keys,
        ids=tuple(rows["video_id"]),
        vectors=vectors,
        joint=_vectors(keys, space, "joint"),
        mask=_mask(keys, vectors, space, embeddings is not None),
        agreement=_floats(_aligned(keys, space, "agreement", pl.Float32())),
        imputed=np.zeros(len(keys), np.uint8),
        sound_fit=_floats(_aligned(keys, space, "sound_fit", pl.Float32())),
        text_fit=_floats(_aligned(keys, space, "text_fit", pl.Float32())),
        quality=_quality(keys, embeddings),
        neighbours=np.zeros((len(keys), 0), np.int32),
        neighbour_weights=np.zeros((len(keys), 0), np.float32),
        duration_s=_floats(rows["duration_s"]),
        published_ms=rows["published_at"].dt.epoch("ms").fill_null(0).to_numpy().astype(np.int64),
        creators=_codes(rows["creator_id"]),
        tags=tuple(tuple(tag.lower() for tag in tags or () if tag) for tags in rows["tags"].to_list()),
    )


def video_rows(videos: VideoTable) -> pl.DataFrame:
    """`video_id` (String) and `row` (Int32) of each video: a log joined with it names rows of the table."""
    return pl.DataFrame(
        {"video_id": pl.Series(videos.ids, dtype=pl.String), "row": np.arange(len(videos), dtype=np.int32)}
    )


def _vectors(keys: Int64s, frame: pl.DataFrame | None, column: str) -> Floats:
    present = (
        None
        if frame is None
        else frame.filter(pl.col(column).is_not_null() & pl.col("video_key").is_in(keys))
    )
    if present is None or not len(present):
        return np.zeros((len(keys), 0), np.float32)
    sizes = present[column].list.len().unique()
    if len(sizes) > 1:
        raise BadInput(
            f"{column} vectors have lengths {sorted(sizes)}; all of one encoder or space must be alike"
        )
    flat = present[column].explode().to_numpy()
    out = np.zeros((len(keys), int(sizes[0])), np.float32)
    out[np.searchsorted(keys, present["video_key"].to_numpy())] = flat.reshape(len(present), -1)
    return out


def _mask(
    keys: Int64s, vectors: dict[str, Floats], space: pl.DataFrame | None, embedded: bool
) -> npt.NDArray[np.uint8]:
    if not embedded:
        return _aligned(keys, space, "mask", pl.UInt8()).fill_null(0).to_numpy().astype(np.uint8)
    return modality_bits({name: np.asarray(rows.any(axis=1)) for name, rows in vectors.items()}, len(keys))


def _aligned(keys: Int64s, frame: pl.DataFrame | None, column: str, dtype: pl.DataType) -> pl.Series:
    if frame is None:
        return pl.Series(column, [None] * len(keys), dtype=dtype)
    wanted = pl.DataFrame({"video_key": keys})
    return wanted.join(frame.select("video_key", column), on="video_key", how="left", maintain_order="left")[
        column
    ]


def _quality(keys: Int64s, embeddings: pl.DataFrame | None) -> Floats:
    has = () if embeddings is None else embeddings.columns
    columns = [
        _floats(_aligned(keys, embeddings if name in has else None, name, pl.Float32()))
        for name in QUALITY_FEATURES
    ]
    return np.stack(columns, axis=1)


def _floats(values: pl.Series) -> Floats:
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)


def _codes(names: pl.Series) -> npt.NDArray[np.int32]:
    order = {name: code for code, name in enumerate(sorted(names.drop_nulls().unique()))}
    return np.array([order.get(name, -1) for name in names], np.int32)
