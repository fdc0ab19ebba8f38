"""Users, accepted events and exposures as fixed-width bytes, and back.

Every record begins with a header: version of the packing (u8), kind (u8), hash of the kind's layout (u32)
and how many rows follow (u16), little-endian. A reader built with another layout refuses, naming both.
Texts follow the rows, each behind its length in bytes (u16; 65535 is null).
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts import (
    DEVICES,
    EVENT_CODES,
    EVENTS,
    HISTORY_LENGTH,
    HOUR_BUCKETS,
    INTERACTIONS,
    Floats,
    Histories,
    Int64s,
    UserCounters,
    check_id,
    device_code,
)
from features.errors import BadInput, VersionMismatch
from features.event_log import MOST_WATCH_MS

PACKING_VERSION: Final = 2

HEADER: Final = struct.Struct("<BBIH")
PREFIX_BYTES: Final = 6
"""Of the header: all but the number of rows."""

EVENT_ROW: Final = np.dtype([("video_key", "<i8"), ("ts_ms", "<i8"), ("watch_s", "<f4"), ("event", "u1")])
ITEM_ROW: Final = np.dtype([("video_key", "<i8"), ("score", "<f4"), ("propensity", "<f8")])
USER_HEAD: Final = np.dtype(
    [
        ("received_ms", "<i8"),
        ("minute", "<u4"),
        ("minute_events", "<u4"),
        ("day", "<u4"),
        ("day_events", "<u4"),
        ("first_ms", "<i8"),
        ("watch_ms", "<i8"),
        ("events", "<u4", (len(EVENTS),)),
        ("hours", "<u4", (HOUR_BUCKETS,)),
        ("devices", "<u4", (len(DEVICES),)),
    ]
)
"""Before a user's history: when the newest event arrived, the rate it is held to, and `UserCounters`."""

_COUNTERS: Final = ("events", "watch_ms", "hours", "devices", "first_ms")
"""Columns of USER_HEAD that are `UserCounters`, in its order."""

USER: Final = 1
EVENT: Final = 2
EXPOSURE: Final = 3
MOVED: Final = 4
"""Stands in a user's place once the user is merged into another, whose id follows."""

_EVENT_TEXTS: Final = ("event_id", "user_id", "video_id", "request_id")
_EXPOSURE_TEXTS: Final = (
    *("request_id", "user_id", "bundle", "arm", "served_by", "policy"),
    *("device", "surface", "country"),
)
_RECEIVED: Final = struct.Struct("<qB")
_EXPOSED: Final = struct.Struct("<qfqqqh")
_FACTS: Final = struct.Struct("<hbqI")
_FLOAT: Final = struct.Struct("<f")
_EVENT_ROW: Final = struct.Struct("<qqfB")
_NULL: Final = 0xFFFF

MOST_WATCH_S: Final = float(np.finfo(np.float32).max)

_LAYOUTS: Final = {
    USER: (repr(USER_HEAD.descr), repr(EVENT_ROW.descr), repr(EVENTS), repr(DEVICES)),
    EVENT: (repr(EVENT_ROW.descr), repr(EVENTS), _RECEIVED.format, *_EVENT_TEXTS),
    EXPOSURE: (repr(ITEM_ROW.descr), _EXPOSED.format, *_EXPOSURE_TEXTS),
    MOVED: ("id",),
}
_HASHES: Final = {
    kind: int.from_bytes(hashlib.blake2b("|".join(layout).encode(), digest_size=4).digest(), "little")
    for kind, layout in _LAYOUTS.items()
}

EXTRA: Final = {
    c.name: c.dtype
    for c in INTERACTIONS
    if c.name not in (*_EVENT_TEXTS, "event_key", "event", "ts", "order", "received_at", "watch_s", "excess")
}
"""Columns of INTERACTIONS that an event may carry besides its own fields."""


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    """One event of a user, as the API takes it."""

    event_id: str
    """The sender's identity of the event."""
    video_key: int
    video_id: str
    event: str
    """One of EVENTS."""
    ts_ms: int
    """When it happened, ms since the epoch, > 0."""
    watch_s: float | None = None
    """Watched seconds, >= 0."""
    request_id: str | None = None
    """Which slate it answers."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further columns of INTERACTIONS, as EXTRA lists them: position, policy, propensity, device ..."""
    ts_given: bool = True
    """False where the sender named no time: then a repeat may bring another."""

    def __post_init__(self) -> None:
        check_id(self.event_id, "event_id")
        check_id(self.video_id, "video_id")
        if self.event not in EVENT_CODES:
            raise BadInput(f"unknown event {self.event}; it is one of {', '.join(EVENTS)}")
        if self.ts_ms <= 0:
            raise BadInput(f"ts_ms is {self.ts_ms}; it must be after 1970")
        if self.watch_s is not None and not 0 <= self.watch_s <= MOST_WATCH_S:
            raise BadInput(f"watch_s is {self.watch_s}; it must be at least 0, and finite as a float32")
        for name in ("event_id", "video_id", "request_id"):
            check_text(getattr(self, name) or "", name)
        for name, value in self.extra.items():
            _check_extra(name, value)


@dataclass(frozen=True, slots=True)
class Exposure:
    """One slate that was shown, with what an off-policy estimate needs of it."""

    request_id: str
    user_id: str | None
    ts_ms: int
    """ms since the epoch."""
    bundle: str
    served_by: str
    """Rung of the degradation ladder."""
    video_keys: Int64s
    """In the order of the slate, int64, (k,)."""
    scores: Floats
    """float32, (k,)."""
    propensities: npt.NDArray[np.float64]
    """Probability with which each item was put in its place, (0, 1], float64, (k,); NaN where unknown."""
    arm: str | None = None
    policy: str | None = None
    latency_ms: float = math.nan
    history_ms: int = 0
    """When the newest event that the slate was made from arrived, ms since the epoch; 0 for none."""
    activity_ms: int = 0
    """Watermark of the activity that it was made from, ms since the epoch; 0 for none."""
    statistics_ms: int = 0
    """Instant that its statistics describe, ms since the epoch; 0 for the bundle's own."""
    utc_offset_min: int = 0
    device: str | None = None
    surface: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class UserState:
    """What is stored of one user."""

    histories: Histories
    """The latest events, newest first, (1, h)."""
    counters: UserCounters
    """Of one user."""
    received_ms: int = 0
    """When the newest event arrived, ms since the epoch; 0 for a user without events."""

    @staticmethod
    def empty(length: int = HISTORY_LENGTH) -> UserState:
        """A user of whom nothing is known."""
        return UserState(Histories.empty(1, length), UserCounters.empty(1))


def prefix(kind: int) -> bytes:
    """The header of a kind without its number of rows."""
    return HEADER.pack(PACKING_VERSION, kind, _HASHES[kind], 0)[:PREFIX_BYTES]


def pack_users(histories: Histories, counters: UserCounters, received_ms: Int64s) -> list[bytes]:
    """Each user as header, counters and history, newest first; the rate begins anew.

    Args:
        histories: of n users.
        counters: of the same n.
        received_ms: when the newest event of each arrived, int64, (n,).
    """
    n, width = histories.video_keys.shape
    rows = np.empty((n, width), EVENT_ROW)
    rows["video_key"], rows["ts_ms"] = histories.video_keys, histories.ts_ms
    rows["watch_s"], rows["event"] = histories.watch_s, histories.events
    heads = np.zeros(n, USER_HEAD)
    heads["received_ms"], heads["first_ms"] = received_ms, counters.first_ms
    for name in ("watch_ms", "events", "hours", "devices"):
        heads[name] = getattr(counters, name)
    start, content, stride = prefix(USER), rows.tobytes(), width * EVENT_ROW.itemsize
    head, size_of = heads.tobytes(), USER_HEAD.itemsize
    return [
        b"".join(
            (
                start,
                size.to_bytes(2, "little"),
                head[i * size_of : (i + 1) * size_of],
                content[i * stride : i * stride + size * EVENT_ROW.itemsize],
            )
        )
        for i, size in enumerate(histories.lengths.tolist())
    ]


def unpack_user(packed: bytes | None, length: int = HISTORY_LENGTH) -> UserState:
    """One user, the history padded to `length`; None is a user without events.

    Raises:
        VersionMismatch: it was packed with another layout.
        BadInput: it is cut short.
    """
    if packed is None:
        return UserState.empty(length)
    count, at = _open(packed, USER)
    head = _rows(packed, USER_HEAD, 1, at)
    rows = _rows(packed, EVENT_ROW, count, at + USER_HEAD.itemsize)[:length]
    n, out = len(rows), Histories.empty(1, length)
    if n:
        out.video_keys[0, :n], out.events[0, :n] = rows["video_key"], rows["event"]
        out.ts_ms[0, :n], out.watch_s[0, :n] = rows["ts_ms"], rows["watch_s"]
        out.lengths[0] = n
    counters = UserCounters(*(head[name].astype(np.int64) for name in _COUNTERS))
    return UserState(out, counters, int(head["received_ms"][0]))


def moved_to(packed: bytes | None) -> str | None:
    """The user that this one was merged into, where the record says so."""
    if packed is None or not packed.startswith(prefix(MOVED)):
        return None
    return packed[HEADER.size :].decode("utf-8", "surrogatepass")


def pack_moved(into: str) -> bytes:
    """The record of a user who was merged into another."""
    return prefix(MOVED) + b"\0\0" + into.encode("utf-8", "surrogatepass")


def event_parts(event: AcceptedEvent, user_id: str) -> tuple[bytes, bytes]:
    """The event on its way to the store: what is counted by, 60 bytes, and the texts of its record.

    The 60 bytes are the hash of its id, UTC offset (min), device code, watched time (ms), a digest of the
    payload (28 bits: it tells a repeat from another event under one id), header and row of its record.
    """
    watch, watched = math.nan, 0
    if event.watch_s is not None:
        watch = _FLOAT.unpack(_FLOAT.pack(event.watch_s))[0]
        watched = min(round(watch * 1000), MOST_WATCH_MS)
    offset = int(event.extra.get("utc_offset_min") or 0)
    said = (event.video_key, event.event, event.watch_s, event.ts_ms if event.ts_given else None)
    digest = zlib.crc32(repr(said).encode()) & 0x0FFFFFFF
    facts = _FACTS.pack(offset, device_code(event.extra.get("device")), watched, digest)
    return b"".join((identity_hash(event.event_id), facts, _event_start(event, watch))), _event_end(
        event, user_id
    )


def check_text(value: str, what: str) -> str:
    """The text, if a table can hold it; else BadInput: half of a surrogate pair is no character."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadInput(
                f"{what} holds half of a surrogate pair, which is no character: {value!a}"
            ) from None
    return value


def identity_hash(identity: str) -> bytes:
    """What stands for an id of any length: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def pack_event(event: AcceptedEvent, user_id: str, received_ms: int, *, excess: bool = False) -> bytes:
    """The event's record in the outbox."""
    watch = math.nan if event.watch_s is None else event.watch_s
    arrived = _RECEIVED.pack(received_ms, excess)
    return b"".join((_event_start(event, watch), arrived, _event_end(event, user_id)))


def unpack_event(packed: bytes) -> dict[str, Any]:
    """The event as a row of INTERACTIONS but `event_key` and `order`; times in ms, extra columns as text."""
    extras, at = _open(packed, EVENT)
    row = _rows(packed, EVENT_ROW, 1, at)[0]
    at += EVENT_ROW.itemsize
    received_ms, excess = _RECEIVED.unpack_from(packed, at)
    texts = _texts(packed, at + _RECEIVED.size, len(_EVENT_TEXTS) + 2 * extras)
    said: dict[str, Any] = dict(zip(_EVENT_TEXTS, texts, strict=False))
    watch = float(row["watch_s"])
    said |= {"event": EVENTS[int(row["event"])], "ts": int(row["ts_ms"]), "received_at": received_ms}
    said["watch_s"] = None if math.isnan(watch) else watch
    said["excess"] = bool(excess)
    return said | dict(zip(texts[len(_EVENT_TEXTS) :: 2], texts[len(_EVENT_TEXTS) + 1 :: 2], strict=True))


def pack_exposure(exposure: Exposure) -> bytes:
    """The slate for the exposure stream."""
    items = np.empty(len(exposure.video_keys), ITEM_ROW)
    items["video_key"], items["score"], items["propensity"] = (
        exposure.video_keys,
        exposure.scores,
        exposure.propensities,
    )
    head = HEADER.pack(PACKING_VERSION, EXPOSURE, _HASHES[EXPOSURE], len(items))
    texts = [getattr(exposure, name) for name in _EXPOSURE_TEXTS]
    shown = _EXPOSED.pack(
        exposure.ts_ms,
        exposure.latency_ms,
        exposure.history_ms,
        exposure.activity_ms,
        exposure.statistics_ms,
        exposure.utc_offset_min,
    )
    return b"".join((head, items.tobytes(), shown, *map(_text, texts)))


def unpack_exposure(packed: bytes) -> Exposure:
    """The slate; VersionMismatch where it was packed with another layout."""
    count, at = _open(packed, EXPOSURE)
    items = _rows(packed, ITEM_ROW, count, at)
    at += items.nbytes
    ts_ms, latency_ms, history_ms, activity_ms, statistics_ms, offset = _EXPOSED.unpack_from(packed, at)
    texts = dict(zip(_EXPOSURE_TEXTS, _texts(packed, at + _EXPOSED.size, len(_EXPOSURE_TEXTS)), strict=True))
    return Exposure(
        request_id=texts["request_id"] or "",
        user_id=texts["user_id"],
        ts_ms=ts_ms,
        bundle=texts["bundle"] or "",
        served_by=texts["served_by"] or "",
        video_keys=items["video_key"].astype(np.int64),
        scores=items["score"].astype(np.float32),
        propensities=items["propensity"].astype(np.float64),
        arm=texts["arm"],
        policy=texts["policy"],
        latency_ms=latency_ms,
        history_ms=history_ms,
        activity_ms=activity_ms,
        statistics_ms=statistics_ms,
        utc_offset_min=offset,
        device=texts["device"],
        surface=texts["surface"],
        country=texts["country"],
    )


def _event_start(event: AcceptedEvent, watch_s: float) -> bytes:
    """Header and row of an event's record."""
    head = HEADER.pack(PACKING_VERSION, EVENT, _HASHES[EVENT], len(event.extra))
    return head + _EVENT_ROW.pack(event.video_key, event.ts_ms, watch_s, EVENT_CODES[event.event])


def _event_end(event: AcceptedEvent, user_id: str) -> bytes:
    """The texts of an event's record."""
    texts = [event.event_id, user_id, event.video_id, event.request_id]
    for name, value in event.extra.items():
        whole = isinstance(value, float) and EXTRA[name].is_integer()
        texts += [name, None if value is None else str(int(value) if whole else value)]
    return b"".join(map(_text, texts))


def _check_extra(name: str, value: Any) -> None:
    if name not in EXTRA:
        raise BadInput(f"an event has no field {name}; besides its own it may have {', '.join(EXTRA)}")
    if value is None:
        return
    kind = EXTRA[name]
    if not kind.is_numeric():
        if not isinstance(value, str):
            raise BadInput(f"{name} is {value!r}; it must be text")
        check_text(value, name)
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (kind.is_integer() and value != int(value)):
        raise BadInput(f"{name} is {value!r}; it must be a {'whole ' if kind.is_integer() else ''}number")
    if name == "propensity" and not 0 < value <= 1:
        raise BadInput(f"propensity is {value}; it must be above 0 and at most 1")
    bound = {"position": 2**31 - 1, "utc_offset_min": 24 * 60}.get(name)
    if bound is not None and abs(value) > bound:
        raise BadInput(f"{name} is {value}; it must be at most {bound}")


def _open(packed: bytes, kind: int) -> tuple[int, int]:
    """Number of rows, and where they begin."""
    if len(packed) < HEADER.size:
        raise BadInput(f"a packed record has {len(packed)} bytes, fewer than its header's {HEADER.size}")
    version, found, layout, count = HEADER.unpack_from(packed)
    if (version, found, layout) != (PACKING_VERSION, kind, _HASHES[kind]):
        raise VersionMismatch(
            f"a record was packed as version {version}, kind {found}, layout {layout:08x}; this program "
            f"reads version {PACKING_VERSION}, kind {kind}, layout {_HASHES[kind]:08x}; load the store again"
        )
    return count, HEADER.size


def _rows(packed: bytes, dtype: np.dtype[np.void], count: int, at: int) -> npt.NDArray[np.void]:
    if len(packed) < at + count * dtype.itemsize:
        raise BadInput(f"a packed record has {len(packed)} bytes, too few for its {count} row(s)")
    return np.frombuffer(packed, dtype, count, at)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL.to_bytes(2, "little")
    content = value.encode("utf-8", "surrogatepass")
    if len(content) >= _NULL:
        raise BadInput(f"a text of {len(content)} bytes is too long; {_NULL - 1} are allowed")
    return len(content).to_bytes(2, "little") + content


def _texts(packed: bytes, at: int, count: int) -> list[Any]:
    texts: list[str | None] = []
    for _ in range(count):
        size = int.from_bytes(packed[at : at + 2], "little")
        at += 2
        if size == _NULL:
            texts.append(None)
            continue
        texts.append(packed[at : at + size].decode("utf-8", "surrogatepass"))
        at += size
    return texts
