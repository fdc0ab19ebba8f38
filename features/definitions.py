"""Every feature, one row each: what it is about, its unit, its default, and the function that computes it.

The functions read one `Requests`: n requests with c candidates each, prepared in `assemble.py`. A user
feature or a request feature has shape (n,), a video or pair feature (n, c); NaN stands for "not known" and
becomes the default. The same functions serve a training set of many requests and one live request, so
nothing here may depend on n or c: sums run over a fixed axis in a fixed order.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.contracts import DAY_MS, Context, Floats, Histories, Int64s, VideoTable
from features.statistics import STATISTIC_NAMES

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]

TASTE_EVENTS: Final = 20
"""How many of the newest liked (or skipped) events make up a taste vector."""

LATEST_EVENTS: Final = 5
"""How many of the newest liked events a candidate's nearest is sought among."""

NEGLIGIBLE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Requests:
    """n requests with c candidates each, and what several features share of them."""

    videos: VideoTable
    statistics: Floats
    """(v, s): `video_statistics`."""
    context: Context
    histories: Histories
    rows: Rows
    """Row of each candidate, (n, c); 0 where there is none."""
    inside: Bools
    """True in the part of a history that is no padding, (n, h)."""
    liked: Bools
    """True where an event of the history is positive, (n, h)."""
    skipped: Bools
    """True where an event of the history is a skip or dislike, (n, h)."""
    event_rows: Rows
    """Row of each event's video, (n, h); -1 where it is not in the table."""
    liked_rows: Rows
    """Rows of the newest liked events, newest first, (n, TASTE_EVENTS); -1 is padding."""
    tastes: dict[str, Floats]
    """Per modality and "joint": recency-weighted mean of the liked videos' vectors, (n, d)."""
    dislikes: Floats
    """The same of the skipped videos in the joint space, (n, d)."""
    tag_codes: Rows
    """Codes of each video's tags, (v, t); -1 is padding."""
    tag_counts: Int64s
    """Liked events that bear each tag, (n, tags)."""


Function = Callable[[Requests], npt.NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Definition:
    """One feature."""

    name: str
    entity: Literal["user", "video", "pair", "request"]
    dtype: str
    unit: str
    default: float
    """Stands where the value is not known."""
    max_age_s: int | None
    """Older values are stale; None for what is computed at the request."""
    function: Function


def share_of_events(mask: Bools, requests: Requests) -> Floats:
    """Share of each history's events under a mask, (n,); NaN for an empty history."""
    hits = (mask & requests.inside).sum(axis=1)
    return _ratio(hits, requests.histories.lengths)


def user_events(requests: Requests) -> Floats:
    return np.log1p(requests.histories.lengths.astype(np.float32))


def user_positive_share(requests: Requests) -> Floats:
    return share_of_events(requests.liked, requests)


def user_skip_share(requests: Requests) -> Floats:
    return share_of_events(requests.skipped, requests)


def user_watch_share(requests: Requests) -> Floats:
    """Mean watched share of the newest `TASTE_EVENTS` events, of those with a known one."""
    rows = requests.event_rows[:, :TASTE_EVENTS]
    duration = np.where(rows >= 0, requests.videos.duration_s[rows], np.float32(np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.minimum(requests.histories.watch_s[:, :TASTE_EVENTS] / duration, np.float32(1.5))
    return _mean_of_known(share)


def user_idle_days(requests: Requests) -> Floats:
    if not requests.histories.ts_ms.shape[1]:
        return np.full(len(requests.rows), np.nan, np.float32)
    return _log_days(requests.context.now_ms, requests.histories.ts_ms[:, 0])


def user_day_events(requests: Requests) -> Floats:
    now = requests.context.now_ms[:, None]
    ts = requests.histories.ts_ms
    recent = (requests.inside & (ts > now - DAY_MS) & (ts > 0)).sum(axis=1)
    return np.where(now[:, 0] > 0, np.log1p(recent.astype(np.float32)), np.float32(np.nan)).astype(np.float32)


def user_taste_focus(requests: Requests) -> Floats:
    """Length of the mean of the liked unit vectors: 1 where all are alike, near 0 where they scatter."""
    taste = requests.tastes["joint"]
    length = np.sqrt((taste * taste).sum(axis=1))
    return np.where(length > NEGLIGIBLE, length, np.float32(np.nan)).astype(np.float32)


def video_statistic(name: str) -> Function:
    """The function that looks up one column of `video_statistics`."""
    column = STATISTIC_NAMES.index(name)
    return lambda requests: requests.statistics[requests.rows, column]


def video_age_days(requests: Requests) -> Floats:
    return _log_days(requests.context.now_ms[:, None], requests.videos.published_ms[requests.rows])


def video_duration(requests: Requests) -> Floats:
    return np.log1p(requests.videos.duration_s[requests.rows])


def video_has(bit: int) -> Function:
    """The function that says whether a modality is present: visual 0, audio 1, text 2."""
    return lambda requests: ((requests.videos.mask[requests.rows] >> bit) & 1).astype(np.float32)


def video_imputed(bit: int) -> Function:
    """The function that says whether a modality was filled in from neighbours: bits as in `video_has`."""
    return lambda requests: ((requests.videos.imputed[requests.rows] >> bit) & 1).astype(np.float32)


def video_agreement(requests: Requests) -> Floats:
    return requests.videos.agreement[requests.rows]


def video_sound_fit(requests: Requests) -> Floats:
    return requests.videos.sound_fit[requests.rows]


def video_text_fit(requests: Requests) -> Floats:
    return requests.videos.text_fit[requests.rows]


def pair_cosine(space: str) -> Function:
    """The function for the cosine of a candidate and the user's taste in one space."""
    return lambda requests: _cosine(_vectors(requests.videos, space), requests.rows, requests.tastes[space])


def pair_skipped_cosine(requests: Requests) -> Floats:
    return _cosine(requests.videos.joint, requests.rows, requests.dislikes)


def pair_nearest(requests: Requests) -> Floats:
    """Largest cosine to one of the latest liked videos, in the joint space."""
    joint = requests.videos.joint
    best = np.full(requests.rows.shape, np.nan, np.float32)
    for place in range(LATEST_EVENTS):
        row = requests.liked_rows[:, place]
        vector = np.where(row[:, None] >= 0, joint[row], np.float32(0))
        best = np.fmax(best, _cosine(joint, requests.rows, vector))
    return best


def pair_tag_affinity(requests: Requests) -> Floats:
    """Mean, over the candidate's tags, of the share of liked events that bear the tag."""
    codes = requests.tag_codes[requests.rows]  # (n, c, t)
    counts = np.take_along_axis(requests.tag_counts[:, None, :], np.maximum(codes, 0), axis=2)
    hits = np.where(codes >= 0, counts, 0).sum(axis=2)
    likes = (requests.liked_rows >= 0).sum(axis=1)
    return _ratio(hits, (codes >= 0).sum(axis=2) * likes[:, None])


def pair_creator_affinity(requests: Requests) -> Floats:
    """Share of the liked events that are by the candidate's creator."""
    mine = requests.videos.creators[requests.rows]  # (n, c)
    liked = np.where(requests.liked_rows >= 0, requests.videos.creators[requests.liked_rows], -1)
    hits = np.zeros(mine.shape, np.int64)
    for place in range(TASTE_EVENTS):
        hits += (mine == liked[:, place, None]) & (mine >= 0)
    likes = (requests.liked_rows >= 0).sum(axis=1)[:, None]
    return _ratio(hits, np.where(mine >= 0, likes, 0))


def pair_duration_gap(requests: Requests) -> Floats:
    """Distance of log durations between the candidate and the mean of the liked videos."""
    rows = requests.liked_rows
    liked = np.where(rows >= 0, requests.videos.duration_s[rows], np.float32(np.nan))
    theirs = _log_positive(requests.videos.duration_s[requests.rows])
    return np.asarray(np.abs(theirs - _mean_of_known(_log_positive(liked))[:, None]))


def pair_times_met(requests: Requests) -> Floats:
    """log1p of how often the candidate stands in the history."""
    met = np.zeros(requests.rows.shape, np.int64)
    for place in range(int(requests.histories.lengths.max(initial=0))):
        met += requests.rows == requests.event_rows[:, place, None]
    return np.log1p(met.astype(np.float32))


def request_hour(requests: Requests) -> Floats:
    local, known = _local_ms(requests)
    return np.where(known, (local % DAY_MS) // 3_600_000, np.nan).astype(np.float32)


def request_weekday(requests: Requests) -> Floats:
    """Monday is 0; the first of January 1970 was a Thursday."""
    local, known = _local_ms(requests)
    return np.where(known, (local // DAY_MS + 3) % 7, np.nan).astype(np.float32)


def _local_ms(requests: Requests) -> tuple[Int64s, Bools]:
    now = requests.context.now_ms
    return now + requests.context.utc_offset_min.astype(np.int64) * 60_000, now > 0


def _log_days(now_ms: Int64s, then_ms: Int64s) -> Floats:
    """log1p of the days from then to now; NaN where one of them is unknown (0)."""
    days = (np.maximum(now_ms - then_ms, 0) / DAY_MS).astype(np.float32)
    return np.where((now_ms > 0) & (then_ms > 0), np.log1p(days), np.float32(np.nan)).astype(np.float32)


def _ratio(hits: npt.NDArray[Any], trials: npt.NDArray[Any]) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(trials > 0, hits.astype(np.float32) / trials.astype(np.float32), np.float32(np.nan))


def _mean_of_known(values: Floats) -> Floats:
    """Mean of each row's finite values among at most `TASTE_EVENTS`, (n,); NaN where there is none."""
    wide = np.full((len(values), TASTE_EVENTS), np.nan, np.float32)  # one width, so one order of additions
    wide[:, : values.shape[1]] = values
    known = np.isfinite(wide)
    return _ratio(np.where(known, wide, np.float32(0)).sum(axis=1), known.sum(axis=1))


def _log_positive(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, np.float32(np.nan)))


def _vectors(videos: VideoTable, space: str) -> Floats:
    return videos.joint if space == "joint" else videos.vectors[space]


def _cosine(vectors: Floats, rows: Rows, to: Floats) -> Floats:
    """Cosine of each candidate's unit vector and one vector a request, (n, c); NaN for a zero vector."""
    if not vectors.shape[1]:
        return np.full(rows.shape, np.nan, np.float32)
    length = np.sqrt((to * to).sum(axis=1))
    unit = to / np.where(length > NEGLIGIBLE, length, np.float32(1))[:, None]
    theirs = vectors[rows]  # (n, c, d)
    # No matrix product: its order of additions depends on n and c; training must equal serving to the bit.
    cosine = (theirs * unit[:, None, :]).sum(axis=2)
    return np.where((length > NEGLIGIBLE)[:, None], cosine, np.float32(np.nan))


_DAY_S: Final = 86_400

DEFINITIONS: Final = (
    Definition("user_events", "user", "float32", "log1p events", 0.0, None, user_events),
    Definition("user_positive_share", "user", "float32", "share", 0.5, None, user_positive_share),
    Definition("user_skip_share", "user", "float32", "share", 0.0, None, user_skip_share),
    Definition("user_watch_share", "user", "float32", "share of the duration", 0.5, None, user_watch_share),
    Definition("user_idle_days", "user", "float32", "log1p days", -1.0, None, user_idle_days),
    Definition("user_day_events", "user", "float32", "log1p events", 0.0, None, user_day_events),
    Definition("user_taste_focus", "user", "float32", "length", 0.0, None, user_taste_focus),
    *(
        Definition(
            f"video_{name}", "video", "float32", "see STATISTIC_NAMES", 0.0, 2 * _DAY_S, video_statistic(name)
        )
        for name in STATISTIC_NAMES
    ),
    Definition("video_age_days", "video", "float32", "log1p days", -1.0, None, video_age_days),
    Definition("video_duration", "video", "float32", "log1p s", -1.0, None, video_duration),
    Definition("video_has_visual", "video", "float32", "0 or 1", 0.0, None, video_has(0)),
    Definition("video_has_audio", "video", "float32", "0 or 1", 0.0, None, video_has(1)),
    Definition("video_has_text", "video", "float32", "0 or 1", 0.0, None, video_has(2)),
    Definition("video_imputed_visual", "video", "float32", "0 or 1", 0.0, None, video_imputed(0)),
    Definition("video_imputed_audio", "video", "float32", "0 or 1", 0.0, None, video_imputed(1)),
    Definition("video_imputed_text", "video", "float32", "0 or 1", 0.0, None, video_imputed(2)),
    Definition("video_agreement", "video", "float32", "cosine", 0.0, None, video_agreement),
    Definition("video_sound_fit", "video", "float32", "share of other sounds", 0.5, None, video_sound_fit),
    Definition("video_text_fit", "video", "float32", "share of other texts", 0.5, None, video_text_fit),
    Definition("pair_joint_cosine", "pair", "float32", "cosine", 0.0, None, pair_cosine("joint")),
    Definition("pair_visual_cosine", "pair", "float32", "cosine", 0.0, None, pair_cosine("visual")),
    Definition("pair_audio_cosine", "pair", "float32", "cosine", 0.0, None, pair_cosine("audio")),
    Definition("pair_text_cosine", "pair", "float32", "cosine", 0.0, None, pair_cosine("text")),
    Definition("pair_nearest", "pair", "float32", "cosine", 0.0, None, pair_nearest),
    Definition("pair_skipped_cosine", "pair", "float32", "cosine", 0.0, None, pair_skipped_cosine),
    Definition("pair_tag_affinity", "pair", "float32", "share", 0.0, None, pair_tag_affinity),
    Definition("pair_creator_affinity", "pair", "float32", "share", 0.0, None, pair_creator_affinity),
    Definition("pair_duration_gap", "pair", "float32", "difference of ln s", -1.0, None, pair_duration_gap),
    Definition("pair_times_met", "pair", "float32", "log1p events", 0.0, None, pair_times_met),
    Definition(
        "request_hour", "request", "float32", "hour of the user's day, 0 to 23", -1.0, None, request_hour
    ),
    Definition("request_weekday", "request", "float32", "0 Monday to 6", -1.0, None, request_weekday),
)


@functools.cache
def feature_version() -> str:
    """12 hex digits over the definitions and the code that computes them, without comments and docstrings."""
    from features import assemble, histories, statistics

    rows = [(d.name, d.entity, d.dtype, d.unit, d.default, d.max_age_s) for d in DEFINITIONS]
    modules = [sys.modules[__name__], assemble, statistics]
    code = [_bare_source(inspect.getsource(module)) for module in modules]
    code.append(_bare_source(inspect.getsource(histories.positive_mask)))
    return hashlib.blake2b(json.dumps([rows, code]).encode(), digest_size=6).hexdigest()


def _bare_source(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not _is_docstring(part)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
