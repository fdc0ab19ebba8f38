"""Which events a table holds already, without reading it: beside each file, its keys sorted.

The keys of a file are kept as the first 64 bits of each, sorted, and mapped into memory; the file itself is
read only where one of them is met. They are a cache: absent, damaged or of another version they are made
anew from the file, and an event counts as stored only where the file says so.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.intake.event_identity import PAYLOAD, Identities, UInt64s, identities
from features.table_sweep import cached
from features.tables import Snapshot, Table, storing

NEW: Final = 0
SAME: Final = 1
OTHER: Final = 2
"""What the table says of an event: not there, there, there with another payload."""

_MARK: Final = 0x0001_5245_454C_4B59
"""First word of a cache; its upper bits are the version. Then come the count of keys and their CRC-32."""
_WORDS: Final = 3


def find_stored(table: Table, names: Iterable[str], events: Identities) -> npt.NDArray[np.int8]:
    """What these files of a table say of each event: NEW, SAME or OTHER, (n,).

    Args:
        table: with `event_key` and PAYLOAD among its columns, no key twice.
        names: files of the table.
        events: n identities.
    """
    order = np.argsort(events.high, kind="stable")
    wanted = events.high[order]
    found = np.full(len(events), NEW, np.int8)
    for name in names if len(events) else ():
        met = order[_is_in(wanted, sorted_keys(table, name))]
        if len(met):
            found[met] = np.maximum(found[met], _ask(table, name, events.take(met)))
    return found


def sorted_keys(table: Table, name: str) -> UInt64s:
    """First 64 bits of every key in a file, sorted, (rows,); from its cache, which is made where absent."""
    path = cached(table, name)
    keys = _open(path)
    if keys is None:
        rows = table.scan(at=Snapshot(0, (name,))).select("event_key", *PAYLOAD).collect()
        keys = np.sort(identities(rows).high)
        _save(path, keys)
    return keys


def _is_in(wanted: UInt64s, keys: UInt64s) -> npt.NDArray[np.bool_]:
    at = np.searchsorted(keys, wanted)
    inside = at < len(keys)
    inside[inside] = keys[at[inside]] == wanted[inside]
    return inside


def _ask(table: Table, name: str, events: Identities) -> npt.NDArray[np.int8]:
    """What the file itself says of the events, (n,)."""
    rows = table.scan(at=Snapshot(0, (name,))).select("event_key", *PAYLOAD).collect()
    held = identities(rows)
    order = np.argsort(held.high, kind="stable")
    held = held.take(order)
    found = np.full(len(events), NEW, np.int8)
    first, last = (np.searchsorted(held.high, events.high, side) for side in ("left", "right"))
    for step in range(int((last - first).max(initial=0))):  # more than once where 64 bits fall together
        at = np.minimum(first + step, len(held) - 1)
        match = (first + step < last) & (held.low[at] == events.low)
        found[match] = np.where(held.payload[at] == events.payload, SAME, OTHER)[match]
    return found


def _open(path: Path) -> UInt64s | None:
    """The cached keys; None where there are none or they are not whole."""
    try:
        words: UInt64s = np.memmap(path, np.uint64, "r")
    except (OSError, ValueError):  # absent, empty, or no whole number of words
        return None
    keys = words[_WORDS:]
    whole = len(words) >= _WORDS and words[0] == _MARK and words[1] == len(keys) and words[2] == _crc(keys)
    return keys if whole else None


def _save(path: Path, keys: UInt64s) -> None:
    """Written aside and renamed, without a sync: what a crash leaves of it is told by its checksum."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "xb") as stream:
            stream.write(np.array([_MARK, len(keys), _crc(keys)], np.uint64).tobytes())
            stream.write(keys.view(np.uint8).data)
        os.replace(aside, path)


def _crc(keys: UInt64s) -> int:
    return zlib.crc32(np.ascontiguousarray(keys).view(np.uint8).data)
