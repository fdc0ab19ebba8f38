"""The keeper and the watch go on whatever happens; a fast clock and a full outbox harm nobody else."""

import asyncio
import contextlib
import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from features.errors import NotFound
from features.store import Store
from serving import upkeep
from serving.live import Live, watching
from serving.metrics import Metrics
from serving.problems import Overloaded
from serving.settings import ServeSettings
from serving.upkeep import keeping_store
from tests.serving.conftest import roomy


def ahead(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize("named", [{}, {"event_id": "early"}])
def test_a_repeat_from_a_clock_that_is_ahead_counts_once(client, named):
    event = {"video_id": "jazz/03.mp4", "ts": ahead(120), **named}
    body = {"user_id": f"ahead{len(named)}", "events": [event]}
    assert client.post("/v1/events", json=body).json()["accepted"] == 1
    again = client.post("/v1/events", json=body).json()
    assert (again["accepted"], again["duplicates"], again["conflicts"]) == (0, 1, 0)


def test_a_full_outbox_refuses_events_and_leaves_slates_as_they_are(client, monkeypatch):
    monkeypatch.setattr("features.store.OUTBOX_KEPT", 0)
    answer = client.post("/v1/events", json={"user_id": "fuller", "events": [{"video_id": "jazz/03.mp4"}]})
    assert answer.status_code == 503, answer.text
    assert "wait in one outbox" in answer.json()["detail"]
    assert client.get("/v1/users/u01/recommendations?k=3").json()["served_by"] == "full"


def test_a_keeper_that_met_a_fault_goes_on(world, redis_url, monkeypatch):
    rounds = threading.Semaphore(0)

    def broken(*_: object) -> int:
        rounds.release()
        raise ValueError("a file nobody can read")

    settings = ServeSettings(workspace=world.workspace.root, watch_s=0.01, drain_s=0.01, namespace="faulty")
    with contextlib.closing(Store.connect(redis_url, "faulty", timeout_s=5)) as store:
        store.mark_loaded({"users": 0})
    monkeypatch.setattr(upkeep, "drain_and_count", broken)
    with keeping_store(settings, redis_url):
        assert all(rounds.acquire(timeout=10) for _ in range(3))


@pytest.mark.parametrize("fault", [OSError("gone"), Overloaded("busy"), NotFound("no bundle")])
def test_a_watch_that_met_a_fault_goes_on(fault):
    class Pages:
        rounds = 0

        async def run(self, _: Any) -> None:
            self.rounds += 1
            raise fault

    class Stub:
        settings = roomy(".", watch_s=0.01)  # type: ignore[arg-type]
        pages = Pages()
        refresh = None
        desk = dataclasses.make_dataclass("Named", ["name"])("b")

    async def watch() -> None:
        async with watching(Stub()):  # type: ignore[arg-type]
            while Stub.pages.rounds < 3:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(watch(), 10))


def test_statistics_that_are_swept_while_they_are_read_are_not_taken_up(world, loaded, monkeypatch):
    store = Store.connect(loaded, timeout_s=5)
    live = Live(roomy(world.workspace.root, redis_url=loaded), store, Metrics())
    before = live.desk

    def half_read(desk, _):
        load = dataclasses.make_dataclass("Load", ["load"])("swept")
        return dataclasses.replace(desk, statistics_load=load)

    def gone(*_):
        raise NotFound("the load is not in Redis")

    monkeypatch.setattr("serving.live.with_statistics", half_read)
    monkeypatch.setattr(store.rows, "register_worker", gone, raising=False)
    live.refresh()
    assert live.desk.statistics_load is before.statistics_load
    live.close()
