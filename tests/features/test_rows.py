"""Feature rows: what is loaded comes back to the bit, and what does not fit is refused whole."""

import contextlib
import secrets
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadInput, NotFound, VersionMismatch
from features.packing import AcceptedEvent
from features.row_store import keys as row_keys
from features.row_store.keys import RowKeys, identities, shards_of
from features.row_store.packing import SET_ROWS, decode_rows, header_of, set_commands
from features.row_store.request_rows import read_request
from features.row_store.rows import RowStore
from features.row_store.schema import RowSchema, difference, schema_hash
from features.store import Store

VIDEO = RowSchema("video", ("age", "plays", "likes"), "v1")
HOLES = np.array([[0, np.nan, 1], [np.inf, np.nan, 1]], np.float32)
USER = RowSchema("user", ("rate",), "v1")


@pytest.fixture
def store(redis_url: str) -> Iterator[RowStore]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with contextlib.closing(RowStore.connect(redis_url, timeout_s=10)) as opened:
        yield opened


def matrix_of(n: int, width: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@given(st.integers(0, 3 * SET_ROWS), st.integers(1, 9))
def test_the_commands_laid_out_as_an_array_are_those_that_redis_py_packs(n: int, width: int) -> None:
    schema = RowSchema("video", tuple(f"c{at}" for at in range(width)), "v1")
    matrix, video_keys = matrix_of(n, width), np.arange(n, dtype=np.int64) * 7
    identity = identities("video", video_keys)
    keys = RowKeys("rr", "video").rows("0123456789ab", identity, shards_of(identity))
    packed, count = set_commands(schema, keys, matrix)
    packer = redis.connection.Connection()
    values = [header_of(schema) + row.astype("<f4").tobytes() for row in matrix]
    pairs = [word for key, value in zip(keys, values, strict=True) for word in (key.tobytes(), value)]
    chunks = [pairs[at : at + 2 * SET_ROWS] for at in range(0, len(pairs), 2 * SET_ROWS)]
    expected = [b"".join(packer.pack_command("MSET", *chunk)) for chunk in chunks]
    assert b"".join(packed) == b"".join(expected)
    assert count == len(chunks)


@given(st.lists(st.one_of(st.none(), st.lists(st.floats(width=32), min_size=3, max_size=3)), max_size=20))
def test_a_packed_row_decodes_to_its_own_bits_and_a_missing_one_to_nan(
    rows: list[list[float] | None],
) -> None:
    matrix = np.array([row or [np.nan] * 3 for row in rows], np.float32).reshape(len(rows), 3)
    values = [
        None if row is None else header_of(VIDEO) + content.tobytes()
        for row, content in zip(rows, matrix, strict=True)
    ]
    decoded, present = decode_rows(VIDEO, values)
    np.testing.assert_array_equal(decoded, matrix)
    assert decoded.dtype == np.float32
    assert present.tolist() == [row is not None for row in rows]


def test_the_bytes_of_a_row_are_these() -> None:
    assert header_of(VIDEO) == struct.pack("<BBIH", 1, 16, schema_hash(VIDEO), 3)
    assert schema_hash(VIDEO) == 0x3E2B56BA
    keys = np.array([258, -2], np.int64)
    identity = identities("video", keys)
    names = RowKeys("rr", "video").rows("0123456789ab", identity, np.array([10, 0], np.uint8))
    assert [name.tobytes() for name in names] == [
        b"rr:{f0a}:v:0123456789ab:0000000000000102",
        b"rr:{f00}:v:0123456789ab:fffffffffffffffe",
    ]
    assert identities("user", ["ann"])[0].tobytes().hex() == "d8963d899008cf8c05369be7b9042715"


@given(st.sampled_from([1, 2, 3, 10, 16, 1000, 4096]))
def test_keys_in_any_regular_run_spread_over_all_shards(step: int) -> None:
    shards = shards_of(identities("video", np.arange(4096, dtype=np.int64) * step))
    counts = np.bincount(shards, minlength=row_keys.ROW_SHARDS)
    assert counts.min() > 0.8 * 256
    assert counts.max() < 1.2 * 256


def test_rows_come_back_in_the_order_asked_missing_and_repeated_ones_included(store: RowStore) -> None:
    keys = np.arange(1000, dtype=np.int64) * 5
    matrix = matrix_of(1000)
    loaded = store.load(VIDEO, keys, matrix, as_of_ms=77)
    assert (loaded.rows, loaded.sent) == (1000, 1000)
    load = store.find(VIDEO)
    assert (load.load, load.rows, load.as_of_ms, load.schema) == (loaded.load, 1000, 77, VIDEO)
    found = store.read(load, np.array([4995, 3, 10, 10, -1], np.int64))
    np.testing.assert_array_equal(found.matrix[[0, 2, 3]], matrix[[999, 2, 2]])
    assert np.isnan(found.matrix[[1, 4]]).all()
    assert found.present.tolist() == [True, False, True, True, False]
    assert found.missing == 2
    whole = store.read(load, keys)
    np.testing.assert_array_equal(whole.matrix, matrix)
    assert store.read(load, keys[:0]).matrix.shape == (0, 3)


def test_users_and_videos_are_read_together(store: RowStore) -> None:
    ids = [f"user {at} ü" for at in range(200)]
    store.load(VIDEO, np.arange(50, dtype=np.int64), matrix_of(50))
    store.load(USER, ids, matrix_of(200, 1, seed=1))
    videos, users = store.read_together(
        [(store.find(VIDEO), np.array([7], np.int64)), (store.find(USER), [ids[3], "nobody"])]
    )
    np.testing.assert_array_equal(videos.matrix, matrix_of(50)[[7]])
    np.testing.assert_array_equal(users.matrix[0], matrix_of(200, 1, seed=1)[3])
    assert users.present.tolist() == [True, False]


@pytest.mark.parametrize(
    ("keys", "matrix", "says"),
    [
        ([1, 2], matrix_of(2, 4), r"float32 matrix \(2, 3\); given is float32 \(2, 4\)"),
        ([1, 2], matrix_of(3), r"given is float32 \(3, 3\)"),
        ([1, 2], matrix_of(2).astype(np.float64), "given is float64"),
        ([], matrix_of(0), "no video rows to load"),
        ([4, 9, 4, 4], matrix_of(4), r"2 of 4 video keys come more than once, .*4.*keep one row"),
        ([1, 2], HOLES, r"2 of 2 video rows .* age \(1\), plays \(2\); put the columns' defaults"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(
    store: RowStore, redis_url: str, keys: list[int], matrix: Any, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        store.load(VIDEO, np.array(keys, np.int64), matrix)
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_keys_of_another_type_are_refused(store: RowStore) -> None:
    with pytest.raises(BadInput, match="give int64"):
        store.load(VIDEO, np.array([1, 2], np.int32), matrix_of(2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "entity", "says"),
    [
        ((), "video", "has 0 columns"),
        (("a", "b", "a"), "video", "columns a are named more than once"),
        (("a",), "creator", "video or user"),
    ],
)
def test_a_schema_that_makes_no_row_is_refused(names: tuple[str, ...], entity: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        RowSchema(entity, names, "v1")


def test_a_store_without_rows_says_so(store: RowStore) -> None:
    assert store.live("video") is None
    with pytest.raises(NotFound, match="no video rows are loaded"):
        store.find(VIDEO)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (RowSchema("video", ("age", "plays", "shares"), "v2"), "only ours: shares; only stored: likes"),
        (RowSchema("video", ("plays", "age", "likes"), "v1"), "in other places: plays, age"),
        (RowSchema("video", ("age", "plays", "likes"), "v2"), "the columns are the same"),
    ],
)
def test_a_reader_with_another_schema_is_refused_and_both_sides_are_named(
    store: RowStore, other: RowSchema, says: str
) -> None:
    store.load(VIDEO, np.arange(3, dtype=np.int64), matrix_of(3))
    with pytest.raises(VersionMismatch, match=says) as told:
        store.find(other)
    for schema in (VIDEO, other):
        assert f"version {schema.version}, 3 columns, hash {schema_hash(schema):08x}" in str(told.value)
    assert difference(VIDEO, VIDEO) == "the columns are the same"


@pytest.mark.parametrize(
    "spoil", [lambda row: row[:-1], lambda row: b"\2" + row[1:], lambda _: b"", lambda row: row * 2]
)
def test_a_row_of_another_layout_is_refused_and_named(store: RowStore, redis_url: str, spoil: Any) -> None:
    keys = np.arange(40, dtype=np.int64)
    store.load(VIDEO, keys, matrix_of(40))
    load = store.find(VIDEO)
    identity = identities("video", keys[5:6])
    name = RowKeys("rr", "video").rows(load.load, identity, shards_of(identity))[0].tobytes()
    with redis.Redis.from_url(redis_url) as client:
        row = client.get(name)
        assert isinstance(row, bytes)
        client.set(name, spoil(row))
    with pytest.raises(
        VersionMismatch, match=r"a video row is stored with .* this program reads packing 1, kind 16"
    ):
        store.read(load, keys)


def test_a_request_reads_the_user_and_rows_in_one_trip_and_a_merged_user_is_the_other(redis_url: str) -> None:
    with contextlib.closing(Store.connect(redis_url, secrets.token_hex(4), 10)) as store:
        store.rows.load(VIDEO, np.arange(50, dtype=np.int64), matrix_of(50))
        load, keys = store.rows.find(VIDEO), np.array([7, 99], np.int64)
        store.accept_events("anon", [AcceptedEvent("e", 7, "v7", "like", 1_767_312_000_000)])
        store.merge_users("anon", "ann")
        for user in ("anon", "ann"):
            state, (rows,) = read_request(store, user, [(load, keys)])
            assert state.histories.video_keys[0, :2].tolist() == [7, -1]
            assert state.counters.events.sum() == 1
            np.testing.assert_array_equal(rows.matrix[0], matrix_of(50)[7])
            assert rows.present.tolist() == [True, False]
        state, _ = read_request(store, "nobody", [(load, keys)])
        assert state.histories.lengths.tolist() == [0]
