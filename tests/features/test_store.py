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

from features.contracts import (
    EVENT_CODES,
    HISTORY_LENGTH,
    MAX_EVENTS_A_MINUTE,
    Histories,
    UserCounters,
    device_code,
)
from features.counters import counters_now
from features.errors import BadInput, Erased, StoreTimeout, StoreUnavailable, VersionMismatch
from features.histories import build_event_log, ends_of, gather_histories
from features.importers import REFUSED, append_events
from features.loading import load_everybody
from features.outbox import exposures, store_events
from features.packing import AcceptedEvent, Exposure, pack_event, pack_exposure
from features.store import Store
from features.tables import Table
from features.wire.store_keys import shard_of
from features.wire.streams import GROUP
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


def alike(one: UserCounters, two: UserCounters) -> bool:
    names = ("events", "watch_ms", "hours", "devices", "first_ms")
    return all(getattr(one, n).tobytes() == getattr(two, n).tobytes() for n in names)


def history(store: Store, user: str) -> Histories:
    return store.read_user(user).histories


def test_a_loaded_user_reads_back_as_the_log_has_them(
    store: Store, workspace: Workspace, random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    log, _ = build_event_log(random_log, catalogue)
    assert store.is_empty()
    assert load_everybody(store, workspace, log, catalogue, "f1") == len(log.user_ids)
    assert not store.is_empty()
    assert store.live()["feature_version"] == "f1"
    for code in (0, 7, len(log.user_ids) - 1):
        users = np.array([code])
        state = store.read_user(log.user_ids[code])
        assert same(state.histories, gather_histories(log, users, ends_of(log, users)))
        assert alike(state.counters, counters_now(log, users))
    assert history(store, "nobody").lengths.tolist() == [0]
    assert set(store.sample_users(5)) <= set(log.user_ids)


def test_an_accepted_event_is_read_at_once_on_another_connection(store: Store, redis_url: str) -> None:
    accepted = store.accept_events("u", [event("a", 3, NOW), event("b", 6, NOW + 5, "like")])
    assert (accepted.accepted, accepted.duplicates) == (2, 0)
    other = Store.connect(redis_url, namespace=store.keys.namespace)
    found = history(other, "u")
    other.close()
    assert found.video_keys[0, :3].tolist() == [6, 3, -1]
    assert found.events[0, :2].tolist() == [EVENT_CODES["like"], EVENT_CODES["play"]]


def test_duplicates_change_nothing_and_late_events_take_their_place(store: Store) -> None:
    store.accept_events("u", [event("a", 3, NOW), event("b", 6, NOW + 10)])
    again = store.accept_events(
        "u", [event("a", 3, NOW), event("late", 9, NOW + 5), event("late", 9, NOW + 5)]
    )
    assert (again.accepted, again.duplicates) == (1, 2)
    assert history(store, "u").video_keys[0, :4].tolist() == [6, 9, 3, -1]


def test_a_history_is_bounded_and_impressions_stay_out_of_it(store: Store) -> None:
    store.accept_events("u", [event(f"e{i}", i, NOW + i) for i in range(HISTORY_LENGTH)])
    store.accept_events("u", [event("old", 7, NOW - 1), event("older", 8, NOW - 2)])
    store.accept_events("u", [event("seen", 1, NOW + 999, "impression")])
    found = store.read_user("u")
    assert found.histories.lengths.tolist() == [HISTORY_LENGTH]
    assert found.histories.video_keys[0, 0] == HISTORY_LENGTH - 1
    assert found.counters.events[0, [0, 1]].tolist() == [1, HISTORY_LENGTH + 2]
    assert store.pending() == HISTORY_LENGTH + 3


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
    assert same(live.histories, gather_histories(log, users, ends_of(log, users)))
    assert alike(live.counters, counters_now(log, users))
    assert live.received_ms == log.arrivals.known_ms.max()
    store.accept_events("u", [event("new", 3, NOW + 1000)])
    load_everybody(store, workspace, log, catalogue, "f")  # finds the user busy, and drains
    assert store.pending() == 0
    again = store.read_user("u")
    assert again.histories.ts_ms[0, 0] == NOW + 1000
    assert again.histories.lengths.tolist() == [61]
    assert again.counters.events.sum() == 61


def test_an_emptied_store_is_filled_again_with_what_came_in_meanwhile(
    store: Store, workspace: Workspace, catalogue: pl.DataFrame, redis_url: str
) -> None:
    store.accept_events("u", [event(f"e{i}", 3 * i, NOW + i, device="tv") for i in range(20)])
    store.drain(workspace)
    client = redis.Redis.from_url(redis_url)
    client.delete(*client.keys(f"{store.keys.namespace}:*"))
    store.accept_events("u", [event("after", 60, NOW + 100), event("e3", 9, NOW + 3, device="tv")])
    client.close()
    log, _ = build_event_log(workspace.interactions.read(), catalogue)
    load_everybody(store, workspace, log, catalogue, "f")
    state = store.read_user("u")
    assert state.histories.lengths.tolist() == [21]
    assert state.counters.events[0, EVENT_CODES["play"]] == 21
    assert state.counters.devices[0, device_code("tv")] == 20


def test_another_event_under_a_used_id_is_set_aside_and_a_repeat_without_its_time_is_not(
    store: Store, workspace: Workspace
) -> None:
    plain = AcceptedEvent("a", 3, "v1", "play", NOW, ts_given=False)
    later = AcceptedEvent("a", 3, "v1", "play", NOW + 70_000, ts_given=False)
    assert store.accept_events("u", [plain]).accepted == 1
    assert store.accept_events("u", [later]).duplicates == 1
    done = store.accept_events("u", [event("a", 6, NOW), event("b", 6, NOW)])
    assert (done.accepted, done.duplicates, done.conflicts) == (1, 0, 1)
    store.drain(workspace)
    refused = Table(workspace.root / "quarantine" / "interactions", REFUSED).read()
    assert refused["reason"].to_list() == ["event_id given with another payload"]
    assert "'video_id': 'v2'" in refused["content"][0]
    assert len(workspace.interactions.read()) == 2


def test_events_beyond_the_rate_are_logged_and_counted_nowhere(
    store: Store, workspace: Workspace, catalogue: pl.DataFrame
) -> None:
    many = [event(f"e{i}", 3, NOW + i) for i in range(MAX_EVENTS_A_MINUTE + 5)]
    done = store.accept_events("u", many, now_ms=NOW + 10_000)
    assert (done.accepted, done.excess) == (MAX_EVENTS_A_MINUTE + 5, 5)
    assert store.read_user("u").counters.events.sum() == MAX_EVENTS_A_MINUTE
    assert store.accept_events("u", [event("next", 3, NOW)], now_ms=NOW + 70_000).excess == 0
    store.drain(workspace)
    rows = workspace.interactions.read()
    assert rows["excess"].sum() == 5
    log, counts = build_event_log(rows, catalogue)
    assert (len(log.events), counts.excess) == (MAX_EVENTS_A_MINUTE + 1, 5)
    assert same(history(store, "u"), gather_histories(log, np.array([0]), ends_of(log, np.array([0]))))


def test_a_merged_user_is_the_other_from_then_on_and_a_second_merge_changes_nothing(
    store: Store, workspace: Workspace
) -> None:
    store.accept_events("anon", [event("a", 3, NOW, "like"), event("b", 6, NOW + 20)])
    store.accept_events("known", [event("c", 9, NOW + 10), event("d", 12, NOW + 20)])
    assert store.merge_users("anon", "known") > 0
    assert store.merge_users("anon", "known") == 0
    for name in ("anon", "known"):
        state = store.read_user(name)
        assert state.histories.video_keys[0, :5].tolist() == [6, 12, 9, 3, -1]
        assert state.counters.events.sum() == 4
    assert store.accept_events("anon", [event("a", 3, NOW, "like"), event("e", 15, NOW + 30)]).duplicates == 1
    assert history(store, "known").video_keys[0, 0] == 15
    store.drain(workspace)
    rows = workspace.interactions.read().sort("order")
    assert dict(zip(rows["event_id"], rows["user_id"], strict=True))["e"] == "known"
    with pytest.raises(BadInput, match="into itself"):
        store.merge_users("known", "anon")
    with pytest.raises(BadInput, match="was merged into 'known' before"):
        store.merge_users("anon", "third")


def test_a_merge_cut_off_between_its_steps_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.accept_events("anon", [event("a", 3, NOW)])
    with monkeypatch.context() as broken:
        broken.setattr("features.wire.scripts.JOIN", "return redis.error_reply('OOM cut off')")
        with pytest.raises(StoreUnavailable):
            store.merge_users("anon", "known")
    store.accept_events("anon", [event("b", 6, NOW + 1)])  # goes to the known user already
    assert store.merge_users("anon", "known") > 0
    assert history(store, "known").video_keys[0, :3].tolist() == [6, 3, -1]


def test_a_deleted_user_is_gone_refused_and_can_be_let_in_again(store: Store) -> None:
    store.accept_events("u", [event("a", 3, NOW)])
    store.accept_events("w", [event("b", 3, NOW)])
    keys, scores = np.array([3]), np.array([0.5], np.float32)
    for user in ("u", "w"):
        store.log_exposure(
            pack_exposure(Exposure(f"r{user}", user, NOW, "b", "full", keys, scores, np.array([1.0])))
        )
    found = store.find_user("u")
    assert found == {
        "record": 1,
        "identities": 1,
        "record in a merge": 0,
        "merges": 0,
        "events waiting": 1,
        "slates waiting": 1,
    }
    assert store.delete_user("u") == found
    assert not any(store.find_user("u").values())
    assert store.find_user("w")["events waiting"] == 1
    with pytest.raises(Erased, match="'u' was deleted"):
        store.accept_events("u", [event("c", 3, NOW)])
    store.readmit("u")
    assert store.accept_events("u", [event("c", 3, NOW)]).accepted == 1


def test_many_users_are_accepted_in_one_trip(store: Store) -> None:
    done = store.accept_many([(f"u{i}", [event(f"e{i}", 3, NOW)]) for i in range(50)] + [("none", [])])
    assert [one.accepted for one in done] == [1] * 50 + [0]
    assert history(store, "u49").lengths.tolist() == [1]


def test_a_full_outbox_refuses_and_says_why(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.OUTBOX_KEPT", 2)
    store.accept_events("u", [event("a", 3, NOW), event("b", 3, NOW)], now_ms=NOW)
    with pytest.raises(StoreUnavailable, match="2 events wait in one outbox"):
        store.accept_events("u", [event("c", 3, NOW)], now_ms=NOW + 60_000)
    assert history(store, "u").lengths.tolist() == [2]


def test_an_event_of_the_future_counts_from_its_arrival(store: Store) -> None:
    done = store.accept_events("u", [event("a", 3, NOW + 5000)], now_ms=NOW)
    assert history(store, "u").ts_ms[0, 0] == done.received_ms == NOW


def test_what_a_dead_drain_took_is_stored_by_the_next(
    store: Store, workspace: Workspace, redis_url: str
) -> None:
    store.accept_events("u", [event("a", 3, NOW)])
    client = redis.Redis.from_url(redis_url)
    outbox = store.keys.outbox(shard_of("u"))
    client.xgroup_create(outbox, GROUP, "0")
    assert client.xreadgroup(GROUP, "dead", {outbox: ">"})
    client.close()
    assert store.drain(workspace) == 0  # it may be alive
    assert store.drain(workspace, claim_after_s=0) == 1
    assert store.pending() == 0


def test_a_drain_cut_off_after_its_commit_stores_each_event_once(store: Store, workspace: Workspace) -> None:
    sent = [event("a", 3, NOW, position=2, propensity=0.5, device="tv"), event("b", 6, NOW, "impression")]
    store.accept_events("u", sent)
    store_events(
        workspace, [(b"e", pack_event(one, "u", NOW)) for one in sent]
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
    store: Store, workspace: Workspace, redis_url: str, random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set(store.keys.user("u1", "h"), b"\x09" * 8 + b"x" * 141)
    with pytest.raises(VersionMismatch, match="load the store again"):
        store.read_user("u1")
    with pytest.raises(VersionMismatch, match="load the store again"):
        store.accept_events("u1", [event("a", 3, NOW)])
    load_everybody(store, workspace, build_event_log(random_log, catalogue)[0], catalogue, "f")
    assert history(store, "u1").lengths[0] > 0
    assert client.ttl(store.keys.user("u1", "h")) > 80 * 86_400
    client.close()


def test_a_redis_that_is_gone_or_silent_becomes_our_error_within_the_deadline(tmp_path: Path) -> None:
    gone = Store.connect(f"unix://{tmp_path}/no.sock")
    with pytest.raises(StoreUnavailable, match="read_user: no Redis answers"):
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
