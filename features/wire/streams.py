"""Streams of Redis that leave for the workspace: each entry goes to one reader, and stays until it is done.

Readers form one consumer group. What a reader took and did not finish is given to the next after a while, so
an entry is handed out at least once; that it is stored once is for who stores it. Of one stream one reader
at a time holds entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from features.wire import scripts
from features.wire.nodes import Client, Command, checked, pipelined

GROUP: Final = "drain"
READER: Final = "drain"
"""All readers are one to Redis, which forgets none: what one holds is told by how long it has been held."""
READ_AT_ONCE: Final = 20_000
"""Entries of all streams together that one portion may hold."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry on its way out."""

    stream: str
    place: bytes
    """Its id in the stream."""
    fields: dict[bytes, bytes]


def portions(client: Client, streams: list[str], claim_after_ms: int) -> Iterator[list[Entry]]:
    """What waits in the streams, in portions, in the order of each stream; every entry is to be `finish`ed.

    Args:
        client: of Redis.
        streams: their names.
        claim_after_ms: what another reader took and has not finished for this long is taken over, >= 0.
    """
    _form_group(client, streams)
    count = max(1, READ_AT_ONCE // len(streams))
    left = streams
    while left:
        found = _claimed(client, left, count, claim_after_ms)
        left = [stream for stream, entries in found if entries]
        if left:
            yield _entries(found)
    left = streams
    while left:
        found = _new(client, left, count)
        left = [stream for stream, entries in found if entries]
        if left:
            yield _entries(found)


def finish(client: Client, entries: list[Entry]) -> None:
    """Strikes entries from their streams: they are stored."""
    by_stream: dict[str, list[bytes]] = {}
    for entry in entries:
        by_stream.setdefault(entry.stream, []).append(entry.place)
    commands: list[tuple[Any, ...]] = []
    for stream, places in by_stream.items():
        # In this order a reader that dies in between leaves nothing that counts towards the stream's length.
        commands += [("XDEL", stream, *places), ("XACK", stream, GROUP, *places)]
    checked(pipelined(client, [command[1] for command in commands], commands))


def _form_group(client: Client, streams: list[str]) -> None:
    commands = [("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM") for stream in streams]
    replies = pipelined(client, streams, commands)
    checked([reply for reply in replies if not str(reply).startswith("BUSYGROUP")])


def _claimed(client: Client, streams: list[str], count: int, after_ms: int) -> list[tuple[str, list[Any]]]:
    commands = [("XAUTOCLAIM", stream, GROUP, READER, after_ms, "0-0", "COUNT", count) for stream in streams]
    replies = checked(pipelined(client, streams, commands))
    # an entry that the bound of its stream dropped is nothing (6.2), or without fields
    return [
        (stream, [e for e in reply[1] if e and e[1]]) for stream, reply in zip(streams, replies, strict=True)
    ]


def _new(client: Client, streams: list[str], count: int) -> list[tuple[str, list[Any]]]:
    commands: list[Command] = [(_READ, stream, GROUP, READER, count) for stream in streams]
    replies = checked(scripts.run(client, commands, keys=1))
    return [(s, _only_stream(reply)) for s, reply in zip(streams, replies, strict=True)]


_READ: Final = """
local held = redis.call('XPENDING', KEYS[1], ARGV[1])
if held[1] > 0 and #redis.call('XRANGE', KEYS[1], held[3], held[3]) > 0 then return {} end
return redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
"""
"""Entries nobody has read, unless a reader holds some before them: what is stored is a stream's beginning.

Then a log that has a user's event has all that came before it, and ties in time are kept in their order.
"""


def _only_stream(reply: Any) -> list[Any]:
    """Entries of a reply that names one stream: a list of pairs, or a mapping in newer protocols."""
    if not reply:
        return []
    parts = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
    while parts and isinstance(parts[0], list) and parts[0] and isinstance(parts[0][0], tuple | list):
        parts = parts[0]
    return list(parts)


def _entries(found: list[tuple[str, list[Any]]]) -> list[Entry]:
    return [Entry(stream, place, _fields(fields)) for stream, part in found for place, fields in part]


def _fields(fields: Any) -> dict[bytes, bytes]:
    return fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
