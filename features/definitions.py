"""Every feature, one row each: what it is about, its unit, its default, and the function that computes it.

The functions stand in `user_features`, `video_features` and `pair_features`, and read one `Requests`, which
`assemble` prepares. The same functions serve a training set of many requests and one live request.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Final, Literal

from features.contracts import DEVICES, HOUR_BUCKETS, MODALITIES, QUALITY_FEATURES
from features.pair_features import (
    pair_cosine,
    pair_covisit_best,
    pair_covisit_sum,
    pair_creator_affinity,
    pair_duration_gap,
    pair_mean_liked,
    pair_mean_skipped,
    pair_nearest_liked,
    pair_nearest_skipped,
    pair_skipped_cosine,
    pair_tag_affinity,
    pair_times_met,
    pair_watched_share,
)
from features.requests import Function
from features.statistics import STATISTIC_NAMES
from features.user_features import (
    LIKE_PRIOR,
    PLAY_PRIOR,
    SKIP_PRIOR,
    request_device,
    request_hour,
    request_surface,
    request_weekday,
    session_events,
    session_minutes,
    session_positive_share,
    user_account_days,
    user_day_events,
    user_device_habit,
    user_events,
    user_hour_events,
    user_hour_habit,
    user_idle_days,
    user_like_rate,
    user_play_rate,
    user_positive_share,
    user_skip_rate,
    user_skip_share,
    user_taste_focus,
    user_total_events,
    user_watch_per_play,
    user_watch_share,
)
from features.video_features import (
    DAY_PLAY_PRIOR,
    video_activity,
    video_age_days,
    video_agreement,
    video_day_play_rate,
    video_duration,
    video_has,
    video_imputed,
    video_momentum,
    video_quality,
    video_sound_fit,
    video_statistic,
    video_text_fit,
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One feature."""

    name: str
    entity: Literal["user", "video", "pair", "request"]
    unit: str
    default: float
    """Stands where the value is not known."""
    max_age_s: int | None
    """Older values are stale; None for what is computed at the request."""
    function: Function
    shape: tuple[int, ...] = ()
    """Of one value; () is a single number."""
    dtype: str = "float32"


_NIGHTLY_S: Final = 2 * 86_400
_LIVE_S: Final = 300
"""Oldest watermark of a live activity."""

_ACTIVITIES: Final = {
    "impressions": ("impression",),
    "plays": ("play",),
    "likes": ("like", "share", "follow"),
    "skips": ("skip", "dislike"),
}
_QUALITY_UNITS: Final = {"loudness_dbfs": ("dB of full scale", -100.0)}

DEFINITIONS: Final = (
    Definition("user_events", "user", "log1p events", 0.0, None, user_events),
    Definition("user_positive_share", "user", "share", 0.5, None, user_positive_share),
    Definition("user_skip_share", "user", "share", 0.0, None, user_skip_share),
    Definition("user_watch_share", "user", "share of the duration", 0.5, None, user_watch_share),
    Definition("user_idle_days", "user", "log1p days", -1.0, None, user_idle_days),
    Definition("user_day_events", "user", "log1p events", 0.0, None, user_day_events),
    Definition("user_hour_events", "user", "log1p events", 0.0, None, user_hour_events),
    Definition("user_taste_focus", "user", "length", 0.0, None, user_taste_focus),
    Definition("user_total_events", "user", "log1p events", 0.0, None, user_total_events),
    Definition("user_play_rate", "user", "plays per impression", PLAY_PRIOR, None, user_play_rate),
    Definition("user_like_rate", "user", "likes per play", LIKE_PRIOR, None, user_like_rate),
    Definition("user_skip_rate", "user", "share", SKIP_PRIOR, None, user_skip_rate),
    Definition("user_watch_per_play", "user", "log1p s", -1.0, None, user_watch_per_play),
    Definition("user_account_days", "user", "log1p days", -1.0, None, user_account_days),
    Definition("user_hour_habit", "user", "share", 1.0 / HOUR_BUCKETS, None, user_hour_habit),
    Definition("user_device_habit", "user", "share", 1.0 / len(DEVICES), None, user_device_habit),
    Definition("session_events", "user", "log1p events", -1.0, None, session_events),
    Definition("session_positive_share", "user", "share", 0.5, None, session_positive_share),
    Definition("session_minutes", "user", "log1p minutes", -1.0, None, session_minutes),
    *(
        Definition(f"video_{name}", "video", "see STATISTIC_NAMES", 0.0, _NIGHTLY_S, video_statistic(name))
        for name in STATISTIC_NAMES
    ),
    *(
        Definition(
            f"video_{window}_{name}", "video", "log1p events", 0.0, _LIVE_S, video_activity(window, *events)
        )
        for window in ("day", "hours")
        for name, events in _ACTIVITIES.items()
    ),
    Definition(
        "video_day_play_rate", "video", "plays per impression", DAY_PLAY_PRIOR, _LIVE_S, video_day_play_rate
    ),
    Definition("video_momentum", "video", "ln of a ratio", 0.0, _LIVE_S, video_momentum),
    Definition("video_age_days", "video", "log1p days", -1.0, None, video_age_days),
    Definition("video_duration", "video", "log1p s", -1.0, None, video_duration),
    *(
        Definition(f"video_has_{name}", "video", "0 or 1", 0.0, None, video_has(bit))
        for bit, name in enumerate(MODALITIES)
    ),
    *(
        Definition(f"video_imputed_{name}", "video", "0 or 1", 0.0, None, video_imputed(bit))
        for bit, name in enumerate(MODALITIES)
    ),
    Definition("video_agreement", "video", "cosine", 0.0, None, video_agreement),
    Definition("video_sound_fit", "video", "share of other sounds", 0.5, None, video_sound_fit),
    Definition("video_text_fit", "video", "share of other texts", 0.5, None, video_text_fit),
    *(
        Definition(f"video_{name}", "video", unit, default, None, video_quality(name))
        for name in QUALITY_FEATURES
        for unit, default in (_QUALITY_UNITS.get(name, ("share", -1.0)),)
    ),
    *(
        Definition(f"pair_{space}_cosine", "pair", "cosine", 0.0, None, pair_cosine(space))
        for space in ("joint", *MODALITIES)
    ),
    Definition("pair_nearest", "pair", "cosine", 0.0, None, pair_nearest_liked("joint")),
    Definition("pair_skipped_cosine", "pair", "cosine", 0.0, None, pair_skipped_cosine),
    *(
        Definition(f"pair_{space}_{name}", "pair", "cosine", 0.0, None, of_space(space))
        for space in MODALITIES
        for name, of_space in (
            ("nearest_liked", pair_nearest_liked),
            ("mean_liked", pair_mean_liked),
            ("nearest_skipped", pair_nearest_skipped),
            ("mean_skipped", pair_mean_skipped),
        )
    ),
    Definition("pair_tag_affinity", "pair", "share", 0.0, None, pair_tag_affinity),
    Definition("pair_creator_affinity", "pair", "share", 0.0, None, pair_creator_affinity),
    Definition("pair_duration_gap", "pair", "difference of ln s", -1.0, None, pair_duration_gap),
    Definition("pair_times_met", "pair", "log1p events", 0.0, None, pair_times_met),
    Definition("pair_watched_share", "pair", "share of the duration", 0.0, None, pair_watched_share),
    Definition("pair_covisit_best", "pair", "weight", 0.0, None, pair_covisit_best),
    Definition("pair_covisit_sum", "pair", "sum of weights", 0.0, None, pair_covisit_sum),
    Definition("request_hour", "request", "hour of the user's day, 0 to 23", -1.0, None, request_hour),
    Definition("request_weekday", "request", "0 Monday to 6", -1.0, None, request_weekday),
    Definition("request_device", "request", "place in DEVICES", -1.0, None, request_device),
    Definition("request_surface", "request", "place in SURFACES", -1.0, None, request_surface),
)


@functools.cache
def feature_version() -> str:
    """12 hex digits over the definitions and the code that computes them, without comments and docstrings."""
    rows = [(d.name, d.entity, d.shape, d.dtype, d.unit, d.default, d.max_age_s) for d in DEFINITIONS]
    code = [_bare_source(inspect.getsource(module)) for module in (sys.modules[__name__], *_modules())]
    return hashlib.blake2b(json.dumps([rows, code, _rules()]).encode(), digest_size=6).hexdigest()


def _modules() -> list[ModuleType]:
    names = ("activity", "assemble", "counters", "event_log", "histories", "pair_features", "requests",
             "statistics", "user_features", "video_features")  # fmt: skip
    return [import_module(f"features.{name}") for name in names]


def _rules() -> list[object]:
    """What the code above takes from the contracts."""
    from features import contracts

    functions = (contracts._code, contracts.device_code, contracts.surface_code, contracts.hour_bucket)
    constants = (
        contracts.EVENTS,
        contracts.MODALITIES,
        contracts.HISTORY_LENGTH,
        contracts.DEVICES,
        contracts.SURFACES,
        contracts.HOUR_BUCKETS,
        contracts.MAX_EVENTS_A_MINUTE,
        contracts.MAX_EVENTS_A_DAY,
        contracts.ACTIVITY_NAMES,
        contracts.ACTIVITY_PERIOD_MS,
        contracts.QUALITY_FEATURES,
        sorted(contracts._DEVICE_NAMES.items()),
    )
    return [*constants, *(_bare_source(inspect.getsource(function)) for function in functions)]


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
