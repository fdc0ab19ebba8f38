"""A real Redis Cluster of three masters on this machine, for tests."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from features.redis_server import find_server

SLOTS = 16_384
START_S = 30.0


@dataclass(frozen=True)
class LocalCluster:
    """Three masters that listen on 127.0.0.1."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]

    @property
    def url(self) -> str:
        """Names all three."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def node_url(self, at: int) -> str:
        """One of the nodes, as if it stood alone."""
        return f"redis://127.0.0.1:{self.ports[at]}"

    def move_slot(self, slot: int, to: int) -> None:
        """Gives a slot without keys to another master, and tells everybody."""
        clients = [node(port) for port in self.ports]
        name = clients[to].execute_command("CLUSTER", "MYID")
        for client in (clients[to], *clients):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
            client.close()


@contextlib.contextmanager
def local_cluster(directory: Path) -> Iterator[LocalCluster]:
    """Three masters that share all slots; they end, by their pids, with the block."""
    ports = free_ports(3)
    cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", "15000")
    with contextlib.ExitStack() as servers:
        pids = [servers.enter_context(tcp_server(directory / str(port), port, *cluster)) for port in ports]
        join(ports)
        yield LocalCluster(tuple(ports), tuple(pids))


@contextlib.contextmanager
def tcp_server(directory: Path, port: int, *options: str) -> Iterator[int]:
    """The pid of a Redis that answers on a port of 127.0.0.1; it ends with the block."""
    directory.mkdir(parents=True)
    with open(directory / "redis.log", "ab") as out:
        server = subprocess.Popen(
            [
                *(find_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)),
                *("--appendonly", "yes", "--save", "", "--daemonize", "no", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        with node(port) as client:
            wait_for(lambda: bool(client.ping()), time.monotonic() + START_S)
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def free_ports(n: int) -> list[int]:
    """Ports that nobody uses, and whose number plus 10,000, which the nodes talk on, is free too."""
    found: list[int] = []
    while len(found) < n:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + 10_000))
                found.append(port)
    return found


def node(port: int) -> redis.Redis:
    """A client of one node."""
    return redis.Redis(port=port, socket_timeout=5)


def join(ports: list[int]) -> None:
    """Deals the slots out and waits until every node knows of every other."""
    clients = [node(port) for port in ports]
    deadline = time.monotonic() + START_S
    for at, client in enumerate(clients):
        low, high = SLOTS * at // len(ports), SLOTS * (at + 1) // len(ports) - 1
        client.execute_command("CLUSTER", "ADDSLOTS", *range(low, high + 1))
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
    for port in ports[1:]:
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
    for client in clients:
        wait_for(lambda client=client: knows_all(client, len(ports)), deadline)
        client.close()


def knows_all(client: redis.Redis, n: int) -> bool:
    """True where a node sees all slots served by n masters."""
    lines = client.execute_command("CLUSTER", "INFO").decode().split()
    return {"cluster_state:ok", f"cluster_size:{n}"} <= set(lines)


def wait_for(true: Callable[[], bool], deadline: float) -> None:
    """Returns once a condition holds."""
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.exceptions.ConnectionError):
            if true():
                return
        time.sleep(0.02)
    raise TimeoutError("the Redis Cluster did not come up; see redis.log in its directories")
