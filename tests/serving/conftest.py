"""A small world for the serving tests: three topics, a trained bundle, a real Redis, a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
import uvicorn

from features.catalogue import register
from features.importers import import_embeddings, import_events
from features.pipeline import FeatureSet, build_features, load_store
from features.redis_server import private_redis
from features.store import Store
from features.workspace import Workspace, open_workspace
from ranker.pipeline import TrainSettings, train
from serving.app import create_app
from serving.settings import ServeSettings

TOPICS = ("jazz", "surf", "bread")
PER_TOPIC = 14
USERS = 45


def video_id(topic: str, number: int) -> str:
    return f"{topic}/{number:02d}.mp4"


def topic_of(video_id: str) -> str:
    return video_id.split("/")[0]


@dataclass(frozen=True)
class World:
    """A workspace with a published bundle."""

    workspace: Workspace
    features: FeatureSet
    bundle: str


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("serving")
    workspace = open_workspace(root / "ws", create=True)
    now = datetime.now(UTC).replace(microsecond=0)
    rng = np.random.default_rng(5)
    _write_videos(workspace, root, rng, now)
    log = pl.DataFrame(
        _plays(rng, now), schema=["user_id", "video_id", "ts", "watch_s", "event"], orient="row"
    )
    log.write_parquet(root / "log.parquet")
    import_events(workspace, [root / "log.parquet"])
    features = build_features(workspace)
    bundle = train(features, workspace, TrainSettings(epochs=3, dim=16, threads=1))
    workspace.publish(bundle)
    return World(workspace, features, bundle)


def _write_videos(workspace: Workspace, root: Path, rng: np.random.Generator, now: datetime) -> None:
    centres = np.eye(len(TOPICS), 16)
    ids, vectors = [], []
    for at, topic in enumerate(TOPICS):
        for number in range(PER_TOPIC):
            ids.append(video_id(topic, number))
            vectors.append((centres[at] + rng.normal(0, 0.12, 16)).astype(np.float32).tolist())
    frame = pl.DataFrame({"video_id": ids, "visual": vectors})
    frame.write_parquet(root / "vectors.parquet")
    import_embeddings(workspace, [root / "vectors.parquet"])
    register(
        workspace,
        pl.DataFrame({
            "video_id": ids,
            "title": [f"{topic_of(i).title()} number {i[-6:-4]}" for i in ids],
            "tags": [[topic_of(i)] for i in ids],
            "creator_id": [f"{topic_of(i)}-maker-{n % 5}" for n, i in enumerate(ids)],
            "published_at": [now - timedelta(days=60 - n) for n in range(len(ids))],
            "duration_s": pl.Series([20.0] * len(ids), dtype=pl.Float32),
        }),
    )  # fmt: skip


def _plays(rng: np.random.Generator, now: datetime) -> list[tuple[str, str, datetime, float, str]]:
    rows = []
    for user in range(USERS):
        favourite = TOPICS[user % len(TOPICS)]
        for step in range(10):
            topic = favourite if rng.random() < 0.85 else TOPICS[int(rng.integers(len(TOPICS)))]
            ts = now - timedelta(days=12 - step, minutes=int(rng.integers(600)))
            event = "like" if rng.random() < 0.2 else "play"
            rows.append((f"u{user:02d}", video_id(topic, int(rng.integers(PER_TOPIC))), ts, 18.0, event))
    return rows


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def loaded(world: World, redis_url: str) -> str:
    """The URL of a Redis that holds the world's histories."""
    store = Store.connect(redis_url, timeout_s=5)
    load_store(world.features, store, world.workspace)
    store.close()
    return redis_url


def roomy(workspace: Path, **changes: object) -> ServeSettings:
    """Settings whose time limits a busy test machine keeps."""
    given: dict[str, object] = {"budget_ms": 20_000.0, "store_timeout_ms": 5_000.0, "watch_s": 0.1, **changes}
    return ServeSettings(workspace=workspace, **given)  # type: ignore[arg-type]


@contextlib.contextmanager
def running(settings: ServeSettings) -> Iterator[httpx.Client]:
    """A client of a real server of these settings, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def client(world: World, loaded: str) -> Iterator[httpx.Client]:
    """A client of a server on the loaded store; tests keep to users of their own."""
    with running(roomy(world.workspace.root, redis_url=loaded)) as client:
        yield client


@pytest.fixture(scope="session")
def serve() -> Callable[..., contextlib.AbstractContextManager[httpx.Client]]:
    """`with serve(workspace_root, redis_url=…) as client`: a server of its own, with roomy time limits."""

    @contextlib.contextmanager
    def start(workspace: Path, **changes: object) -> Iterator[httpx.Client]:
        with running(roomy(workspace, **changes)) as client:
            yield client

    return start
