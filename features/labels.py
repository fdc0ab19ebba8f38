"""What followed an impression: labels of training examples, closed after a window.

An event that names the impression's request answers it; one that names none, or where the impression names
none, answers every impression of that video to that user in the window before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from features.contracts import DAY_MS, VideoTable
from features.event_log import code_expr, ts_expr
from features.histories import positive_mask

LABEL_WINDOW_MS: Final = DAY_MS
"""Events this long after an impression, or longer, say nothing of it."""

LABELS: Final = ("complete", "like", "skip", "matured")
"""Boolean columns: a positive play; a like, share or follow; a skip or dislike; the window had closed."""


def label(examples: pl.DataFrame, events: pl.DataFrame, videos: VideoTable, latest_ms: int) -> pl.DataFrame:
    """The examples with LABELS, in their order.

    Args:
        examples: `index` (unique), `user_id, video_id, request_id, ts`.
        events: `user_id, video_id, request_id, event, ts, watch_s` and `row`, the video's row; a play that is
            an example and stands among them answers itself.
        videos: for the durations.
        latest_ms: newest `ts` of the log, ms since the epoch.
    """
    asked = examples.select("index", "user_id", "video_id", "request_id", at=ts_expr()).sort("at")
    answers = _answers(events, videos).sort("ms")
    unnamed, named = pl.col("request_id").is_null(), pl.col("request_id").is_not_null()
    pair = ["user_id", "video_id"]
    joins = (
        (asked.filter(named), answers.filter(named), [*pair, "request_id"]),
        (asked.filter(unnamed), answers, pair),
        (asked.filter(named), answers.filter(unnamed), pair),
    )
    found = pl.concat([_answered(*join, kind) for join in joins for kind in LABELS[:3]], how="diagonal")
    any_of = found.group_by("index").agg(pl.col(LABELS[:3]).any())
    return examples.join(any_of, on="index", how="left", maintain_order="left").with_columns(
        pl.col(LABELS[:3]).fill_null(False), matured=ts_expr() + LABEL_WINDOW_MS <= latest_ms
    )


def _answered(asked: pl.DataFrame, answers: pl.DataFrame, by: list[str], kind: str) -> pl.DataFrame:
    """Examples with an answer of a kind in their window: the first at or after them says whether there is.

    Examples come by `at`, answers by `ms`.
    Not all pairs are made: of a user who plays one video thousands of times there are millions.
    """
    of_kind = answers.filter(kind).select(*by, "ms")
    next_of_kind = asked.join_asof(
        of_kind, left_on="at", right_on="ms", by=by, strategy="forward", check_sortedness=False
    )
    within = pl.col("ms") < pl.col("at") + LABEL_WINDOW_MS
    return next_of_kind.filter(within).select("index", pl.lit(True).alias(kind))


def _answers(events: pl.DataFrame, videos: VideoTable) -> pl.DataFrame:
    coded = events.filter(pl.col("event") != "impression").with_columns(code=code_expr(), ms=ts_expr())
    watch = coded["watch_s"].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)
    positive = positive_mask(coded["code"].to_numpy(), watch, videos.duration_s[coded["row"].to_numpy()])
    return coded.select(
        "user_id",
        "video_id",
        "request_id",
        "ms",
        complete=(pl.col("event") == "play") & pl.Series(positive, dtype=pl.Boolean),
        like=pl.col("event").is_in(["like", "share", "follow"]),
        skip=pl.col("event").is_in(["skip", "dislike"]),
    ).filter(pl.col("ms") > 0)
