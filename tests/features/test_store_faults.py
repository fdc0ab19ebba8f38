"""What goes wrong around the store: crashes between steps, deletions during a load, unreadable records."""

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
import redis

from features.activity import HourCounts
from features.activity_board import ActivitySnapshot, pack_hour, publish_activity, read_activity
from features.catalogue import register
from features.contracts import EVENTS, INTERACTIONS
from features.errors import BadInput, Erased, StoreUnavailable, VersionMismatch
from features.histories import build_event_log
from features.importers import REFUSED
from features.loading import load_everybody, load_log
from features.merges import record_merge
from features.outbox import store_events
from features.packing import AcceptedEvent, pack_event
from features.store import Store
from features.tables import Table
from features.wire.store_keys import shard_of
from features.wire.streams import GROUP
from features.workspace import Workspace
from serving.upkeep import drain_and_count

NOW = 1_767_312_000_000


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    made = Store.connect(redis_url, namespace=f"f{secrets.token_hex(4)}", timeout_s=5)
    yield made
    made.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    yield made
    made.close()


def event(name: str, key: int, ts_ms: int, kind: str = "play", **extra: object) -> AcceptedEvent:
    return AcceptedEvent(name, key, f"v{key // 3}", kind, ts_ms, extra=extra)


def cut_off_merge(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("features.wire.scripts.JOIN", "return redis.error_reply('OOM cut off')")
        with pytest.raises(StoreUnavailable):
            store.merge_users("anon", "known")


def test_a_merge_that_a_load_has_finished_counts_nothing_twice_when_it_is_repeated(
    store: Store, workspace: Workspace, catalogue: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.accept_events("anon", [event("a", 3, NOW)])
    store.accept_events("known", [event("b", 6, NOW + 1)])
    record_merge(workspace, "anon", "known", NOW + 2)
    cut_off_merge(store, monkeypatch)
    store.drain(workspace)
    rows = workspace.interactions.read().with_columns(user_id=pl.lit("known"))
    load_everybody(store, workspace, build_event_log(rows, catalogue)[0], catalogue, "f")
    assert store.read_user("known").counters.events.sum() == 2
    store.merge_users("anon", "known")
    assert store.read_user("known").counters.events.sum() == 2
    assert store.accept_events("anon", [event("a", 3, NOW)]).duplicates == 1


def test_a_source_that_was_busy_until_the_load_pointed_it_elsewhere_loses_no_event(
    store: Store, workspace: Workspace, catalogue: pl.DataFrame
) -> None:
    store.accept_events("anon", [event("a", 3, NOW)])
    store.accept_events("known", [event("b", 6, NOW + 1)])
    store.drain(workspace)
    rows = workspace.interactions.read().with_columns(user_id=pl.lit("known"))
    log = build_event_log(rows, catalogue)[0]
    record_merge(workspace, "anon", "known", NOW + 2)  # and no more: the process ended here
    store.accept_events("anon", [event("late", 9, NOW + 3)])
    load_everybody(store, workspace, log, catalogue, "f")
    assert store.read_user("known").counters.events.sum() == 3


def test_what_is_kept_of_a_cut_off_merge_ends_before_the_note_that_it_was_done(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.accept_events("anon", [event("a", 3, NOW)])
    cut_off_merge(store, monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(
            "redis.Redis.delete", lambda *_: (_ for _ in ()).throw(redis.ConnectionError("cut off"))
        )
        with pytest.raises(StoreUnavailable):
            store.merge_users("anon", "known")
    (done,) = client.keys(f"{store.keys.namespace}:*:j:*")
    ends = client.pttl(done)  # first: what is read later has less time left
    assert 0 < client.pttl(store.keys.user("anon", "m")) <= ends


def test_a_source_of_another_layout_is_refused_and_stays_as_it_was(store: Store, client: redis.Redis) -> None:
    old = b"\x09" * 8 + b"x" * 141
    client.set(store.keys.user("anon", "h"), old)
    with pytest.raises(VersionMismatch, match="load the store again"):
        store.merge_users("anon", "known")
    assert client.get(store.keys.user("anon", "h")) == old
    assert store.read_user("known").counters.events.sum() == 0


def test_a_load_does_not_bring_back_a_user_who_was_deleted_meanwhile(
    store: Store, workspace: Workspace, random_log: pl.DataFrame, catalogue: pl.DataFrame
) -> None:
    log = build_event_log(random_log, catalogue)[0]
    store.delete_user("u1")
    load_log(store, log)
    assert not any(store.find_user("u1").values())
    with pytest.raises(Erased):
        store.accept_events("u1", [event("a", 3, NOW)])
    assert store.find_user("u2")["record"] == 1


def test_deleting_a_user_leaves_the_merges_of_one_whose_id_goes_on(store: Store, client: redis.Redis) -> None:
    longer = next(f"x:{n}" for n in range(10_000) if shard_of(f"x:{n}") == shard_of("x"))
    store.accept_events("anon", [event("a", 3, NOW)])
    store.merge_users("anon", longer)
    assert store.find_user("x")["merges"] == 0
    assert store.delete_user("x")["merges"] == 0
    assert store.find_user(longer)["merges"] == 1


def test_a_user_at_the_end_of_too_many_merges_is_our_error(store: Store) -> None:
    for n in range(20):
        store.accept_events(f"u{n}", [event(f"e{n}", 3, NOW)])
        store.merge_users(f"u{n}", f"u{n + 1}")
    with pytest.raises(StoreUnavailable, match="more than 16 times"):
        store.accept_events("u0", [event("new", 3, NOW)])


def test_whole_numbers_given_as_floats_reach_the_table(store: Store, workspace: Workspace) -> None:
    store.accept_events("u", [event("a", 3, NOW, utc_offset_min=60.0, position=2.0)])
    store.drain(workspace)
    assert workspace.interactions.read().select("utc_offset_min", "position").rows() == [(60, 2)]


@pytest.mark.parametrize(
    "bad", [{"watch_s": 1e39}, {"request_id": "\ud800"}, {"extra": {"device": "\ud800"}}]
)
def test_what_no_table_can_hold_is_refused_at_the_door(bad: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        AcceptedEvent("a", 3, "v1", "play", NOW, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("user", ["", "u" * 513, "\ud800"])
def test_a_user_id_that_no_table_can_hold_is_refused_at_the_door(store: Store, user: str) -> None:
    with pytest.raises(BadInput, match="user_id"):
        store.accept_events(user, [event("a", 3, NOW)])
    assert store.pending() == 0


def test_a_record_cut_short_goes_to_the_quarantine_and_holds_up_no_other(workspace: Workspace) -> None:
    sound = pack_event(event("a", 3, NOW), "u", NOW)
    assert store_events(workspace, [(b"e", sound[:20]), (b"e", sound)]) == 1
    refused = Table(workspace.root / "quarantine" / "interactions", REFUSED).read()
    assert refused["content"].to_list() == [sound[:20].hex()]


def test_activity_waits_for_what_another_drain_has_in_hand(
    store: Store, workspace: Workspace, client: redis.Redis, catalogue: pl.DataFrame
) -> None:
    register(workspace, catalogue.select("video_id"))
    drain_and_count(workspace, store)
    before = store.activity_watermark()
    assert before > 0
    store.accept_events("u", [event("a", 3, NOW)])
    outbox = store.keys.outbox(shard_of("u"))
    assert client.xreadgroup(GROUP, "other", {outbox: ">"})
    drain_and_count(workspace, store, clock_shift_ms=120_000)
    assert store.activity_watermark() == before
    store.drain(workspace, claim_after_s=0)
    drain_and_count(workspace, store, clock_shift_ms=120_000)
    assert store.activity_watermark() > before


def test_events_behind_those_that_another_drain_holds_wait_for_them(
    store: Store, workspace: Workspace, client: redis.Redis
) -> None:
    store.accept_events("u", [event("first", 3, NOW)])
    outbox = store.keys.outbox(shard_of("u"))
    client.xgroup_create(outbox, GROUP, "0")
    assert client.xreadgroup(GROUP, "other", {outbox: ">"})
    store.accept_events("u", [event("second", 6, NOW)])
    assert store.drain(workspace) == 0
    assert store.drain(workspace, claim_after_s=0) == 2
    stored = workspace.interactions.read().sort("order")
    assert stored["event_id"].to_list() == ["first", "second"]
    assert {c.name for c in INTERACTIONS} == set(stored.columns)
    assert np.array_equal(stored["order"].to_numpy(), [0, 1])


def test_a_redis_that_lost_its_data_during_a_load_is_not_taken_for_loaded(
    store: Store,
    workspace: Workspace,
    client: redis.Redis,
    random_log: pl.DataFrame,
    catalogue: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = build_event_log(random_log, catalogue)[0]
    load = store.load_users

    def lose_all(*given: Any) -> list[int]:
        if held := client.keys(f"*{store.keys.namespace}:*"):
            client.delete(*held)
        return load(*given)

    with monkeypatch.context() as losing:
        losing.setattr("features.loading.LOAD_BATCH", 30)
        losing.setattr(store, "load_users", lose_all)
        with pytest.raises(StoreUnavailable, match="lost what it held"):
            load_everybody(store, workspace, log, catalogue, "f")
    assert store.is_empty()
    load_everybody(store, workspace, log, catalogue, "f")
    assert not store.is_empty()


def test_activity_that_a_slower_keeper_set_back_is_read_as_it_stands(
    store: Store, workspace: Workspace, catalogue: pl.DataFrame
) -> None:
    register(workspace, catalogue.select("video_id"))
    hour = NOW // 3_600_000 * 3_600_000
    publish_activity(workspace, store, hour + 3_600_000)
    ahead = read_activity(store, ActivitySnapshot())
    store.put_activity(hour + 60_000, {hour: pack_hour(_empty_hour(hour, hour + 60_000))}, 3600)
    behind = read_activity(store, ahead)
    assert behind.watermark_ms == hour + 60_000
    assert not behind.matrix(np.arange(5, dtype=np.int64)).any()


def _empty_hour(hour_ms: int, mark_ms: int) -> HourCounts:
    return HourCounts(hour_ms, mark_ms, np.zeros(0, np.int64), np.zeros((0, len(EVENTS)), np.int32))


def test_drains_of_many_processes_leave_no_readers_behind(
    store: Store, workspace: Workspace, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in range(3):
        monkeypatch.setattr("os.getpid", lambda pid=pid: 100_000 + pid)
        store.accept_events("u", [event(f"e{pid}", 3, NOW)])
        assert store.drain(workspace) == 1
    assert len(client.xinfo_consumers(store.keys.outbox(shard_of("u")), GROUP)) == 1
