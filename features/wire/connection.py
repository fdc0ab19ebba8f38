"""The way to a Redis or a Redis Cluster: deadlines, no hidden retries, and errors that say who has to act."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from features.errors import BadInput, StoreTimeout, StoreUnavailable, VersionMismatch
from features.wire.lazy_cluster import LazyCluster
from features.wire.nodes import Client

CLUSTER_SCHEMES: Final = ("redis+cluster", "rediss+cluster")

CLUSTER_PORT: Final = 6379


def connect(url: str, timeout_s: float) -> Client:
    """A client whose every call ends within about `timeout_s`; nothing is sent before the first call.

    Args:
        url: `redis://`, `rediss://` or `unix://` of one node;
            `redis+cluster://[user:password@]host[:port][,host[:port]…]` of a Redis Cluster, `rediss+cluster://`
            with TLS. Options follow behind a `?`, as redis-py has them.
        timeout_s: to connect, and to wait for a reply, s. A cluster's first call also asks for the layout,
            and tries the named hosts one after the other.

    Raises:
        BadInput: the URL cannot be read.
    """
    # A retry inside the client would outlive the deadline.
    retry = Retry(NoBackoff(), 0)
    try:
        if urlsplit(url).scheme in CLUSTER_SCHEMES:
            first, others = _split(url)
            return LazyCluster(
                url=first, startup_nodes=others, retry=retry,
                socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
            )  # fmt: skip
        return redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry
        )
    except ValueError as error:
        raise BadInput(f"the URL of Redis cannot be read ({error}); write redis://host:6379") from error


def _split(url: str) -> tuple[str, list[ClusterNode]]:
    """URL of the first host of a cluster, as redis-py reads it, and the other hosts."""
    parts = urlsplit(url)
    if parts.path.strip("/0"):
        raise BadInput(f"a Redis Cluster has database 0 only, the URL names {parts.path[1:]}; leave it out")
    login, at, hosts = parts.netloc.rpartition("@")
    first, *others = (_host_port(name) for name in hosts.split(","))
    netloc = f"{login}{at}{first[0]}:{first[1]}"
    plain = urlunsplit((parts.scheme.partition("+")[0], netloc, "", parts.query, ""))
    # what it refuses is refused now, not at the first call
    redis.connection.parse_url(plain)  # type: ignore[no-untyped-call]
    nodes = [
        ClusterNode(host.strip("[]"), port)  # type: ignore[no-untyped-call]
        for host, port in others
    ]
    return plain, nodes


def _host_port(name: str) -> tuple[str, int]:
    """Host and port; an IPv6 address stands in brackets."""
    parts = urlsplit(f"//{name}")
    if not parts.hostname:
        raise BadInput(
            f"{name!r} in the URL of a Redis Cluster is no host:port; write redis+cluster://host:6379"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host, parts.port or CLUSTER_PORT


@contextlib.contextmanager
def mapped(operation: str, budget_ms: float) -> Iterator[None]:
    """Redis' exceptions as ours.

    Args:
        operation: what was being done, for the message.
        budget_ms: its deadline, ms, for the message.

    Raises:
        StoreTimeout: no answer within the deadline.
        VersionMismatch: a script met a record of another layout.
        StoreUnavailable: anything else that Redis refused or dropped.
    """
    try:
        yield
    except exceptions.TimeoutError as error:
        raise StoreTimeout(operation, budget_ms) from error
    except (exceptions.RedisError, exceptions.RedisClusterException) as error:
        said = f"{getattr(error, 'status_code', None) or ''} {error}".strip()
        if "MISMATCH" in said:
            raise VersionMismatch(
                f"{operation}: what is stored has another layout than this program's; load the store again"
            ) from error
        raise StoreUnavailable(f"{operation}: {_advice(error, said)}") from error


def _advice(error: Exception, said: str) -> str:
    """What Redis said, what it means, and what to do."""
    for kinds, words, meaning in _MEANINGS:
        if isinstance(error, kinds) or any(word in said for word in words):
            return f"{meaning} ({said})"
    if isinstance(error, exceptions.ResponseError):
        return f"refused by Redis: {said}"
    return f"no Redis answers: {said or type(error).__name__}"


_Kinds = tuple[type[Exception], ...]
_MEANINGS: Final[tuple[tuple[_Kinds, tuple[str, ...], str], ...]] = (
    (
        (exceptions.BusyLoadingError,),
        ("LOADING",),
        "Redis is still reading its own file; wait until it answers PING",
    ),
    (
        (exceptions.AuthenticationError, exceptions.AuthorizationError),
        ("NOAUTH", "WRONGPASS"),
        "Redis refused the login; correct user and password in REDIS_URL",
    ),
    (
        (exceptions.NoPermissionError,),
        ("NOPERM",),
        "the user of REDIS_URL may not do this; give it the right with ACL SETUSER",
    ),
    (
        (exceptions.OutOfMemoryError,),
        ("OOM ",),
        "Redis has no memory left; raise maxmemory, `reelrank plan` says by how much",
    ),
    (
        (exceptions.ReadOnlyError,),
        ("READONLY", "read only replica"),
        "this Redis is a replica and takes no writes; REDIS_URL must name the primary",
    ),
    (
        (),
        ("the cluster is moving", "the cluster has changed"),
        "the layout of the Redis Cluster is changing; try again",
    ),
    ((), ("MISCONF",), "Redis cannot write its file and refuses changes; see to its disk"),
    (
        (exceptions.ClusterDownError,),
        ("CLUSTERDOWN",),
        "a part of the Redis Cluster is down; repair it, see CLUSTER INFO",
    ),
    (
        (),
        ("Cluster mode is not enabled", "cluster support disabled"),
        "the server is no Redis Cluster; name it by redis:// instead of redis+cluster://",
    ),
    (
        (exceptions.AskError, exceptions.ClusterCrossSlotError),
        ("MOVED ", "CROSSSLOT"),
        "the server is a node of a Redis Cluster; name it by redis+cluster:// instead of redis://",
    ),
)
"""Exceptions, words in the text of others (a script's error has the class of none), and what they mean."""
