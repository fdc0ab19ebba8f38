"""A small planted world: users like videos of their topic, and vectors show the topic."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.contracts import CATALOGUE, EMBEDDINGS, INTERACTIONS, SPACES, conform
from features.definitions import feature_version
from features.histories import build_event_log
from features.pipeline import FeatureSet
from features.videos import build_video_table
from features.workspace import Workspace, open_workspace

World = Callable[..., FeatureSet]
START = datetime(2026, 1, 1, tzinfo=UTC)


def _features(events: pl.DataFrame, catalogue: pl.DataFrame, vectors: pl.DataFrame | None) -> FeatureSet:
    catalogue = conform(catalogue, CATALOGUE, "catalogue")
    events = conform(events, INTERACTIONS, "interactions")
    log, counts = build_event_log(events, catalogue)
    embeddings = space = None
    if vectors is not None:
        embeddings = conform(vectors, EMBEDDINGS, "embeddings")
        joint = vectors.select("video_key", "video_id", joint="visual").with_columns(mask=pl.lit(3, pl.UInt8))
        space = conform(joint, SPACES, "space")
    known = events.join(catalogue.select("video_id", "video_key"), on="video_id", maintain_order="left")
    return FeatureSet(
        videos=build_video_table(catalogue, space, embeddings),
        interactions=known,
        log=log,
        catalogue=catalogue,
        encoder_version="planted" if vectors is not None else None,
        space_version="planted" if vectors is not None else None,
        feature_version=feature_version(),
        counts=counts,
    )


def planted_world(
    users: int = 120,
    videos: int = 60,
    topics: int = 4,
    each: int = 10,
    *,
    times: bool = True,
    vectors: bool = True,
    cold: int = 0,
    seed: int = 0,
) -> FeatureSet:
    """User u likes topic u % topics; video v is of topic v % topics; nine in ten events follow the taste.

    The last `cold` videos are never watched.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        own = np.arange(user % topics, videos - cold, topics)
        other = np.arange(videos - cold)
        picked = [draw.choice(own if draw.random() < 0.9 else other) for _ in range(each)]
        for place, video in enumerate(dict.fromkeys(picked)):
            liked = video % topics == user % topics
            rows.append(
                {
                    "user_id": f"u{user:03d}",
                    "video_id": f"v{video:03d}",
                    "event": ("play", "like")[place % 2] if liked else "skip",
                    "ts": START + timedelta(hours=12 * place + user % 12) if times else None,
                    "watch_s": 9.0 if liked else 1.0,
                }
            )
    events = pl.DataFrame(rows, schema_overrides={"ts": pl.Datetime("ms", "UTC")}).with_row_index("order")
    events = events.with_columns(event_key=pl.format("e{}", "order"))
    keys = np.arange(videos)
    catalogue = pl.DataFrame(
        {
            "video_key": keys,
            "video_id": [f"v{v:03d}" for v in keys],
            "title": [f"Topic {v % topics} part {v}" for v in keys],
            "duration_s": np.full(videos, 10.0),
            "published_at": [START - timedelta(days=int(v)) if times else None for v in keys],
        },
        schema_overrides={"published_at": pl.Datetime("ms", "UTC")},
    )
    if not vectors:
        return _features(events, catalogue, None)
    centres = np.eye(8)[keys % topics]
    noisy = centres[None] + draw.normal(0, 0.15, (2, videos, 8))
    noisy = (noisy / np.linalg.norm(noisy, axis=2, keepdims=True)).astype(np.float32)
    shown = catalogue.select("video_key", "video_id").with_columns(
        visual=pl.Series(noisy[0].tolist(), dtype=pl.List(pl.Float32)),
        audio=pl.Series(noisy[1].tolist(), dtype=pl.List(pl.Float32)),
    )
    return _features(events, catalogue, shown)


@pytest.fixture(scope="session")
def world() -> World:
    """Makes planted worlds."""
    return planted_world


@pytest.fixture
def workspace(tmp_path: object) -> Workspace:
    """An empty workspace."""
    return open_workspace(f"{tmp_path}/workspace", create=True)
