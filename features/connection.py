"""The way to a Redis or a Redis Cluster: deadlines, no hidden retries, and errors that say who has to act."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

from features.errors import BadInput, StoreTimeout, StoreUnavailable, VersionMismatch
from features.nodes import Client

CLUSTER_SCHEMES: Final = ("redis+cluster", "rediss+cluster")


def connect(url: str, timeout_s: float) -> Client:
    """A client whose every call ends within about `timeout_s`.

    Args:
        url: `redis://`, `rediss://` or `unix://` of one node; `redis+cluster://[user:password@]host:port[,host:port…]`
            of a Redis Cluster (`rediss+cluster://` with TLS).
        timeout_s: to connect, and to wait for a reply, s.
    """
    # A retry inside the client would outlive the deadline.
    if urlsplit(url).scheme in CLUSTER_SCHEMES:
        return _cluster(url, timeout_s)
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def _cluster(url: str, timeout_s: float) -> RedisCluster:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    nodes = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":")
        if not name or not port.isdigit():
            raise BadInput(f"{host!r} in the URL of a Redis Cluster is no host:port; write redis+cluster://host:6379")
        nodes.append(ClusterNode(name, int(port)))
    return RedisCluster(
        startup_nodes=nodes, username=user or None, password=password or None,
        ssl=parts.scheme.startswith("rediss"), socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
    )  # fmt: skip


@contextlib.contextmanager
def mapped(operation: str, budget_ms: float) -> Iterator[None]:
    """Redis' exceptions as ours.

    Raises:
        StoreTimeout: no answer within the deadline.
        VersionMismatch: a script met a record of another layout.
        StoreUnavailable: anything else that Redis refused or dropped.
    """
    try:
        yield
    except redis.TimeoutError as error:
        raise StoreTimeout(operation, budget_ms) from error
    except redis.ResponseError as error:
        if "MISMATCH" in str(error):
            raise VersionMismatch(
                f"{operation}: what is stored has another layout than this program's; load the store again"
            ) from error
        raise StoreUnavailable(f"{operation} was refused by Redis: {error}") from error
    except redis.RedisError as error:
        raise StoreUnavailable(f"{operation} found no Redis: {error}") from error
