"""Histories in the terms of a bundle: rows of its videos, what each event said, and how far back it lies.

Used by training and by a live request alike, so it needs NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import EVENT_CODES, Floats, Histories, Int64s, VideoTable, seen_mask
from ranker.splits import durations_of, is_positive

TOKENS: Final = ("played", "left", "like", "share", "follow", "skip", "dislike", "nothing")
"""What an event says: `played` is a positive play, `left` another one; `nothing` is padding."""
NOTHING: Final = len(TOKENS) - 1
FIRST_GUESS: Final = (1.0, 0.1, 1.5, 1.5, 1.2, -0.2, -0.5, 0.0)
"""Weight of each token before any is learnt."""
PLACES: Final = 8
"""Steps back in time: place 0 is the latest event, then 1, 2-3, 4-7 and so on, doubling."""


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """n histories, newest first."""

    rows: npt.NDArray[np.int32]
    """Rows of the bundle's videos, int32, (n, h); -1 for padding and for videos it does not know."""
    tokens: npt.NDArray[np.uint8]
    """Index into TOKENS, uint8, (n, h); NOTHING where the row is -1."""
    positive: npt.NDArray[np.bool_]
    """True where the user liked the video, (n, h)."""
    seen: npt.NDArray[np.bool_]
    """True where the video is not to be recommended again, (n, h)."""


def history_rows(videos: VideoTable, histories: Histories) -> HistoryRows:
    """The histories as rows, tokens and masks."""
    rows = videos.rows_of(histories.video_keys)
    known = rows >= 0
    tokens = event_tokens(histories.events, histories.watch_s, durations_of(videos, histories.video_keys))
    liked = np.isin(tokens, [TOKENS.index(name) for name in ("played", "like", "share", "follow")])
    return HistoryRows(
        rows,
        np.where(known, tokens, NOTHING).astype(np.uint8),
        liked & known,
        seen_mask(histories.events) & known,
    )


def event_tokens(events: npt.NDArray[np.uint8], watch_s: Floats, duration_s: Floats) -> npt.NDArray[np.uint8]:
    """Index into TOKENS of each event, same shape; impressions say nothing."""
    tokens = np.full(events.shape, NOTHING, np.uint8)
    for name in ("like", "share", "follow", "skip", "dislike"):
        tokens[events == EVENT_CODES[name]] = TOKENS.index(name)
    plays = events == EVENT_CODES["play"]
    liked = is_positive(events, watch_s, duration_s)
    tokens[plays] = np.where(liked[plays], TOKENS.index("played"), TOKENS.index("left"))
    return tokens


def places(length: int) -> Int64s:
    """Step back in time of each position of a history, int64, (length,), below PLACES."""
    return np.minimum(np.ceil(np.log2(np.arange(length) + 1)).astype(np.int64), PLACES - 1)
