"""Many commands in few trips: one pipeline for each node that holds some of their keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis
import redis
from redis.cluster import RedisCluster

Client = redis.Redis | RedisCluster
Command = tuple[Any, ...]


def node_of(client: Client, key: str | bytes) -> redis.Redis:
    """The client of the node that holds a key; the client itself where there is one node only."""
    if not isinstance(client, RedisCluster):
        return client
    node = client.get_node_from_key(key)  # type: ignore[no-untyped-call]
    if node is None:
        raise redis.ConnectionError(f"no node of the cluster holds the slot of {key!r}")
    return client.get_redis_connection(node)


def all_nodes(client: Client) -> list[redis.Redis]:
    """A client for each node that holds keys."""
    if not isinstance(client, RedisCluster):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_primaries()]  # type: ignore[no-untyped-call]


def pipelined(client: Client, keys: Sequence[str | bytes], commands: Sequence[Command]) -> list[Any]:
    """Replies to commands, in their order; one trip a node, no transaction, errors among the replies.

    Args:
        client: of one node or a cluster.
        keys: one key of each command, which says where it goes.
        commands: name and arguments.

    Raises:
        redis.RedisError: a node does not answer, or the cluster has just moved a slot; repeat then.
    """
    places: dict[int, list[int]] = {}
    nodes: dict[int, redis.Redis] = {}
    for place, key in enumerate(keys):
        node = node_of(client, key)
        nodes[id(node)] = node
        places.setdefault(id(node), []).append(place)
    replies: list[Any] = [None] * len(commands)
    for name, some in places.items():
        for place, reply in zip(some, _together(nodes[name], [commands[p] for p in some]), strict=True):
            replies[place] = reply
    _notice_moves(client, replies)
    return replies


def _together(node: redis.Redis, commands: list[Command]) -> list[Any]:
    """Replies of one node, errors among them, as they came: half the cost of the client's own pipeline."""
    packed = b"".join([hiredis.pack_command(command) for command in commands])
    with borrowed(node) as line:
        line.send_packed_command([packed])
        return [_reply(line) for _ in commands]


def _reply(line: Any) -> Any:
    try:
        return line.read_response(disconnect_on_error=False)  # who borrowed the line closes it
    except redis.ResponseError as error:  # the reply itself; what breaks the line is none
        return error


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


def checked(replies: list[Any]) -> list[Any]:
    """The replies, if none is an error; the first error is raised."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _notice_moves(client: Client, replies: list[Any]) -> None:
    moved = next((r for r in replies if isinstance(r, redis.exceptions.AskError)), None)
    if moved is not None and isinstance(client, RedisCluster):
        client.nodes_manager.initialize()
        raise redis.ConnectionError(f"the cluster is moving slots ({moved})") from moved
