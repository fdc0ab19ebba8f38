"""Ready-made bytes to the nodes of a Redis, and their replies, over the client's own connections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.cluster import RedisCluster

from features.wire.nodes import Client, borrowed

Buffer = bytes | memoryview


def exchange(client: Client, commands: Sequence[tuple[redis.Redis, Buffer]]) -> list[Any]:
    """Replies to packed commands, in order; all nodes are asked before the first reply is waited for.

    Args:
        client: of one node or a cluster.
        commands: node and bytes of each.

    Raises:
        redis.RedisError: the first error among the replies; after one that says that a slot has moved, the
            client has learned the new layout.
    """
    nodes = {id(node): node for node, _ in commands}
    with contextlib.ExitStack() as held, noticing_moves(client):
        lines = {name: held.enter_context(borrowed(node)) for name, node in nodes.items()}
        for name, line in lines.items():
            line.send_packed_command([b"".join(packed for node, packed in commands if id(node) == name)])
        return [lines[id(node)].read_response() for node, _ in commands]


@contextlib.contextmanager
def noticing_moves(client: Client) -> Iterator[None]:
    """Learns a cluster's layout anew where a node says that it has changed, or is gone."""
    try:
        yield
    except (redis.exceptions.AskError, redis.exceptions.ConnectionError) as error:
        if not isinstance(client, RedisCluster):
            raise
        client.nodes_manager.initialize()
        raise redis.ConnectionError(f"the cluster has changed: {error}") from error
