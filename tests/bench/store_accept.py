"""How soon an accepted event is readable on another connection, at a steady 5,000 events a second.

Events arrive at fixed instants whether or not earlier ones are through (open loop); 10 % repeat an event of
the last second. A writer process takes what has arrived, one `Store.accept_many` at a time, over one
connection; a reader process reads every tenth new event's user over another, again and again until the event
is there. Both use one server with append-only persistence. Times are of one monotonic clock.
`one_core`: writer and server share one processor core, the reader has another. `free`: as the kernel likes.
Usage: python -m tests.bench.store_accept --scratch DIR [--seconds 20] [--rate 5000]
Seed 0. Runs a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import redis

from features.packing import AcceptedEvent
from features.redis_server import private_redis
from features.store import Store
from tests.bench.record import write_result

USERS: Final = 5000
REPEATED: Final = 0.1
READ_EVERY: Final = 10
WARM_S: Final = 2.0
NOTE: Final = struct.Struct("<qqqqq")
"""User, event, when it arrived, when the accept call began, and when it returned, ns."""
NEWEST_MS: Final = 1_767_268_800_000


@dataclass(frozen=True)
class Plan:
    """What arrives: event i belongs to a user, and is new or repeats an earlier one."""

    users: Any
    """int64, (n,)."""
    events: Any
    """Number of the event, int64, (n,); below its own place where it repeats."""
    gap_ns: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the servers' files")
    parser.add_argument("--rate", type=int, default=5000, help="events a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--name", default="store_accept", help="of the result")
    args = parser.parse_args()
    plan = plan_of(args.rate, args.seconds + WARM_S)
    figures = {
        "one_core": run(args.scratch, plan, {0}, {1}),
        "free": run(args.scratch, plan, None, None),
        "must": "return_to_visible_ms.p99 < 1 at 5,000 events a second, duplicates included",
    }
    given = {"rate": args.rate, "seconds": args.seconds, "users": USERS, "repeated": REPEATED, "seed": 0}
    print(write_result(args.name, given, figures).read_text())


def plan_of(rate: int, seconds: float) -> Plan:
    """Events of users drawn at random, evenly spaced in time."""
    rng = np.random.default_rng(0)
    n = int(rate * seconds)
    events, users = np.arange(n, dtype=np.int64), rng.integers(0, USERS, n)
    back = events - rng.integers(1, rate, n)
    repeats = (rng.random(n) < REPEATED) & (back >= 0)
    source = events.copy()
    for at in np.flatnonzero(repeats):  # in order: a repeat of a repeat is of the first
        source[at] = source[back[at]]
    return Plan(users[source], source, int(1e9 / rate))


def run(scratch: Path, plan: Plan, cores: set[int] | None, reader_cores: set[int] | None) -> dict[str, Any]:
    """One run of the plan against an empty server."""
    directory = scratch / f"accept-{time.time_ns()}"
    with private_redis(directory) as url, redis.Redis.from_url(url) as client:
        server = int(client.info("server")["process_id"])
        if cores:
            os.sched_setaffinity(server, cores)
        spawn = multiprocessing.get_context("spawn")
        notes_out, notes_in = spawn.Pipe(duplex=False)
        told_out, told_in = spawn.Pipe(duplex=False)
        reader = spawn.Process(target=read, args=(url, notes_out, told_in, reader_cores))
        reader.start()
        told_out.recv()  # it is connected
        before = cpu_s(server)
        with on_cores(cores):
            wrote = write(url, plan, notes_in)
        server_s = cpu_s(server) - before
        notes_in.send_bytes(b"")
        latencies = told_out.recv()
        reader.join()
        with contextlib.closing(Store.connect(url, timeout_s=10)) as store:
            check(store, plan, wrote)
    took = wrote["took_s"]
    return {
        **latencies,
        "events_s": round(len(plan.events) / took),
        "accept_calls": wrote["calls"],
        "accepted": wrote["accepted"],
        "duplicates": wrote["duplicates"],
        "store_client_core": round(wrote["cpu_s"] / took, 3),
        "redis_core": round(server_s / took, 3),
    }


def write(url: str, plan: Plan, notes: Connection) -> dict[str, Any]:
    """Accepts events as they arrive, all that wait in one call."""
    done = {"accepted": 0, "duplicates": 0, "calls": 0}
    users, numbers = plan.users.tolist(), plan.events.tolist()
    with contextlib.closing(Store.connect(url, timeout_s=10)) as store:
        store.ping()
        cpu, start = time.process_time(), time.monotonic_ns()
        at, n, warm = 0, len(users), int(WARM_S * 1e9)
        while at < n:
            due = min((time.monotonic_ns() - start) // plan.gap_ns + 1, n)
            if due <= at:
                time.sleep(max(0, start + at * plan.gap_ns - time.monotonic_ns()) / 1e9)
                continue
            batch = [(f"user{users[i]}", [event_of(numbers[i])]) for i in range(at, due)]
            called = time.monotonic_ns()
            results = store.accept_many(batch)
            returned = time.monotonic_ns()
            for i, result in zip(range(at, due), results, strict=True):
                done["accepted"] += result.accepted
                done["duplicates"] += result.duplicates
                if i % READ_EVERY == 0 and numbers[i] == i and i * plan.gap_ns >= warm:
                    notes.send_bytes(NOTE.pack(users[i], i, start + i * plan.gap_ns, called, returned))
            done["calls"] += 1
            at = due
        return {**done, "cpu_s": time.process_time() - cpu, "took_s": (time.monotonic_ns() - start) / 1e9}


def event_of(number: int) -> AcceptedEvent:
    """The event of a number; its number is also its video's key, by which the reader knows it."""
    return AcceptedEvent(f"event-{number}", number, f"v{number}", "play", NEWEST_MS + number, watch_s=3.5)


def read(url: str, notes: Connection, told: Connection, cores: set[int] | None) -> None:
    """Reads the user of each event it is told of until the event is there; tells how long that took."""
    seen, notices = [], []
    with on_cores(cores), contextlib.closing(Store.connect(url, timeout_s=10)) as store:
        store.ping()
        told.send("ready")
        while packed := notes.recv_bytes():
            user, number, arrived, called, returned = NOTE.unpack(packed)
            begun, tries = time.monotonic_ns(), 1
            while number not in store.read_user(f"user{user}").histories.video_keys[0]:
                tries += 1
            now = time.monotonic_ns()
            seen.append((now - returned, now - called, now - arrived, now - begun))
            notices.append(tries)
    names = ("return_to_visible_ms", "call_to_visible_ms", "arrival_to_visible_ms", "read_ms")
    columns = zip(names, np.array(seen).T / 1e6, strict=True)
    told.send({
        **{name: {f"p{p}": round(float(np.percentile(ms, p)), 3) for p in (50, 99)} for name, ms in columns},
        "read_events": len(seen),
        "there_at_the_first_read": round(float(np.mean(np.array(notices) == 1)), 6),
    })  # fmt: skip


def check(store: Store, plan: Plan, wrote: dict[str, Any]) -> None:
    """Every event is counted once, and no repeat was."""
    new = int((plan.events == np.arange(len(plan.events))).sum())
    if wrote["accepted"] != new or wrote["duplicates"] != len(plan.events) - new or store.pending() != new:
        raise RuntimeError(f"{new} events were new, but {wrote} were accepted and {store.pending()} wait")


@contextlib.contextmanager
def on_cores(cores: set[int] | None) -> Any:
    """This process on some cores for the block."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    yield
    os.sched_setaffinity(0, before)


def cpu_s(pid: int) -> float:
    """Processor time of a process, s."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
