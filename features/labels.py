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
    asked = examples.select("index", "user_id", "video_id", "request_id", at=ts_expr())
    answers = _answers(events, videos)
    window = pl.col("ms").is_between(pl.col("at"), pl.col("at") + LABEL_WINDOW_MS, closed="left")
    by_request = asked.join(answers, on=["user_id", "video_id", "request_id"], how="inner").filter(window)
    one_names_none = pl.col("request_id").is_null() | pl.col("request_id_right").is_null()
    by_video = asked.join(answers, on=["user_id", "video_id"], how="inner").filter(window & one_names_none)
    found = pl.concat([frame.select("index", *LABELS[:3]) for frame in (by_request, by_video)])
    any_of = found.group_by("index").agg(pl.col(LABELS[:3]).any())
    return examples.join(any_of, on="index", how="left", maintain_order="left").with_columns(
        pl.col(LABELS[:3]).fill_null(False), matured=ts_expr() + LABEL_WINDOW_MS <= latest_ms
    )


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
