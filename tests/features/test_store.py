"""The store against a real Redis: what was accepted is read at once, and reaches the tables exactly once."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import redis

from features.contracts import EVENT_CODES, HISTORY_LENGTH, Histories
from features.errors import StoreTimeout, StoreUnavailable, VersionMismatch
from features.histories import build_event_log, ends_of, gather_histories
from features.importers import append_events
from features.outbox import exposures, store_events
from features.packing import AcceptedEvent, Exposure, pack_event, pack_exposure
from features.store import Store
from features.workspace import Workspace

NOW = 1_767_312_000_000


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    made = Store.connect(redis_url, namespace=f"t{secrets.token_hex(4)}", timeout_s=5)
    yield made
    made.close()


def event(name: str, key: int, ts_ms: int, kind: str = "play", **extra: object) -> AcceptedEvent:
    return AcceptedEvent(name, key, f"v{key // 3}", kind, ts_ms, extra=extra)


def same(one: Histories, two: Histories) -> bool:
    names = ("video_keys", "events", "ts_ms", "watch_s", "lengths")
    return all(getattr(one, n).tobytes() == getattr(two, n).tobytes() for n in names)


def test_a_loaded_user_reads_back_as_the_log_has_them(
    store: Store, random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    log, _ = build_event_log(random_log, catalogue)
    assert store.is_empty()
    assert store.load_histories(log, feature_version="f1") == len(log.user_ids)
    assert not store.is_empty()
    assert store.live()["feature_version"] == "f1"
    for code in (0, 7, len(log.user_ids) - 1):
        users = np.array([code])
        expected = gather_histories(log, users, ends_of(log, users))
        assert same(store.read_user(log.user_ids[code]), expected)
    assert store.read_user("nobody").lengths.tolist() == [0]
    assert set(store.sample_users(5)) <= set(log.user_ids)


def test_an_accepted_event_is_read_at_once_on_another_connection(store: Store, redis_url: str) -> None:
    accepted = store.accept_events("u", [event("a", 3, NOW), event("b", 6, NOW + 5, "like")])
    assert (accepted.accepted, accepted.duplicates) == (2, 0)
    other = Store.connect(redis_url, namespace=store._namespace)
    history = other.read_user("u")
    other.close()
    assert history.video_keys[0, :3].tolist() == [6, 3, -1]
    assert history.events[0, :2].tolist() == [EVENT_CODES["like"], EVENT_CODES["play"]]


def test_duplicates_change_nothing_and_late_events_take_their_place(store: Store) -> None:
    store.accept_events("u", [event("a", 3, NOW), event("b", 6, NOW + 10)])
    again = store.accept_events(
        "u", [event("a", 3, NOW), event("late", 9, NOW + 5), event("late", 9, NOW + 5)]
    )
    assert (again.accepted, again.duplicates) == (1, 2)
    assert store.read_user("u").video_keys[0, :4].tolist() == [6, 9, 3, -1]


def test_a_history_is_bounded_and_impressions_stay_out_of_it(store: Store) -> None:
    store.accept_events("u", [event(f"e{i}", i, NOW + i) for i in range(HISTORY_LENGTH + 20)])
    store.accept_events("u", [event("seen", 1, NOW + 999, "impression")])
    history = store.read_user("u")
    assert history.lengths.tolist() == [HISTORY_LENGTH]
    assert history.video_keys[0, 0] == HISTORY_LENGTH + 19
    assert store.pending() == HISTORY_LENGTH + 21


def test_live_events_drained_and_rebuilt_give_the_history_that_was_live(
    store: Store, workspace: Workspace, catalogue: pl.DataFrame
) -> None:
    rng = np.random.default_rng(4)
    sent = [event(f"e{i}", int(rng.integers(0, 100)) * 3, NOW + int(rng.integers(0, 20))) for i in range(60)]
    for start in range(0, 60, 7):
        store.accept_events("u", sent[start : start + 7])
    live = store.read_user("u")
    assert store.drain(workspace) == 60
    log, _ = build_event_log(workspace.interactions.read(), catalogue)
    users = np.array([log.user_code("u")])
    assert same(live, gather_histories(log, users, ends_of(log, users)))
    store.accept_events("u", [event("new", 3, NOW + 1000)])
    store.load_histories(log, feature_version="f")
    assert store.read_user("u").ts_ms[0, 0] == NOW + 1000
    assert store.read_user("u").lengths.tolist() == [61]


def test_a_drain_cut_off_after_its_commit_stores_each_event_once(store: Store, workspace: Workspace) -> None:
    sent = [event("a", 3, NOW, position=2, propensity=0.5, device="tv"), event("b", 6, NOW, "impression")]
    store.accept_events("u", sent)
    store_events(
        workspace, [pack_event(one, "u", NOW) for one in sent]
    )  # what a drain commits before it deletes
    assert store.drain(workspace) == 0
    assert store.pending() == 0
    row = workspace.interactions.read().filter(pl.col("event_id") == "a").row(0, named=True)
    assert (row["video_id"], row["position"], row["propensity"], row["device"]) == ("v1", 2, 0.5, "tv")
    assert len(workspace.interactions.read()) == 2
    assert store.drain(workspace) == 0


def test_two_drains_at_once_store_each_event_once(
    store: Store, workspace: Workspace, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    store.accept_events("u", [event(f"e{i}", 3, NOW + i) for i in range(30)])
    failures: list[Exception] = []

    def drain() -> None:
        try:
            store.drain(workspace)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    append_events(workspace, interactions_of(user_id=["w"], video_id=["v1"]))
    for thread in threads:
        thread.join()
    assert not failures
    assert len(workspace.interactions.read()) == 31


def test_slates_are_drained_once_and_loss_is_counted(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.store.EXPOSURES_KEPT", 2)

    def slate(name: str) -> bytes:
        keys, scores = np.array([3, 6]), np.array([0.5, 0.4], np.float32)
        return pack_exposure(
            Exposure(name, "u", NOW, "bundle", "full", keys, scores, np.array([0.5, np.nan]))
        )

    assert [store.log_exposure(slate(name), 3) for name in ("r1", "r2", "r3")] == [0, 0, 1]
    assert store.exposures_lost() == 1
    assert store.drain(workspace) == 2
    stored = exposures(workspace).read()
    assert stored.select("request_id", "position", "video_key", "propensity").rows() == [
        ("r2", 0, 3, 0.5),
        ("r2", 1, 6, None),
        ("r3", 0, 3, 0.5),
        ("r3", 1, 6, None),
    ]
    store.log_exposure(slate("r2"))
    assert store.drain(workspace) == 0


def test_a_history_of_another_layout_is_refused_and_reloading_repairs_it(
    store: Store, redis_url: str, random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set(store._user_key("u1", "h"), b"\x09" * 8 + b"x" * 21)
    with pytest.raises(VersionMismatch, match="load the store again"):
        store.read_user("u1")
    with pytest.raises(VersionMismatch, match="load the store again"):
        store.accept_events("u1", [event("a", 3, NOW)])
    store.load_histories(build_event_log(random_log, catalogue)[0], feature_version="f")
    assert store.read_user("u1").lengths[0] > 0
    assert client.ttl(store._user_key("u1", "h")) > 80 * 86_400
    client.close()


def test_a_redis_that_is_gone_or_silent_becomes_our_error_within_the_deadline(tmp_path: Path) -> None:
    gone = Store.connect(f"unix://{tmp_path}/no.sock")
    with pytest.raises(StoreUnavailable, match="read_user found no Redis"):
        gone.read_user("u")
    gone.close()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        slow = Store.connect(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1)
        begun = time.monotonic()
        with pytest.raises(StoreTimeout, match=r"accept_events exceeded 100\.0 ms"):
            slow.accept_events("u", [event("a", 3, NOW)])
        assert time.monotonic() - begun < 1
        slow.close()


def test_the_published_bundle_is_named_to_all(store: Store) -> None:
    assert store.published() is None
    store.publish("b1")
    assert store.published() == "b1"
