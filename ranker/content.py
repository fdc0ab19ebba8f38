"""What looks, sounds and reads like what a user liked: needs no other user, so it reaches new videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.contracts import MODALITIES, Floats, VideoTable
from ranker.history_rows import HistoryRows
from ranker.user_vector import unit

MIN_TO_CENTRE = 20
"""From this many videos on, what all of them share is taken out before comparing."""


def content_vectors(videos: VideoTable) -> Floats:
    """Unit vectors to compare videos by, float32, (n, d); d may be 0, zero rows where nothing is known.

    The joint space where there is one; else the present modalities side by side, each weighing the same.
    """
    if videos.joint.shape[1] and videos.joint.any():
        return centred(videos.joint)
    parts = [centred(v) for name in MODALITIES if (v := videos.vectors.get(name)) is not None and v.shape[1]]
    if not parts:
        return np.zeros((len(videos), 0), np.float32)
    return unit(np.concatenate(parts, axis=1))


def content_profiles(vectors: Floats, history: HistoryRows, decay: float) -> Floats:
    """Direction of what each user liked, float32, (n, d): unit rows, zero where nothing is known.

    Args:
        vectors: `content_vectors`.
        history: the users' latest events.
        decay: an event counts this much less than the one after it, (0, 1].
    """
    length = history.rows.shape[1]
    if not length or not vectors.shape[1]:
        return np.zeros((len(history.rows), vectors.shape[1]), np.float32)
    weights = history.positive * np.power(np.float32(decay), np.arange(length))[None]
    total = np.zeros((len(history.rows), vectors.shape[1]), np.float32)
    users, places = np.nonzero(history.positive)
    np.add.at(
        total, users, weights[users, places, None].astype(np.float32) * vectors[history.rows[users, places]]
    )
    return unit(total)


def without_modalities(videos: VideoTable, modalities: frozenset[str]) -> VideoTable:
    """The videos as if these modalities had never been there; the joint space is fused from what is left."""
    vectors = {name: np.zeros_like(v) if name in modalities else v for name, v in videos.vectors.items()}
    bits = sum(1 << MODALITIES.index(name) for name in modalities)
    unknown = np.full(len(videos), np.nan, np.float32)  # a fit was told with what is now taken away
    rest = replace(
        videos,
        vectors=vectors,
        joint=np.zeros((len(videos), 0), np.float32),
        mask=(videos.mask & ~np.uint8(bits)).astype(np.uint8),
        agreement=unknown,
        imputed=(videos.imputed & ~np.uint8(bits)).astype(np.uint8),
        sound_fit=unknown,
        text_fit=unknown,
    )
    return replace(rest, joint=content_vectors(rest)) if videos.joint.shape[1] else rest


def without_content(videos: VideoTable) -> VideoTable:
    """The videos as if nothing had ever been seen, heard or read of them."""
    bare = without_modalities(videos, frozenset(MODALITIES))
    empty = np.zeros((len(videos), 0), np.float32)
    return replace(bare, vectors=dict.fromkeys(videos.vectors, empty), joint=empty)


def centred(vectors: Floats) -> Floats:
    """Unit rows less their mean, unit again; as they are where there are fewer than MIN_TO_CENTRE."""
    present = np.asarray(vectors.any(axis=1))
    if present.sum() < MIN_TO_CENTRE:
        return vectors
    return unit((vectors - vectors[present].mean(axis=0)) * present[:, None])
