"""A forecast of memory is what Redis then says it holds, also where a hash table has just doubled."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import HISTORY_LENGTH
from features.errors import BadInput
from features.intake.appending import append_events
from features.memory.cost import BUCKET_BYTES, Cost, Measured, buckets
from features.memory.forecast import MARGIN, Deployment, forecast_memory, held_by
from features.memory.measure import measure, measuring_server, read_memory
from features.memory.sample import Shapes, given_shapes, load_sample_users, load_sample_videos, logged_shapes
from features.workspace import Workspace

SIZES = (400, 800, 1600)
MIXED = Shapes(np.arange(0, 101, 5, dtype=np.int64), np.arange(6, 27, dtype=np.int64))

counts = st.integers(0, 10**9)


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(MIXED, 20, SIZES)


@given(st.integers(1, 2**40))
def test_a_table_has_a_bucket_for_every_key_and_less_than_four(keys: int) -> None:
    held = buckets(keys) / BUCKET_BYTES
    assert keys <= held < max(2 * keys, 5)
    assert held == 2 ** np.log2(held).round()


def test_a_redis_with_one_key_more_than_a_power_of_two_has_a_table_twice_as_large() -> None:
    with measuring_server() as (_, client):
        for n in range(1024):
            client.set(f"k{n:05d}", 1)
        before = read_memory(client)
        client.set("k01024", 1)
        after = read_memory(client)
    entry = before.used // 1024
    assert after.used - before.used == pytest.approx(buckets(1025) - buckets(1024), abs=entry)
    assert (before.keys, after.keys) == (1024, 1025)


# 2,048 keys fill a table; 2,049 do not fit. Users and videos are in one table, users that end in a second.
@pytest.mark.parametrize(
    ("users", "videos"), [(3000, 0), (0, 5000), (2048, 2048), (2049, 2049), (7000, 4000)]
)
def test_what_is_loaded_is_what_was_foretold(measured: Measured, users: int, videos: int) -> None:
    with measuring_server() as (store, client):
        load_sample_users(store, MIXED, 10**6, 10**6 + users)  # others than those that were measured
        if videos:
            load_sample_videos(store, videos)
        found = read_memory(client)
    foretold = held_by(measured, users, videos)
    assert foretold.total == pytest.approx(found.used, rel=0.03)
    assert foretold.dataset == pytest.approx(found.dataset, rel=0.03)
    assert (foretold.keys, foretold.expiring) == pytest.approx((found.keys, found.expiring))


def test_the_slope_holds_for_the_size_that_it_was_not_drawn_from(measured: Measured) -> None:
    assert measured.misfit < 0.03
    assert (measured.user.keys, measured.user.expiring) == (1, 1)
    assert (measured.video.keys, measured.video.expiring) == (1, 0)


def test_a_longer_history_costs_its_bytes(measured: Measured) -> None:
    full = measure(given_shapes(HISTORY_LENGTH), 0, SIZES)
    none = measure(given_shapes(0), 0, SIZES)
    assert (
        2100 <= full.user.used - none.user.used <= 2100 * 1.25
    )  # 21 bytes an event, in the allocator's sizes
    assert none.user.used < measured.user.used < full.user.used
    assert none.identities == 0 < measured.identities


@given(counts, counts, st.floats(0, 1e4), st.integers(0, 5))
def test_the_upper_bound_is_above_the_usual_and_grows_with_everything(
    users: int, videos: int, events: float, replicas: int
) -> None:
    one = Cost(100.0, 90.0, 1.0, 1.0)
    known = Measured("7", Cost(1e6, 2e5, 0, 0), one, one, one, 0.0, 50.0, 200.0, 600.0, 36.0)
    plan = Deployment(users, videos, events, replicas=replicas)
    found = forecast_memory(known, plan)
    assert 0 < found.redis < found.redis_most * (1 - MARGIN / 2)
    assert found.with_replicas == pytest.approx(found.redis_most * (1 + replicas))
    assert found.redis == pytest.approx(sum(part.usual for part in found.parts))
    more = forecast_memory(known, Deployment(users + 1, videos + 1, events, replicas=replicas))
    assert more.redis > found.redis
    assert more.held.total > found.held.total
    assert all(0 <= part.usual <= part.most for part in found.parts)


def test_streams_are_bounded_however_many_events_come() -> None:
    one = Cost(100.0, 90.0, 1.0, 1.0)
    known = Measured("7", one, one, one, one, 0.0, 50.0, 200.0, 600.0, 36.0)
    found = forecast_memory(known, Deployment(10**9, 1, 10**4, 10**4))
    most = {part.name: part.most for part in found.parts}
    assert most["events on their way"] == found.events_bound
    assert most["slates on their way"] == found.slates_bound


def test_users_are_as_the_log_has_them(
    workspace: Workspace, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    assert logged_shapes(workspace) is None
    users = ["a"] * 130 + ["bcd"] * 2 + ["bcd", None]
    kinds = ["play"] * 132 + ["impression", "play"]
    log = interactions_of(user_id=users, video_id=["v"] * 134, event=kinds, ts=list(range(1, 135)))
    append_events(workspace, log)
    found = logged_shapes(workspace)
    assert found is not None
    assert sorted(zip(found.lengths.tolist(), found.id_bytes.tolist(), strict=True)) == [(2, 3), (100, 1)]
    ids, lengths = found.draw(500, 10_000)
    assert len(set(ids)) == 500
    assert set(lengths.tolist()) == {2, 100}


@pytest.mark.parametrize("name", ["users", "videos", "events_a_day", "slates_a_day", "replicas"])
def test_a_plan_for_less_than_nothing_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} is -1; it must be at least 0"):
        Deployment(**{"users": 1, "videos": 1, name: -1})


def test_sizes_that_do_not_rise_are_refused() -> None:
    with pytest.raises(BadInput, match="give three that rise"):
        measure(given_shapes(1), 0, (10, 10, 20))
