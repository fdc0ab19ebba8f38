"""What stands at every door: columns of tables, records in memory, and the meaning of "seen".

Tables are Polars frames whose columns are listed here, one row a column; their Arrow and Parquet schemas are
derived from these rows. Records are frozen and checked once, where they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import BadInput

MAX_ID_BYTES: Final = 512
"""Longest `video_id`, `user_id` or `event_id`, in UTF-8 bytes."""

MODALITIES: Final = ("visual", "audio", "text")
"""In the order of the bits of a modality mask: visual 1, audio 2, text 4."""

EVENTS: Final = ("impression", "play", "like", "share", "follow", "skip", "dislike")
"""Kinds of interaction; an event's code is its place here (uint8)."""

EVENT_CODES: Final = {name: code for code, name in enumerate(EVENTS)}

SEEN_EVENTS: Final = ("play", "like", "share", "dislike")
"""After one of these a video is not recommended again; an impression or a skip is not "seen"."""

HISTORY_LENGTH: Final = 100
"""Most events a history holds; older ones are dropped."""

DEVICES: Final = ("mobile", "tablet", "desktop", "tv", "other")
"""Kinds of device; a device's code is its place here."""

SURFACES: Final = ("home", "feed", "search", "detail", "channel", "notification", "other")
"""Places in a product; a surface's code is its place here."""

HOUR_BUCKETS: Final = 8
"""A day's parts in a user's habits, three hours each, by the user's own clock."""

MAX_EVENTS_A_MINUTE: Final = 120
MAX_EVENTS_A_DAY: Final = 5000
"""Events of one user beyond these (by `received_at`, in whole UTC minutes and days) are `excess`."""

ACTIVITY_NAMES: Final = tuple(f"{window}_{event}" for window in ("day", "hours") for event in EVENTS)
"""A video's activity as of a watermark W: events known since 23 h before the hour of W and before W, by
kind, then the same since 1 h before; int32. Excess is left out, and what became known a day late or later."""

ACTIVITY_PERIOD_MS: Final = 60_000
"""A watermark is a multiple of this; where none was noted it is the newest that lies a whole period back."""

NO_KEY: Final = -1
"""Stands for "no video" where a `video_key` is expected."""

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its name, type, whether it must be present, and what its values mean."""

    name: str
    dtype: pl.DataType
    required: bool
    meaning: str


TS: Final = pl.Datetime("ms", "UTC")
VECTOR: Final = pl.List(pl.Float32())

CATALOGUE: Final = (
    Column("video_key", pl.Int64(), True, "given once, never reused, >= 0"),
    Column("video_id", pl.String(), True, "unique, at most 512 UTF-8 bytes"),
    Column("uri", pl.String(), False, "path or URL of the media; null where there is none"),
    Column("content_hash", pl.String(), False, "BLAKE2b-128 of the bytes, hex"),
    Column("size_bytes", pl.Int64(), False, "of the file when it was embedded"),
    Column("modified_ns", pl.Int64(), False, "modification time of that file, ns since the epoch"),
    Column("etag", pl.String(), False, "what an object store calls these bytes; null for local files"),
    Column("title", pl.String(), False, "free text"),
    Column("description", pl.String(), False, "free text"),
    Column("tags", pl.List(pl.String()), False, "lower case words"),
    Column("creator_id", pl.String(), False, "who made it"),
    Column("published_at", TS, False, "UTC"),
    Column("language", pl.String(), False, "BCP 47"),
    Column("available_from", TS, False, "not shown before"),
    Column("available_until", TS, False, "not shown from then on"),
    Column("regions", pl.List(pl.String()), False, "ISO 3166 codes; null means everywhere"),
    Column("min_age", pl.Int16(), False, "years"),
    Column("duration_s", pl.Float32(), False, "measured by the probe, s"),
)

INTERACTIONS: Final = (
    Column("event_key", pl.String(), True, "identity of the row, unique: see `event_identity.identify`"),
    Column("user_id", pl.String(), False, "null only in bandit logs"),
    Column("video_id", pl.String(), True, "need not be in the catalogue"),
    Column("event", pl.String(), True, "one of EVENTS"),
    Column("ts", TS, False, "when it happened, UTC; null where the data has no times"),
    Column(
        "order", pl.Int64(), True, "place in the source file: breaks ties, and is the order where ts is null"
    ),
    Column("event_id", pl.String(), False, "the sender's identity of the event"),
    Column("received_at", TS, False, "when it reached us; null means at `ts`"),
    Column("watch_s", pl.Float32(), False, "watched time, s, >= 0"),
    Column("rating", pl.Float32(), False, "as given"),
    Column("position", pl.Int32(), False, "place in the slate, from 0"),
    Column("request_id", pl.String(), False, "which slate it was in"),
    Column("policy", pl.String(), False, "which policy chose it"),
    Column("propensity", pl.Float64(), False, "probability with which the policy chose it here, (0, 1]"),
    Column("arm", pl.String(), False, "experiment arm"),
    Column("bundle", pl.String(), False, "bundle that served it"),
    Column("served_by", pl.String(), False, "rung of the degradation ladder"),
    Column("latency_ms", pl.Float32(), False, "of the request, ms"),
    Column("surface", pl.String(), False, "where in the product"),
    Column("device", pl.String(), False, "kind of device"),
    Column("country", pl.String(), False, "ISO 3166"),
    Column("utc_offset_min", pl.Int16(), False, "the user's clock minus UTC, minutes"),
    Column(
        "excess", pl.Boolean(), False, "beyond the rate limit: stored, and counted nowhere; null is false"
    ),
)

MEDIA: Final = (
    Column("container", pl.String(), False, "name of the demuxer"),
    Column("codec", pl.String(), False, "of the picture, else of the sound"),
    Column("width", pl.Int32(), False, "of the picture as displayed, pixels; null without picture"),
    Column("height", pl.Int32(), False, "of the picture as displayed, pixels; null without picture"),
    Column("frame_rate", pl.Float32(), False, "mean frames per second; null where unknown"),
    Column("rotation", pl.Int16(), False, "clockwise turn before display, degrees: 0, 90, 180 or 270"),
    Column("sample_aspect", pl.Float32(), False, "width of a stored pixel over its height; 1 is square"),
    Column("trimmed", pl.Boolean(), False, "its edit list shows less than the file holds"),
    Column("audio_tracks", pl.Int16(), False, "sound tracks of the file"),
    Column("sampling", pl.String(), False, "how frames were chosen: exact, keyframe or shots"),
    Column("frame_times_s", VECTOR, False, "instant at which each frame is shown, s from the start"),
)
"""What the probe and the decoder found in a file."""

QUALITY: Final = (
    Column("black_share", pl.Float32(), False, "share of frames with 98 % near-black pixels, [0, 1]"),
    Column("frozen_share", pl.Float32(), False, "share of neighbouring frames that are equal, [0, 1]"),
    Column("blurred_share", pl.Float32(), False, "share of decoded frames without sharp edges, [0, 1]"),
    Column("silence_share", pl.Float32(), False, "share of 20 ms under -60 dBFS, without offset, [0, 1]"),
    Column("clipped_share", pl.Float32(), False, "share of samples at full scale, [0, 1]"),
    Column("loudness_dbfs", pl.Float32(), False, "RMS level without constant offset, dB of full scale"),
    Column("duration_mismatch_s", pl.Float32(), False, "sound longer than picture by, s; negative: shorter"),
    Column("shots", pl.Int32(), False, "shots found; null unless frames were chosen by shots"),
    Column("frames_wanted", pl.Int32(), False, "frames asked of the decoder"),
    Column("frames_got", pl.Int32(), False, "frames it gave"),
)

EMBEDDINGS: Final = (
    Column("video_key", pl.Int64(), True, "key of the catalogue"),
    Column("video_id", pl.String(), True, "id of the catalogue"),
    Column("content_hash", pl.String(), False, "of the bytes that were embedded; null for imported vectors"),
    Column("visual", VECTOR, False, "unit vector; null where there is no picture"),
    Column("audio", VECTOR, False, "unit vector; null where there is no sound"),
    Column("text", VECTOR, False, "unit vector; null where there is no text"),
    Column("rung", pl.String(), False, "which decoder answered: pyav, decord, nvdec or import"),
    *MEDIA,
    *QUALITY,
)

SPACES: Final = (
    Column("video_key", pl.Int64(), True, "key of the catalogue"),
    Column("video_id", pl.String(), True, "id of the catalogue"),
    Column("joint", VECTOR, False, "unit vector in the joint space; null where no modality is present"),
    Column("mask", pl.UInt8(), True, "modalities present: visual 1, audio 2, text 4"),
    Column(
        "agreement",
        pl.Float32(),
        False,
        "mean cosine between the modalities' heads; null under two modalities",
    ),
    Column(
        "imputed",
        pl.UInt8(),
        False,
        "modalities filled in from neighbours of the item graph, bits as in mask; null in older spaces",
    ),
    Column(
        "sound_fit",
        pl.Float32(),
        False,
        "share of other sounds that fit the rest of this video worse, [0, 1]; null where it cannot be said",
    ),
    Column(
        "text_fit",
        pl.Float32(),
        False,
        "share of other texts that fit the rest of this video worse, [0, 1]; null where it cannot be said",
    ),
)

ITEM_GRAPH: Final = (
    Column("video_key", pl.Int64(), True, "key of the catalogue"),
    Column("neighbour_key", pl.Int64(), True, "a video that the same people watch, never video_key itself"),
    Column("weight", pl.Float32(), True, "how alike their audiences are, > 0"),
)
"""What people watch together: learnt by the ranker, read where a modality is missing."""

DUPLICATES: Final = (
    Column("video_key", pl.Int64(), True, "key of the catalogue"),
    Column("video_id", pl.String(), True, "id of the catalogue"),
    Column("group_key", pl.Int64(), True, "smallest video_key of the group of near-duplicates"),
    Column("similarity", pl.Float32(), True, "to the nearest other member, [0, 1]; 1 is equal"),
    Column("matched_by", pl.String(), True, "what is alike: bytes, picture, sound or both"),
)
"""Only videos that have a near-duplicate."""

QUARANTINE: Final = (
    Column("video_id", pl.String(), True, "as listed"),
    Column("uri", pl.String(), True, "as listed"),
    Column("content_hash", pl.String(), False, "null where the bytes could not be read"),
    Column("size_bytes", pl.Int64(), False, "null where the file could not be read"),
    Column("modified_ns", pl.Int64(), False, "null where the file could not be read"),
    Column("etag", pl.String(), False, "what an object store calls these bytes; null for local files"),
    Column("stage", pl.String(), True, "list, probe, decode or embed"),
    Column(
        "reason",
        pl.String(),
        True,
        "class: empty, unreadable, corrupt, limit, timeout, crash, forbidden, lethal",
    ),
    Column("message", pl.String(), True, "one sentence"),
    Column("rung", pl.String(), False, "last decoder that was asked; null where none was"),
    Column("retryable", pl.Boolean(), True, "tried again next time although the bytes are the same"),
    Column("attempts", pl.Int32(), True, "how often it was tried"),
    Column("elapsed_ms", pl.Float32(), True, "time spent on it, ms"),
    Column("encoder_version", pl.String(), True, "what it would have been embedded with"),
)

INGEST_TEXT: Final = (
    "title",
    "description",
    "tags",
    "creator_id",
    "published_at",
    "language",
    "available_from",
    "available_until",
    "regions",
    "min_age",
)
"""Optional catalogue columns that a manifest of videos may give."""

QUALITY_FEATURES: Final = (
    "black_share",
    "frozen_share",
    "blurred_share",
    "silence_share",
    "clipped_share",
    "loudness_dbfs",
)
"""Columns of QUALITY that a video table carries."""


def schema(columns: tuple[Column, ...]) -> pl.Schema:
    """Polars schema of a table, every column in order."""
    return pl.Schema({column.name: column.dtype for column in columns})


def conform(frame: pl.DataFrame, columns: tuple[Column, ...], what: str) -> pl.DataFrame:
    """The frame with exactly the table's columns, in order and of the table's types.

    Args:
        frame: any frame; optional columns may be absent, unknown columns are dropped.
        columns: the table's contract.
        what: name of the table, for the error.

    Raises:
        BadInput: required columns are absent or hold nulls, or a column cannot be cast; all are named.
    """
    missing = [c.name for c in columns if c.required and c.name not in frame.columns]
    if missing:
        have = ", ".join(frame.columns) or "none"
        raise BadInput(f"{what} lacks the required column(s) {', '.join(missing)}; it has {have}")
    wrong: list[str] = []
    out: list[pl.Series] = []
    for column in columns:
        if column.name not in frame.columns:
            out.append(pl.Series(column.name, [None] * len(frame), dtype=column.dtype))
            continue
        try:
            values = frame[column.name].cast(column.dtype)
        except pl.exceptions.PolarsError:
            wrong.append(f"{column.name} is {frame.schema[column.name]}, not {column.dtype}")
            continue
        if column.required and values.null_count():
            wrong.append(f"{column.name} has {values.null_count()} null(s)")
        out.append(values)
    if wrong:
        raise BadInput(f"{what}: {'; '.join(wrong)}")
    return pl.DataFrame(out)


def cast_column(values: pl.Series, dtype: pl.DataType, what: str, *, strict: bool = True) -> pl.Series:
    """The column as another type; BadInput names both types where the one cannot become the other.

    Args:
        values: a column that somebody gave.
        dtype: what it has to be.
        what: whose column it is, for the error.
        strict: refuse single values that do not fit too, instead of making them null.
    """
    try:
        return values.cast(dtype, strict=strict)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{what}: {values.name} is {values.dtype}, not {dtype}; convert it first") from error


def check_id(value: str, what: str) -> str:
    """The id, if it is 1 to 512 UTF-8 bytes; else BadInput names the bound."""
    size = len(value.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_ID_BYTES:
        raise BadInput(f"{what} has {size} bytes; 1 to {MAX_ID_BYTES} are allowed")
    return value


Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Histories:
    """The latest events of n users, each at its own instant, newest first; the rest of a row is padding."""

    video_keys: Int64s
    """Catalogue keys, int64, (n, h); NO_KEY in the padding."""
    events: npt.NDArray[np.uint8]
    """Event codes, uint8, (n, h)."""
    ts_ms: Int64s
    """ms since the epoch, int64, (n, h); 0 where the data has no times."""
    watch_s: Floats
    """Watched seconds, float32, (n, h); NaN where unknown."""
    lengths: npt.NDArray[np.int32]
    """Events in each row, int32, (n,), at most h."""

    def __post_init__(self) -> None:
        shape = self.video_keys.shape
        if len(shape) != 2 or any(a.shape != shape for a in (self.events, self.ts_ms, self.watch_s)):
            raise BadInput(f"the columns of a history must share one (n, h) shape, the keys have {shape}")
        if self.lengths.shape != shape[:1]:
            raise BadInput(f"history lengths have shape {self.lengths.shape}, expected {shape[:1]}")

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, at: slice) -> Histories:
        """The histories of some users."""
        return Histories(
            self.video_keys[at], self.events[at], self.ts_ms[at], self.watch_s[at], self.lengths[at]
        )

    @staticmethod
    def empty(n: int, length: int = 0) -> Histories:
        """n histories without an event, padded to `length`."""
        return Histories(
            np.full((n, length), NO_KEY, np.int64),
            np.zeros((n, length), np.uint8),
            np.zeros((n, length), np.int64),
            np.full((n, length), np.nan, np.float32),
            np.zeros(n, np.int32),
        )


@dataclass(frozen=True, slots=True)
class UserCounters:
    """What n users did in all their time, as whole numbers; impressions count, excess does not."""

    events: Int64s
    """Events by kind, int64, (n, len(EVENTS))."""
    watch_ms: Int64s
    """Watched time, each event's rounded to ms, int64, (n,)."""
    hours: Int64s
    """Events but impressions by `hour_bucket`, int64, (n, HOUR_BUCKETS)."""
    devices: Int64s
    """Events but impressions by device, those of unknown device left out, int64, (n, len(DEVICES))."""
    first_ms: Int64s
    """`ts` of the earliest event but impressions, ms since the epoch, int64, (n,); 0 where there is none."""

    def __len__(self) -> int:
        return len(self.watch_ms)

    def part(self, at: slice) -> UserCounters:
        """The counters of some users."""
        return UserCounters(
            self.events[at], self.watch_ms[at], self.hours[at], self.devices[at], self.first_ms[at]
        )

    @staticmethod
    def empty(n: int) -> UserCounters:
        """n users who have done nothing."""
        widths = (len(EVENTS), HOUR_BUCKETS, len(DEVICES))
        events, hours, devices = (np.zeros((n, width), np.int64) for width in widths)
        return UserCounters(events, np.zeros(n, np.int64), hours, devices, np.zeros(n, np.int64))


@dataclass(frozen=True, slots=True)
class Context:
    """What a request says of itself, for n requests."""

    now_ms: Int64s
    """The instant of the request, ms since the epoch, int64, (n,); 0 where the data has no times."""
    utc_offset_min: npt.NDArray[np.int16]
    """The user's clock minus UTC, minutes, int16, (n,); 0 where unknown."""
    device: tuple[str | None, ...] = ()
    """Device, one a request, or empty where unknown for all; see `device_code`."""
    surface: tuple[str | None, ...] = ()
    """Place in the product, one a request, or empty where unknown for all; see `surface_code`."""

    def part(self, at: slice) -> Context:
        """Some of the requests."""
        return Context(self.now_ms[at], self.utc_offset_min[at], self.device[at], self.surface[at])

    @staticmethod
    def at(now_ms: Int64s) -> Context:
        """Requests at these instants, of which nothing else is known."""
        return Context(now_ms, np.zeros(len(now_ms), np.int16))


@dataclass(frozen=True, slots=True)
class VideoTable:
    """All videos of a catalogue, row by row; rows are sorted by key and never leave a bundle."""

    keys: Int64s
    """int64, (n,), strictly increasing."""
    ids: tuple[str, ...]
    """`video_id`, (n,)."""
    vectors: dict[str, Floats]
    """Per modality: unit rows, float32, (n, d); zero rows where the modality is missing."""
    joint: Floats
    """Joint space: unit rows, float32, (n, d); zero rows where no modality is present."""
    mask: npt.NDArray[np.uint8]
    """Modalities present: visual 1, audio 2, text 4; uint8, (n,)."""
    agreement: Floats
    """Cross-modal agreement, float32, (n,); NaN where unknown."""
    imputed: npt.NDArray[np.uint8]
    """Modalities of `vectors` that were filled in from neighbours, bits as in `mask`, uint8, (n,)."""
    sound_fit: Floats
    """Share of other sounds that fit the video worse, float32, (n,), [0, 1]; NaN where unknown."""
    text_fit: Floats
    """Share of other texts that fit the video worse, float32, (n,), [0, 1]; NaN where unknown."""
    quality: Floats
    """Columns QUALITY_FEATURES, float32, (n, len(QUALITY_FEATURES)); NaN where unknown."""
    neighbours: npt.NDArray[np.int32]
    """Rows of videos that the same people watch, strongest first, int32, (n, k), k >= 0; -1 is padding."""
    neighbour_weights: Floats
    """How alike their audiences are, float32, (n, k); 0 in the padding."""
    duration_s: Floats
    """Seconds, float32, (n,); NaN where unknown."""
    published_ms: Int64s
    """ms since the epoch, int64, (n,); 0 where unknown."""
    creators: npt.NDArray[np.int32]
    """Code of the creator, int32, (n,); -1 where unknown."""
    tags: tuple[tuple[str, ...], ...]
    """Tags of each video, (n,)."""

    def __post_init__(self) -> None:
        if len(self.keys) > 1 and not (np.diff(self.keys) > 0).all():
            raise BadInput("video keys must be strictly increasing")

    def __len__(self) -> int:
        return len(self.keys)

    def rows_of(self, keys: Int64s) -> npt.NDArray[np.int32]:
        """Row of each key, int32, same shape as `keys`; -1 for a key that is not in the table."""
        if not len(self.keys):
            return np.full(keys.shape, -1, np.int32)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1).astype(np.int32)


def modality_bits(flags: Mapping[str, npt.NDArray[np.bool_]], n: int) -> npt.NDArray[np.uint8]:
    """Bits of the modalities whose flag is set, visual 1, audio 2, text 4, uint8, (n,).

    Args:
        flags: by modality, (n,); one that is absent sets no bit.
        n: how many videos.
    """
    mask = np.zeros(n, np.uint8)
    for bit, modality in enumerate(MODALITIES):
        if modality in flags:
            mask |= flags[modality].astype(np.uint8) << np.uint8(bit)
    return mask


def device_code(name: str | None) -> int:
    """Place of a device in DEVICES, -1 where it is not named; what is named and not known is "other"."""
    return _code(name, DEVICES, _DEVICE_NAMES)


def surface_code(name: str | None) -> int:
    """Place of a surface in SURFACES, -1 where it is not named; what is named and not known is "other"."""
    return _code(name, SURFACES, {})


def _code(name: str | None, known: tuple[str, ...], others: Mapping[str, str]) -> int:
    word = (name or "").strip().lower()
    word = others.get(word, word)
    return known.index(word) if word in known else len(known) - 1 if word else -1


_DEVICE_NAMES: Final = {
    **dict.fromkeys(("phone", "smartphone", "ios", "iphone", "android"), "mobile"),
    **dict.fromkeys(("ipad",), "tablet"),
    **dict.fromkeys(("web", "pc", "browser", "laptop", "windows", "mac", "linux"), "desktop"),
    **dict.fromkeys(("smarttv", "smart-tv", "console", "set-top-box"), "tv"),
}
"""What senders call the kinds of DEVICES."""


def hour_bucket(ts_ms: Int64s, utc_offset_min: npt.NDArray[np.integer]) -> Int64s:
    """Part of the user's own day, 0 to HOUR_BUCKETS - 1, int64, same shape; offset 0 where it is unknown."""
    local = ts_ms + utc_offset_min.astype(np.int64) * 60_000
    return np.asarray((local % DAY_MS) // (DAY_MS // HOUR_BUCKETS))


def seen_mask(events: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """True where an event code means "seen": one function for batch and serving."""
    codes = np.array([EVENT_CODES[name] for name in SEEN_EVENTS], np.uint8)
    return np.isin(events, codes)
