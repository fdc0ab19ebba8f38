"""The whole store against a Redis Cluster of three masters: nothing of it depends on one node."""

import contextlib
import gc
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.counters import counters_now
from features.errors import Erased, StoreUnavailable
from features.histories import build_event_log, ends_of, gather_histories
from features.loading import load_everybody
from features.outbox import exposures
from features.packing import AcceptedEvent, Exposure, pack_exposure
from features.redis_server import open_redis
from features.row_store.schema import RowSchema
from features.store import Store
from features.wire.connection import connect
from features.wire.nodes import all_nodes, node_of
from features.workspace import Workspace
from tests.features.redis_cluster import LocalCluster, local_cluster

NOW = 1_767_312_000_000
USERS = [f"user{at}" for at in range(40)]
"""Enough that each master holds some."""
SCHEMA = RowSchema("video", ("age", "plays"), "v1")


@pytest.fixture(autouse=True)
def what_the_client_leaves_open_is_collected_here() -> Iterator[None]:
    """redis-py drops a node's connections, unclosed, when a cluster's layout changes."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with local_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def store(cluster: LocalCluster) -> Iterator[Store]:
    made = Store.connect(cluster.url, namespace=f"t{secrets.token_hex(4)}", timeout_s=5)
    yield made
    made.close()


def event(name: str, key: int, ts_ms: int = NOW) -> AcceptedEvent:
    return AcceptedEvent(name, key, f"v{key // 3}", "play", ts_ms)


def rows_of(n: int, seed: int = 0) -> tuple[Any, Any]:
    matrix = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    return np.arange(n, dtype=np.int64) * 3, matrix


def test_the_users_of_a_store_lie_on_all_masters(store: Store, cluster: LocalCluster) -> None:
    store.accept_many([(user, [event(f"e{user}", 3)]) for user in USERS])
    with contextlib.closing(connect(cluster.url, 5)) as client:
        homes = {id(node_of(client, store.keys.user(user, "h"))) for user in USERS}
        assert len(homes) == len(all_nodes(client)) == 3


def test_an_accepted_event_is_read_at_once_on_another_connection_and_repeats_change_nothing(
    store: Store, cluster: LocalCluster
) -> None:
    sent = [(user, [event(f"a{user}", 3), event(f"b{user}", 6, NOW + 5)]) for user in USERS]
    assert all(one.accepted == 2 for one in store.accept_many(sent))
    assert all(one.duplicates == 2 for one in store.accept_many(sent))
    with contextlib.closing(Store.connect(cluster.url, store.keys.namespace, 5)) as other:
        for user in USERS:
            state = other.read_user(user)
            assert state.histories.video_keys[0, :3].tolist() == [6, 3, -1]
            assert state.counters.events.sum() == 2


def test_events_and_slates_of_all_masters_are_drained_once(store: Store, workspace: Workspace) -> None:
    store.accept_many([(user, [event(f"e{user}", 3)]) for user in USERS])
    keys, scores = np.array([3]), np.array([0.5], np.float32)
    for at in range(16):
        slate = Exposure(f"r{at}", "u", NOW, "b", "full", keys, scores, np.array([1.0]))
        store.log_exposure(pack_exposure(slate), at)
    assert store.pending() == len(USERS) + 16
    assert store.drain(workspace) == len(USERS) + 16
    assert store.drain(workspace) == store.pending() == 0
    assert sorted(workspace.interactions.read()["user_id"]) == sorted(USERS)
    assert exposures(workspace).read()["request_id"].n_unique() == 16


def test_a_log_is_loaded_and_reads_back(
    store: Store, workspace: Workspace, random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    log, _ = build_event_log(random_log, catalogue)
    assert store.is_empty()
    assert load_everybody(store, workspace, log, catalogue, "f1") == len(log.user_ids)
    for code, user in enumerate(log.user_ids):
        users, state = np.array([code]), store.read_user(user)
        expected = gather_histories(log, users, ends_of(log, users))
        assert state.histories.video_keys.tobytes() == expected.video_keys.tobytes()
        assert state.counters.events.tobytes() == counters_now(log, users).events.tobytes()
    assert not store.is_empty()
    assert len(set(store.sample_users(50))) == 50


def test_a_user_becomes_another_on_another_master(store: Store) -> None:
    for at, (source, into) in enumerate(zip(USERS[::2], USERS[1::2], strict=True)):
        store.accept_events(source, [event(f"a{at}", 3)])
        store.accept_events(into, [event(f"b{at}", 6, NOW + 5)])
        assert store.merge_users(source, into) > 0
        for name in (source, into):
            assert store.read_user(name).histories.video_keys[0, :3].tolist() == [6, 3, -1]


def test_a_deleted_user_is_gone_from_every_master_and_refused(store: Store) -> None:
    store.accept_many([(user, [event(f"e{user}", 3)]) for user in USERS])
    for user in USERS[:6]:
        assert store.delete_user(user)["events waiting"] == 1
        assert not any(store.find_user(user).values())
        with pytest.raises(Erased):
            store.accept_events(user, [event("c", 3)])
    assert store.pending() == len(USERS) - 6


def test_feature_rows_are_loaded_read_in_order_and_swept(store: Store) -> None:
    keys, matrix = rows_of(3000)
    first = store.rows.load(SCHEMA, keys, matrix).load
    load = store.rows.find(SCHEMA)
    asked = np.random.default_rng(1).integers(-3, 9003, 500)
    found = store.rows.read(load, asked)
    there = (asked >= 0) & (asked < 9000) & (asked % 3 == 0)
    assert found.present.tolist() == there.tolist()
    np.testing.assert_array_equal(found.matrix[there], matrix[asked[there] // 3])
    assert np.isnan(found.matrix[~there]).all()
    assert store.rows.load(SCHEMA, keys, matrix).sent == 0
    store.rows.register_worker("one", load)
    store.rows.load(SCHEMA, *rows_of(3000, seed=2))
    assert store.rows.sweep()["video"].loads == ()
    store.rows.forget_worker("one", load)
    swept = store.rows.sweep()["video"]
    assert (swept.loads, swept.rows) == ((first,), 3000)
    np.testing.assert_array_equal(store.rows.read(store.rows.find(SCHEMA), keys).matrix, rows_of(3000, 2)[1])


def test_a_slot_that_moves_is_found_by_the_next_call(store: Store, cluster: LocalCluster) -> None:
    keys, matrix = rows_of(100)
    store.rows.load(SCHEMA, keys, matrix)
    with contextlib.closing(connect(cluster.url, 5)) as client:
        home = int(node_of(client, "{f03}").connection_pool.connection_kwargs["port"])
        slot = int(client.cluster_keyslot("{f03}"))
    at = cluster.ports.index(home)
    with contextlib.closing(Store.connect(cluster.url, store.keys.namespace, 5)) as other:
        assert other.rows.read(other.rows.find(SCHEMA), keys).missing == 0
        with moved(cluster, slot, at):
            with pytest.raises(StoreUnavailable, match="layout of the Redis Cluster is changing; try again"):
                store.rows.load(SCHEMA, keys, matrix + 1)
            assert store.rows.load(SCHEMA, keys, matrix + 1).rows == 100
            load = other.rows.find(SCHEMA)
            with pytest.raises(StoreUnavailable, match="layout of the Redis Cluster is changing; try again"):
                other.rows.read(load, keys)
            np.testing.assert_array_equal(other.rows.read(load, keys).matrix, matrix + 1)


@contextlib.contextmanager
def moved(cluster: LocalCluster, slot: int, at: int) -> Iterator[None]:
    """A slot away from its master, and back after the block; what is in it is lost both times."""
    remove_rows(cluster, "{f03}")
    cluster.move_slot(slot, (at + 1) % 3)
    try:
        yield
    finally:
        remove_rows(cluster, "{f03}")
        cluster.move_slot(slot, at)


def remove_rows(cluster: LocalCluster, tag: str) -> None:
    """Empties a slot: only such a one is given away by a single step."""
    with contextlib.closing(connect(cluster.url, 5)) as client:
        for name in list(node_of(client, tag).scan_iter(match=f"*{tag}*", count=10_000)):
            client.delete(name)


def test_a_node_named_as_if_it_stood_alone_says_how_to_name_the_cluster(cluster: LocalCluster) -> None:
    with contextlib.closing(Store.connect(cluster.node_url(0), timeout_s=5)) as alone:
        with pytest.raises(StoreUnavailable, match=r"redis\+cluster://"):
            alone.received(USERS)
        with pytest.raises(StoreUnavailable, match=r"redis\+cluster://"):
            alone.rows.load(SCHEMA, *rows_of(100))


def test_a_named_cluster_that_answers_is_used(cluster: LocalCluster, tmp_path: Path) -> None:
    with open_redis(cluster.url, tmp_path) as url:
        assert url == cluster.url
