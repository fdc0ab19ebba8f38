"""A workspace of its own, a small log, and one Redis for all tests of the store."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.contracts import (
    DAY_MS,
    EVENTS,
    INTERACTIONS,
    QUALITY_FEATURES,
    SPACES,
    TS,
    VECTOR,
    VideoTable,
    conform,
)
from features.redis_server import private_redis
from features.videos import build_video_table
from features.workspace import Workspace, open_workspace

T0 = 1_767_225_600_000
"""2026-01-01, a Thursday."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace", create=True)


@pytest.fixture(scope="session")
def interactions_of() -> Callable[..., pl.DataFrame]:
    """Makes a frame of INTERACTIONS from a few columns; `ts` in ms since the epoch."""

    def make(**columns: list[Any]) -> pl.DataFrame:
        n = len(columns["video_id"])
        given = {
            "event_key": [str(i) for i in range(n)],
            "order": list(range(n)),
            "event": ["play"] * n,
            **columns,
        }
        frame = pl.DataFrame(given)
        times = [pl.col(name).cast(pl.Int64).cast(TS) for name in ("ts", "received_at") if name in given]
        return conform(frame.with_columns(times), INTERACTIONS, "test")

    return make


@pytest.fixture(scope="session")
def random_log(interactions_of: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """4,000 events of 60 users on 130 videos, 120 of them known, over 20 days, ties in time included."""
    rng = np.random.default_rng(7)
    n = 4000
    return interactions_of(
        user_id=[f"u{i}" for i in rng.integers(0, 60, n)],
        video_id=[f"v{i}" for i in rng.integers(0, 130, n)],
        event=[EVENTS[i] for i in rng.integers(0, len(EVENTS), n)],
        ts=(T0 + rng.integers(0, 20 * 24, n) * 3_600_000).tolist(),
        watch_s=rng.uniform(0, 20, n).tolist(),
    )


@pytest.fixture(scope="session")
def catalogue() -> pl.DataFrame:
    rng = np.random.default_rng(8)
    n = 120
    return pl.DataFrame(
        {
            "video_key": np.arange(n) * 3,
            "video_id": [f"v{i}" for i in range(n)],
            "tags": [[f"t{i % 7}", f"t{i % 3}"] if i % 5 else None for i in range(n)],
            "creator_id": [f"c{i % 9}" if i % 4 else None for i in range(n)],
            "published_at": pl.Series(T0 - rng.integers(0, 50 * DAY_MS, n)).cast(TS),
            "duration_s": rng.uniform(4, 30, n),
        }
    )


@pytest.fixture(scope="session")
def videos(catalogue: pl.DataFrame) -> VideoTable:
    rng = np.random.default_rng(9)

    def units(d: int, missing: int) -> pl.Series:
        rows = rng.normal(size=(len(catalogue), d)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return pl.Series(
            [None if missing and i % missing == 0 else row.tolist() for i, row in enumerate(rows)],
            dtype=VECTOR,
        )

    ids = catalogue.select("video_key", "video_id")
    embeddings = ids.with_columns(visual=units(48, 0), audio=units(33, 6), text=units(20, 4))
    space = ids.with_columns(joint=units(24, 0), mask=pl.lit(7, pl.UInt8), agreement=pl.lit(0.5, pl.Float32))
    return build_video_table(catalogue, conform(space, SPACES, "test"), embeddings)


@pytest.fixture(scope="session")
def rich_videos(videos: VideoTable) -> VideoTable:
    """The same videos with quality columns and neighbours."""
    rng = np.random.default_rng(10)
    n, k = len(videos), 6
    quality = rng.uniform(0, 1, (n, len(QUALITY_FEATURES))).astype(np.float32)
    neighbours = np.array([rng.choice(n, k, replace=False) for _ in range(n)], np.int32)
    weights = np.sort(rng.uniform(0, 1, (n, k)).astype(np.float32), axis=1)[:, ::-1]
    neighbours[:, 4:] = np.where(rng.random((n, 2)) < 0.5, -1, neighbours[:, 4:])
    return replace(
        videos,
        quality=np.where(quality < 0.1, np.float32(np.nan), quality),
        neighbours=neighbours,
        neighbour_weights=np.where(neighbours >= 0, weights, np.float32(0)),
    )


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url
