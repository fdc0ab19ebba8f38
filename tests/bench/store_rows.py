"""Feature rows in Redis: how fast they are loaded and read, against the bare protocol and against Feast.

All arms use one server of this run, over loopback, and the same rows of 64 float32 columns.
`load`: `RowStore.load`, encoding included, against `SET` commands that were encoded before and go through one
socket; Feast's `materialize` writes `--feast-rows` of the rows.
`read`: what the store holds of one user (record with history and counters, feature row) and 500 videos' rows,
in one matrix, against one `MGET` of the 500 rows, encoded before, parsed by hiredis, joined and given to
`frombuffer`; Feast reads the same 500 rows.
Usage: python -m tests.bench.store_rows --scratch DIR [--rows 100000] [--no-feast]
Seed 0. Runs 2 minutes, and some more the first time: Feast is installed into an environment under --scratch.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import hiredis
import numpy as np
import polars as pl
import redis

from features.packing import AcceptedEvent
from features.row_store.keys import RowKeys, identities, shards_of
from features.row_store.packing import HEADER, command, header_of
from features.row_store.request_rows import read_request
from features.row_store.schema import RowSchema
from features.store import Store
from tests.bench.feast_env import run_feast
from tests.bench.record import write_result
from tests.features.redis_cluster import free_ports, tcp_server

COLUMNS: Final = 64
READ_ROWS: Final = 500
VIDEO: Final = RowSchema("video", tuple(f"f{at}" for at in range(COLUMNS)), "bench")
USER: Final = RowSchema("user", tuple(f"u{at}" for at in range(COLUMNS)), "bench")
EVENTS_OF_USER: Final = 100
NOON: Final = 1_767_268_800_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for servers and environments")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7, help="of each load")
    parser.add_argument("--reads", type=int, default=1000, help="of each arm")
    parser.add_argument("--feast-rows", type=int, default=20_000)
    parser.add_argument("--feast-reads", type=int, default=20)
    parser.add_argument("--no-feast", action="store_true")
    parser.add_argument("--name", default="store_rows", help="of the result")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    keys = np.sort(rng.choice(1 << 40, args.rows, replace=False)).astype(np.int64)
    matrix = rng.normal(size=(args.rows, COLUMNS)).astype(np.float32)
    port, directory = free_ports(1)[0], args.scratch / f"server-{time.time_ns()}"
    with (
        tcp_server(directory, port, "--appendonly", "no"),
        contextlib.closing(Store.connect(f"redis://127.0.0.1:{port}", timeout_s=30)) as store,
        redis.Redis(port=port) as client,
    ):
        figures: dict[str, Any] = {"redis": client.info("server")["redis_version"]}
        figures["load"] = loads(store, client, port, keys, matrix, args.repeats)
        figures["read"] = reads(store, port, keys, matrix, args.reads, rng)
        if not args.no_feast:
            add_feast(figures, args, port, keys, matrix)
    given = {name: value for name, value in vars(args).items() if name not in ("scratch", "name")}
    print(write_result(args.name, {**given, "columns": COLUMNS, "seed": 0}, figures).read_text())


def loads(
    store: Store, client: redis.Redis, port: int, keys: Any, matrix: Any, repeats: int
) -> dict[str, Any]:
    """Rows per second, the arms in turn, each into an empty server; the first, a warm-up, is left out."""
    bare, ours = [], []
    for at in range(repeats + 1):
        rows = matrix + np.float32(at)
        client.flushall()
        bare.append(len(keys) / timed(bare_load(port, keys, rows)))
        client.flushall()
        ours.append(len(keys) / timed(lambda rows=rows: store.rows.load(VIDEO, keys, rows)))
    said = {"bare_rows_s": spread(bare[1:], 0), "ours_rows_s": spread(ours[1:], 0)}
    ratios = [own / other for own, other in zip(ours[1:], bare[1:], strict=True)]
    return {**said, "ours_over_bare": spread(ratios, 2), "must": "ours_over_bare >= 0.5"}


def bare_load(port: int, keys: Any, matrix: Any) -> Callable[[], None]:
    """Sends `SET`s, which are encoded here, through one socket while another thread counts the replies."""
    names = key_bytes("bare00000000", keys)
    packer = hiredis.pack_command
    values = [header_of(VIDEO) + row.tobytes() for row in matrix]
    packed = b"".join(packer(("SET", name, value)) for name, value in zip(names, values, strict=True))

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port)) as line:
            replies = threading.Thread(target=receive, args=(line, len(names) * len(b"+OK\r\n")))
            replies.start()
            line.sendall(packed)
            replies.join()

    return send


def receive(line: socket.socket, expected: int) -> None:
    """Takes so many bytes off a socket."""
    buffer = bytearray(1 << 20)
    while expected > 0:
        got = line.recv_into(buffer)
        if not got:
            raise RuntimeError("Redis closed the connection")
        expected -= got


def reads(store: Store, port: int, keys: Any, matrix: Any, repeats: int, rng: Any) -> dict[str, Any]:
    """Milliseconds of one read, the arms in turn."""
    user = "somebody"
    for at in range(EVENTS_OF_USER):
        event = AcceptedEvent(f"e{at}", int(keys[at]), f"v{at}", "play", NOON + at * 60_000)
        store.accept_events(user, [event], now_ms=NOON + at * 60_000)
    store.rows.load(VIDEO, keys, matrix)
    store.rows.load(USER, [user, "other"], matrix[:2])
    videos, users = store.rows.find(VIDEO), store.rows.find(USER)
    took: dict[str, list[float]] = {"ours": [], "bare": [], "redis_py": []}
    with bare_reader(port) as bare, redis.Redis(port=port) as client:
        for _ in range(repeats + 20):
            some = rng.choice(len(keys), READ_ROWS, replace=False)
            named = key_bytes(videos.load, keys[some])
            packed = command(b"MGET", np.frombuffer(b"".join(named), np.uint8).reshape(READ_ROWS, -1))
            arms = {
                "ours": lambda some=some: everything(store, user, users, videos, keys[some]),
                "bare": lambda packed=packed: bare(packed),
                "redis_py": lambda named=named: frombuffer(client.mget(named)),
            }
            for name, arm in arms.items():
                start = time.perf_counter()
                found = arm()
                took[name].append(time.perf_counter() - start)
                if not np.array_equal(found[:, :COLUMNS], matrix[some]):
                    raise RuntimeError(f"arm {name} read other rows than were written")
    said: dict[str, Any] = {f"{name}_ms": percentiles(times[20:]) for name, times in took.items()}
    ratio = said["ours_ms"]["p50"] / said["bare_ms"]["p50"]
    return {**said, "ours_over_bare": round(ratio, 2), "must": "ours_over_bare <= 3"}


def everything(store: Store, user: str, users: Any, videos: Any, keys: Any) -> Any:
    """Everything the store holds for one request, the videos' and the user's row side by side, (n, 128)."""
    state, (mine, theirs) = read_request(store, user, [(users, [user]), (videos, keys)])
    if state.histories.lengths[0] != EVENTS_OF_USER or not state.counters.events.any():
        raise RuntimeError("the user's history is not the one that was written")
    out = np.empty((len(keys), 2 * COLUMNS), np.float32)
    out[:, :COLUMNS], out[:, COLUMNS:] = theirs.matrix, mine.matrix
    return out


@contextlib.contextmanager
def bare_reader(port: int) -> Iterator[Callable[[bytes], Any]]:
    """The least that reads rows: bytes out, bytes in, parsed in C, joined, seen as a matrix."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        parser = hiredis.Reader()

        def read(packed: bytes) -> Any:
            line.sendall(packed)
            while (values := parser.gets()) is False:
                parser.feed(line.recv(1 << 18))
            return frombuffer(values)

        yield read


def frombuffer(values: Any) -> Any:
    """Rows as one matrix, headers unread."""
    return (
        np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)[:, HEADER.size :].view(np.float32)
    )


def key_bytes(load: str, keys: Any) -> list[bytes]:
    """Names of videos' rows."""
    identity = identities("video", keys)
    return [name.tobytes() for name in RowKeys("rr", "video").rows(load, identity, shards_of(identity))]


def add_feast(figures: dict[str, Any], args: argparse.Namespace, port: int, keys: Any, matrix: Any) -> None:
    """Feast's figures for the same rows, and how many times faster ours are."""
    rows, asked = args.scratch / "feast-rows.parquet", keys[: args.feast_rows][:READ_ROWS]
    some = pl.DataFrame(matrix[: args.feast_rows], schema=list(VIDEO.names))
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    columns = [pl.Series("video_key", keys[: args.feast_rows]), pl.lit(then).alias("event_timestamp")]
    some.with_columns(columns).write_parquet(rows)
    said = run_feast(args.scratch, rows, asked.tolist(), port, args.feast_reads)
    if not np.array_equal(np.array(said["values"], np.float32), matrix[: len(asked)]):
        raise RuntimeError("Feast read other rows than were written")
    rate, online = said["rows"] / said["materialize_s"], percentiles(said["online_s"])
    figures["feast"] = {"version": said["version"], "materialize_rows_s": round(rate), "online_ms": online}
    figures["load"]["ours_over_feast"] = round(figures["load"]["ours_rows_s"]["median"] / rate, 1)
    figures["read"]["feast_over_ours"] = round(online["p50"] / figures["read"]["ours_ms"]["p50"], 1)
    figures["feast"]["must"] = "ours_over_feast >= 100 and feast_over_ours >= 100"


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(values: list[float], digits: int) -> dict[str, float]:
    """Median, lowest and highest."""
    low, median, high = (round(float(np.quantile(values, at)), digits) for at in (0, 0.5, 1))
    return {"median": median, "low": low, "high": high}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds, p50 and p99."""
    return {f"p{at}": round(float(np.percentile(seconds, at)) * 1000, 3) for at in (50, 99)}


if __name__ == "__main__":
    main()
