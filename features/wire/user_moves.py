"""Users who become another, and users who go: what is held of them moves, or is removed and looked for.

A merge has two steps, one in each user's slot, and can be cut off between them: from the first on the
source's events are the other's, and its record waits beside it until the second has taken it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis

from features.errors import BadInput, StoreUnavailable, VersionMismatch
from features.packing import (
    USER,
    identity_hash,
    moved_to,
    pack_moved,
    prefix,
    unpack_event,
    unpack_exposure,
)
from features.wire import scripts
from features.wire.nodes import Client, Command, checked, node_of, pipelined
from features.wire.store_keys import StoreKeys, refusal_of, shard_of
from features.wire.streams import Entry, finish

MOST_MERGES: Final = 16
"""How often one user may have been merged into another in a row."""

_LAID_ASIDE: Final = 2
"""Reply of `scripts.POINT` where a merge was cut off."""

_PLACES: Final = {"record": "h", "identities": "d", "record in a merge": "m"}


def current_user(client: Client, keys: StoreKeys, user_id: str) -> tuple[str, bytes | None]:
    """Whom a user has become, and that user's record."""
    name = user_id
    for _ in range(MOST_MERGES):
        key = keys.user(name, "h")
        packed: Any = checked(pipelined(client, [key], [("GET", key)]))[0]
        into = moved_to(packed)
        if into is None:
            return name, packed
        name = into
    raise StoreUnavailable(too_many_merges(user_id))


def too_many_merges(user_id: str) -> str:
    """What is wrong, and what helps: a load points each user to the end of all merges."""
    return f"user {user_id!r} was merged more than {MOST_MERGES} times in a row; load the store again"


def merge_users(client: Client, keys: StoreKeys, source: str, into: str, now_ms: int | None) -> int:
    """See `Store.merge_users`."""
    into = current_user(client, keys, into)[0]
    if into == source:
        raise BadInput(f"user {source!r} cannot be merged into itself")
    places = [keys.user(source, kind) for kind in "hmd"]
    try:
        left: Any = client.eval(scripts.LEAVE, 3, *places, pack_moved(into), prefix(USER))
    except redis.ResponseError as error:
        if "ELSEWHERE" not in str(error):
            raise
        known = current_user(client, keys, source)[0]
        raise BadInput(f"user {source!r} was merged into {known!r} before") from error
    if left is None:
        return 0
    names = [keys.user(into, "h"), _done(keys, source, into), keys.user(into, "d")]
    when = "" if now_ms is None else now_ms
    joined = client.eval(scripts.JOIN, 3, *names, left[0], when, *_flat(left[1]))
    client.delete(*places[1:])
    return int(joined)


def point_merged(client: Client, keys: StoreKeys, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """See `Store.point_merged`."""
    pointed: list[Command] = [
        (scripts.POINT, *(keys.user(source, kind) for kind in "hmd"), pack_moved(into))
        for source, into in pairs
    ]
    replies = checked(scripts.run(client, pointed, keys=3))
    come: list[str] = []
    after: list[Command] = []
    gone: list[Command] = []
    for (source, into), (came, identities) in zip(pairs, replies, strict=True):
        if came:
            come.append(into)
        if came == _LAID_ASIDE:  # a merge under way must not add what the log brings
            after.append(("SET", _done(keys, source, into), 0, "NX", "EX", scripts.HISTORY_TTL_S))
        if identities:
            window = keys.user(into, "d")
            scored = [part for at in range(0, len(identities), 2) for part in identities[at : at + 2][::-1]]
            after += [("ZADD", window, "NX", *scored), ("EXPIRE", window, scripts.DEDUPE_WINDOW_S)]
            gone.append(("DEL", keys.user(source, "d")))
    for commands in (after, gone):
        checked(pipelined(client, [command[1] for command in commands], commands))
    return come


def _done(keys: StoreKeys, source: str, into: str) -> bytes:
    """The key that says that a source was taken in."""
    return keys.user(into, "j") + b":" + identity_hash(source)


def delete_user(client: Client, keys: StoreKeys, user_id: str) -> dict[str, int]:
    """See `Store.delete_user`."""
    removed = {place: int(client.unlink(keys.user(user_id, kind))) for place, kind in _PLACES.items()}
    removed["merges"] = sum(int(client.unlink(key)) for key in _merges(client, keys, user_id))
    for place, entries in _entries_of(client, keys, user_id).items():
        finish(client, entries)
        removed[place] = len(entries)
    return removed


def find_user(client: Client, keys: StoreKeys, user_id: str) -> dict[str, int]:
    """See `Store.find_user`."""
    found = {place: int(client.exists(keys.user(user_id, kind))) for place, kind in _PLACES.items()}
    found["merges"] = len(_merges(client, keys, user_id))
    return found | {p: len(entries) for p, entries in _entries_of(client, keys, user_id).items()}


def refuse(client: Client, keys: StoreKeys, refusals: Iterable[tuple[int, bytes]]) -> None:
    """See `Store.refuse_hashes`."""
    some = list(refusals)
    names = [keys.refused(shard) for shard, _ in some]
    checked(pipelined(client, names, [("SADD", name, one[1]) for name, one in zip(names, some, strict=True)]))


def readmit(client: Client, keys: StoreKeys, user_id: str) -> None:
    """See `Store.readmit`."""
    shard, hashed = refusal_of(user_id)
    client.srem(keys.refused(shard), hashed)


def _merges(client: Client, keys: StoreKeys, user_id: str) -> list[bytes]:
    """Keys that say who was merged into a user."""
    key = keys.user(user_id, "j") + b":"
    pattern = b"".join(b"\\" + bytes([c]) if c in b"\\*?[]" else bytes([c]) for c in key) + b"*"
    found = node_of(client, key).scan_iter(match=pattern, count=10_000)
    # those of a user whose id begins like this one are longer
    return [name for name in found if len(name) == len(key) + len(identity_hash(user_id))]


def _entries_of(client: Client, keys: StoreKeys, user_id: str) -> dict[str, list[Entry]]:
    """Entries of the streams that name a user."""
    events = [e for e in _all_entries(client, keys.outbox(shard_of(user_id))) if _event_of(e, user_id)]
    slates = [e for name in keys.exposures() for e in _all_entries(client, name) if _slate_of(e, user_id)]
    return {"events waiting": events, "slates waiting": slates}


def _event_of(entry: Entry, user_id: str) -> bool:
    packed = next(iter(entry.fields.values()))
    try:
        return bool(unpack_event(packed)["user_id"] == user_id)
    except VersionMismatch:
        return _mentions(packed, user_id)


def _slate_of(entry: Entry, user_id: str) -> bool:
    packed = next(iter(entry.fields.values()))
    try:
        return unpack_exposure(packed).user_id == user_id
    except VersionMismatch:
        return _mentions(packed, user_id)


def _mentions(packed: bytes, user_id: str) -> bool:
    """Whether a record that this version cannot read holds the id as a text."""
    name = user_id.encode("utf-8", "surrogatepass")
    return len(name).to_bytes(2, "little") + name in packed


def _all_entries(client: Client, stream: str) -> Iterable[Entry]:
    start = b"-"
    while True:
        found: Any = node_of(client, stream).xrange(stream, min=start, count=2000)
        if not found:
            return
        yield from (Entry(stream, place, fields) for place, fields in found)
        start = b"(" + found[-1][0]


def _flat(pairs: list[Any]) -> list[Any]:
    """Members and scores in turn, whether they come in turn already or as pairs."""
    if not pairs or not isinstance(pairs[0], list | tuple):
        return list(pairs)
    return [value for pair in pairs for value in pair]
