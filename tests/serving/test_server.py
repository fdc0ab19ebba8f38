"""The server: clear refusals before it starts, slates while Redis is gone, new bundles taken whole."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from features.errors import BadInput, NotFound
from features.redis_server import private_redis
from features.workspace import open_workspace
from serving.server import bind_port, run_server
from serving.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[2]

SERVE = """
import logging, sys
from pathlib import Path
from serving.server import run_server
from serving.settings import ServeSettings
logging.basicConfig(level=logging.INFO)
run_server(
    ServeSettings(Path(sys.argv[1]), port=int(sys.argv[2]), workers=int(sys.argv[3]), budget_ms=20_000,
                  store_timeout_ms=5_000),
    lambda url: print("READY", url, flush=True),
)
print("ENDED torch" if "torch" in sys.modules else "ENDED", flush=True)
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def copy(world, tmp_path):
    """A workspace of one's own: the world's, copied."""
    return open_workspace(shutil.copytree(world.workspace.root, tmp_path / "ws"))


def test_a_port_in_use_is_named_with_the_way_out(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"port {port} on 127\.0\.0\.1 is in use.*--port"):
            run_server(ServeSettings(world.workspace.root, port=port))


def test_a_host_that_is_not_ours_is_named_with_the_way_out():
    with pytest.raises(BadInput, match=r"192\.0\.2\.1.*--host"):
        bind_port("192.0.2.1", free_port())


def test_without_a_published_bundle_the_next_step_is_named(tmp_path):
    open_workspace(tmp_path / "bare", create=True)
    with pytest.raises(NotFound, match="reelrank train"):
        run_server(ServeSettings(tmp_path / "bare", port=free_port()))


def test_a_redis_that_does_not_answer_is_named_and_nothing_stays_behind(world):
    port = free_port()
    with pytest.raises(BadInput, match="REDIS_URL"):
        run_server(
            ServeSettings(world.workspace.root, port=port, redis_url=f"redis://127.0.0.1:{free_port()}")
        )
    bind_port("127.0.0.1", port).close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_fills_its_private_redis_serves_and_ends_on_a_signal(copy, workers):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(copy.root), str(port), str(workers)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"READY http://127.0.0.1:{port}/\n"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            slate = client.get("/v1/users/u01/recommendations?k=5").json()
            assert (slate["served_by"], len(slate["items"])) == ("full", 5)
            assert client.get("/v1/users/u01/history").json()["items"]
            event = {
                "user_id": "u01",
                "events": [{"video_id": "surf/00.mp4", "event": "like", "event_id": "e1"}],
            }
            assert client.post("/v1/events", json=event).json()["accepted"] == 1
        server.send_signal(signal.SIGTERM)
        assert server.stdout.read() == "ENDED\n"
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert copy.interactions.read().filter(event_id="e1").height == 1
    assert not (copy.root / "redis" / "url").exists()


def test_slates_go_on_while_redis_is_gone_and_say_so(world, serve, tmp_path):
    with private_redis(tmp_path / "redis") as url, serve(world.workspace.root, redis_url=url) as client:
        assert client.get("/v1/users/u01/recommendations").json()["served_by"] == "full"
        client.post("/v1/events", json={"user_id": "u01", "events": [{"video_id": "surf/00.mp4"}]})
        os.kill(redis_pid(url), signal.SIGKILL)
        slates = [client.get("/v1/users/u01/recommendations?k=8").json() for _ in range(4)]
        for slate in slates:
            assert (slate["served_by"], len(slate["items"])) == ("popular", 8)
            assert "Redis" in slate["degraded"][0]
        assert client.post("/v1/recommendations", json={"history": []}).json()["served_by"] == "full"
        refused = client.post("/v1/events", json={"user_id": "u01", "events": [{"video_id": "surf/01.mp4"}]})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        ready = client.get("/readyz").json()
        assert ready["ready"]
        assert ready["store"].startswith("unavailable")
        assert 'reelrank_slates_total{served_by="popular"} 4' in client.get("/metrics").text


def redis_pid(url):
    import redis

    with redis.Redis.from_url(url) as client:
        return client.info("server")["process_id"]


def test_a_spent_budget_still_gives_a_slate_without_what_was_seen(world, loaded, serve):
    with serve(world.workspace.root, redis_url=loaded, budget_ms=0.001) as client:
        slate = client.get("/v1/users/u02/recommendations?k=10").json()
        assert (slate["served_by"], len(slate["items"])) == ("popular", 10)
        assert "0.001 ms" in slate["degraded"][0]
        seen = {item["video_id"] for item in client.get("/v1/users/u02/history?limit=500").json()["items"]}
        assert not seen & {item["video_id"] for item in slate["items"]}


def test_a_published_bundle_is_taken_and_a_half_written_one_is_refused(copy, loaded, serve):
    first = copy.current_bundle()
    whole, broken = _renamed(copy, first, "29990101t000000-aaaaaaaa"), "29990102t000000-bbbbbbbb"
    _renamed(copy, first, broken)
    (copy.model(broken) / "popularity.npy").write_bytes(b"half")
    with serve(copy.root, redis_url=loaded) as client:
        copy.publish(broken)
        _wait(lambda: 'reelrank_bundle_swaps_total{outcome="refused"} 1' in client.get("/metrics").text)
        assert client.get("/v1/users/u01/recommendations").json()["bundle"] == first
        copy.publish(whole)
        _wait(lambda: client.get("/v1/users/u01/recommendations").json()["bundle"] == whole)
        assert client.get("/readyz").json()["bundle"] == whole


def _renamed(workspace, bundle, name):
    shutil.copytree(workspace.model(bundle), workspace.model(name))
    manifest = workspace.model(name) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "name": name}))
    return name


def _wait(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
