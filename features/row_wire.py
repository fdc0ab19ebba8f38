"""Ready-made bytes to the nodes of a Redis, and their replies, over the client's own connections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.cluster import RedisCluster

from features.nodes import Client

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Request:
    """Commands for one node."""

    node: redis.Redis
    packed: Sequence[Buffer]
    replies: int
    """How many commands they are."""


@contextlib.contextmanager
def borrowed(node: redis.Redis) -> Iterator[Any]:
    """A connection of the node's pool; after a failure it is closed: replies may still be under way on it."""
    pool = node.connection_pool
    connection = pool.get_connection()
    try:
        yield connection
    except BaseException:
        connection.disconnect()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.release(connection)


def exchange(client: Client, requests: Sequence[Request]) -> list[list[Any]]:
    """Replies to each request, in order; all are sent before the first reply is waited for.

    Raises:
        redis.RedisError: the first error among the replies; after one that says that a slot has moved, the
            client has learned the new layout.
    """
    with contextlib.ExitStack() as held, noticing_moves(client):
        connections = [held.enter_context(borrowed(request.node)) for request in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.send_packed_command(request.packed)
        return [
            [connection.read_response() for _ in range(request.replies)]
            for connection, request in zip(connections, requests, strict=True)
        ]


@contextlib.contextmanager
def noticing_moves(client: Client) -> Iterator[None]:
    """Learns a cluster's layout anew where a node says that it has changed, or is gone."""
    try:
        yield
    except (redis.exceptions.AskError, redis.exceptions.ConnectionError) as error:
        if not isinstance(client, RedisCluster):
            raise
        client.nodes_manager.initialize()
        raise redis.ConnectionError(f"the cluster has changed ({error}); the next call knows") from error
