"""Loads of feature rows: live until the next is whole, resumed where cut off, swept when superseded."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from features.errors import NotFound, StoreUnavailable
from features.redis_server import private_redis
from features.row_store import bulk_load
from features.row_store import loads as row_loads
from features.row_store.keys import RowKeys
from features.row_store.rows import RowStore
from features.row_store.schema import RowSchema

VIDEO = RowSchema("video", ("age", "plays"), "v1")
KEYS = np.arange(6000, dtype=np.int64)
NAMES = RowKeys("rr", "video")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        opened.flushdb()
        yield opened


@pytest.fixture
def store(client: redis.Redis, redis_url: str) -> Iterator[RowStore]:
    with contextlib.closing(RowStore.connect(redis_url, timeout_s=10)) as opened:
        yield opened


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_load, "PORTION", 50)


def matrix_of(seed: int, n: int = len(KEYS)) -> Any:
    return np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)


class Cut(Exception):
    """Ends a load where a test wants it to end."""


def cut_off(store: RowStore, matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that ends once 40 portions were laid out."""
    lay_out, made = bulk_load.set_commands, []

    def counted(*args: Any) -> Any:
        made.append(1)
        if len(made) > 40:
            raise Cut
        return lay_out(*args)

    with monkeypatch.context() as patch:
        patch.setattr(bulk_load, "set_commands", counted)
        with pytest.raises(Cut):
            store.load(VIDEO, KEYS, matrix)


def test_what_is_live_stays_so_until_the_next_load_is_whole(
    store: RowStore, small_portions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.load(VIDEO, KEYS, matrix_of(1))
    cut_off(store, matrix_of(2), monkeypatch)
    live = store.find(VIDEO)
    assert live.load == first.load
    np.testing.assert_array_equal(store.read(live, KEYS).matrix, matrix_of(1))
    second = store.load(VIDEO, KEYS, matrix_of(2))
    assert store.find(VIDEO).load == second.load != first.load
    np.testing.assert_array_equal(store.read(store.find(VIDEO), KEYS).matrix, matrix_of(2))
    np.testing.assert_array_equal(store.read(live, KEYS).matrix, matrix_of(1))  # still there for who reads it


def test_a_load_that_was_cut_off_goes_on_after_what_is_in(
    store: RowStore, client: redis.Redis, small_portions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(store, matrix_of(1), monkeypatch)
    begun = next(name.decode() for name in client.smembers(NAMES.loads))
    inside = sum(bulk_load.rows_in(client, NAMES, begun))
    assert 0 < inside < len(KEYS)
    loaded = store.load(VIDEO, KEYS, matrix_of(1))
    assert loaded.load == begun
    assert loaded.sent == len(KEYS) - inside
    np.testing.assert_array_equal(store.read(store.find(VIDEO), KEYS).matrix, matrix_of(1))
    assert store.load(VIDEO, KEYS, matrix_of(1)).sent == 0


def test_other_rows_begin_a_load_of_their_own(store: RowStore) -> None:
    names = {store.load(VIDEO, KEYS, matrix_of(1)).load, store.load(VIDEO, KEYS, matrix_of(2)).load}
    names.add(store.load(VIDEO, KEYS, matrix_of(1), as_of_ms=5).load)
    names.add(store.load(VIDEO, KEYS + 1, matrix_of(1)).load)
    names.add(store.load(RowSchema("video", VIDEO.names, "v2"), KEYS, matrix_of(1)).load)
    assert len(names) == 5


def test_redis_killed_in_a_load_serves_the_old_rows_and_takes_the_rest_of_the_new(
    tmp_path: Path, small_portions: None
) -> None:
    with private_redis(tmp_path) as url, contextlib.closing(RowStore.connect(url, timeout_s=10)) as store:
        old = store.load(VIDEO, KEYS, matrix_of(1))
        failed = kill_in_load(url, store)
    with private_redis(tmp_path) as url, contextlib.closing(RowStore.connect(url, timeout_s=10)) as store:
        live = store.find(VIDEO)
        assert live.load == old.load
        np.testing.assert_array_equal(store.read(live, KEYS).matrix, matrix_of(1))
        with redis.Redis.from_url(url) as client:
            begun = next(name.decode() for name in client.smembers(NAMES.loads) - {old.load.encode()})
            inside = sum(bulk_load.rows_in(client, NAMES, begun))
        new = store.load(VIDEO, KEYS, matrix_of(2))
        assert (new.load, new.sent) == (begun, len(KEYS) - inside)
        assert 0 < new.sent < len(KEYS)
        found = store.read(store.find(VIDEO), KEYS)
        assert found.missing == 0
        np.testing.assert_array_equal(found.matrix, matrix_of(2))
    assert "load_rows" in str(failed)


def kill_in_load(url: str, store: RowStore) -> StoreUnavailable:
    """Kills the server once a part of a load is in; returns how the load ended."""
    ended: list[StoreUnavailable] = []
    half = threading.Event()
    lay_out = bulk_load.set_commands
    portions: list[int] = []

    def watched(*args: Any) -> Any:
        portions.append(1)
        if len(portions) == 60:
            half.set()
            killed.wait(30)
        return lay_out(*args)

    killed = threading.Event()

    def load() -> None:
        try:
            store.load(VIDEO, KEYS, matrix_of(2))
        except StoreUnavailable as error:
            ended.append(error)

    with redis.Redis.from_url(url) as client, pytest.MonkeyPatch.context() as patch:
        pid = int(client.info("server")["process_id"])
        patch.setattr(bulk_load, "set_commands", watched)
        loading = threading.Thread(target=load)
        loading.start()
        assert half.wait(30)
        kill(pid)
        killed.set()
        loading.join(30)
    assert len(ended) == 1
    return ended[0]


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not gone(pid):
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """True once the process has ended, whether or not its parent has noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_rows_that_a_node_has_lost_are_loaded_again(
    store: RowStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = store.load(VIDEO, KEYS, matrix_of(1)).load
    progress = NAMES.progress(lost, 3)
    kept = int(client.get(progress) or 0)
    client.delete(progress)
    assert store.load(VIDEO, KEYS, matrix_of(1)).sent == kept
    send = bulk_load._send

    def losing(*args: Any) -> int:
        sent = send(*args)
        client.delete(progress)
        return sent

    monkeypatch.setattr(bulk_load, "_send", losing)
    with pytest.raises(StoreUnavailable, match="lost rows of load"):
        store.load(VIDEO, KEYS, matrix_of(1))


def test_a_sweep_removes_what_is_superseded_whole_and_leaves_what_is_live(
    store: RowStore, client: redis.Redis
) -> None:
    store.load(VIDEO, KEYS, matrix_of(1))
    alone = client.dbsize()
    first = store.find(VIDEO)
    second = store.load(VIDEO, KEYS, matrix_of(2))
    swept = store.sweep()["video"]
    assert (swept.loads, swept.rows) == ((first.load,), len(KEYS))
    assert client.dbsize() == alone
    assert store.find(VIDEO).load == second.load
    assert store.read(store.find(VIDEO), KEYS).missing == 0
    assert store.read(first, KEYS).missing == len(KEYS)
    assert store.sweep()["video"].loads == ()


def test_a_load_that_a_live_worker_names_is_kept_until_it_names_it_no_longer(
    store: RowStore, client: redis.Redis
) -> None:
    store.load(VIDEO, KEYS, matrix_of(1))
    first = store.find(VIDEO)
    store.register_worker("one", first)
    store.register_worker("two", first)
    store.load(RowSchema("video", ("age", "likes"), "v2"), KEYS, matrix_of(2))
    assert store.sweep()["video"].loads == ()
    store.forget_worker("one", first)
    assert store.sweep()["video"].loads == ()
    client.zadd(NAMES.workers, {f"{first.load}:two": 1})  # its time is over
    assert store.sweep()["video"].loads == (first.load,)
    with pytest.raises(NotFound, match=f"load {first.load} of the video rows is not in Redis"):
        store.register_worker("late", first)


def test_workers_are_kept_for_thirty_seconds_by_the_clock_of_redis(
    store: RowStore, client: redis.Redis
) -> None:
    store.load(VIDEO, KEYS, matrix_of(1))
    store.register_worker("one", store.find(VIDEO))
    seconds, micros = client.time()
    left = client.zrange(NAMES.workers, 0, -1, withscores=True)[0][1] - (seconds * 1000 + micros / 1000)
    assert 20_000 < left <= row_loads.WORKER_TTL_S * 1000


def test_a_load_under_way_is_left_and_an_abandoned_one_removed(
    store: RowStore, client: redis.Redis, small_portions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.load(VIDEO, KEYS, matrix_of(1))
    alone = client.dbsize()
    cut_off(store, matrix_of(2), monkeypatch)
    assert store.sweep()["video"].loads == ()
    begun = next(
        name.decode() for name in client.smembers(NAMES.loads) if name.decode() != store.find(VIDEO).load
    )
    client.hset(NAMES.load(begun), "begun_ms", 1)
    assert store.sweep()["video"].loads == (begun,)
    assert client.dbsize() == alone


def test_a_sweep_that_was_cut_off_is_ended_by_the_next_and_no_load_comes_between(
    store: RowStore, client: redis.Redis
) -> None:
    store.load(VIDEO, KEYS, matrix_of(1))
    alone = client.dbsize()
    first = store.find(VIDEO).load
    store.load(VIDEO, KEYS, matrix_of(2))
    assert row_loads.mark_for_removal(client, NAMES, first)
    with pytest.raises(StoreUnavailable, match="let the sweep end"):
        store.load(VIDEO, KEYS, matrix_of(1))
    assert store.sweep()["video"].loads == (first,)
    assert client.dbsize() == alone
    assert store.load(VIDEO, KEYS, matrix_of(1)).sent == len(KEYS)


def test_no_row_of_a_live_load_ever_ends_by_itself(store: RowStore, client: redis.Redis) -> None:
    store.load(VIDEO, KEYS[:20], matrix_of(1, 20))
    assert {client.ttl(name) for name in client.scan_iter(match="rr:*")} == {-1}
