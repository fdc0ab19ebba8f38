"""Which videos a report names: by modality, as examples, and those whose sound or words fit badly."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from features.contracts import MODALITIES
from features.workspace import Workspace

LOW_FIT: Final = 0.5
"""A fit under this: most sounds (words) of other videos would fit better. These are to be looked at."""
WELL: Final = 0.9
"""What fits at least so well is not listed, though nothing fits worse."""
LISTED: Final = 20

Named = dict[int, dict[str, Any]]


def names_of_mask(mask: int) -> list[str]:
    """Modalities of a mask, in order; empty for 0."""
    return [name for bit, name in enumerate(MODALITIES) if mask >> bit & 1]


def count_masks(space: pl.DataFrame) -> list[dict[str, Any]]:
    """Videos and their share of each of the eight masks, from all modalities down to none."""
    counts = dict(space["mask"].value_counts().iter_rows())
    order = sorted(range(8), key=lambda mask: (-mask.bit_count(), mask))
    return [
        {
            "mask": mask,
            "modalities": names_of_mask(mask),
            "videos": counts.get(mask, 0),
            "share": counts.get(mask, 0) / max(len(space), 1),
        }
        for mask in order
    ]


def count_imputed(space: pl.DataFrame) -> dict[str, Any] | None:
    """Videos and share of those whose modality was filled in, by modality; None where it is not known."""
    if not len(space) or space["imputed"].is_null().all():
        return None
    bits = {name: (space["imputed"].fill_null(0) // (1 << bit)) % 2 for bit, name in enumerate(MODALITIES)}
    return {
        name: {"videos": int(bit.sum()), "share": float(bit.sum()) / len(space)} for name, bit in bits.items()
    }


def find_conflicts(space: pl.DataFrame, aligned: bool | None) -> dict[str, Any]:
    """Videos whose words or sound fit the rest worst, by modality, worst first.

    Args:
        space: columns of SPACES.
        aligned: whether the modalities share a space; None where the space does not say.

    Returns:
        `why`: a sentence where nothing can be listed, else None; `low_fit`: the bound; `text` and `audio`:
        `known` videos, `low` ones under the bound, `videos`: at most `LISTED`, with their fits. `odd` says
        which modality stands against the others.
    """
    none: dict[str, Any] = {"known": 0, "low": 0, "videos": []}
    said: dict[str, Any] = {"why": None, "low_fit": LOW_FIT, "text": none, "audio": none}
    if aligned is False:
        why = "The space is not aligned: modalities stand side by side in it, so no fit can be said."
        return {**said, "why": why}
    fits = space.select(
        "video_key", "agreement", "mask", audio=pl.col("sound_fit"), text=pl.col("text_fit")
    ).with_columns(pl.col("audio", "text", "agreement").fill_nan(None))
    if fits.select(pl.col("audio", "text").is_null().all()).row(0) == (True, True):
        why = (
            "No video of this space has a measure of fit: it was built before there was one, or no video "
            "has two modalities. Build the space anew."
        )
        return {**said, "why": why}
    return {**said, "text": _worst(fits, "text", "audio"), "audio": _worst(fits, "audio", "text")}


def _worst(fits: pl.DataFrame, name: str, other: str) -> dict[str, Any]:
    known = fits.filter(pl.col(name).is_not_null())
    worst = known.filter(pl.col(name) < WELL).sort(name, "video_key").head(LISTED)
    return {
        "known": len(known),
        "low": int((known[name] < LOW_FIT).sum()),
        "videos": [
            {
                "video_key": row["video_key"],
                "fit": row[name],
                "agreement": row["agreement"],
                "odd": _odd(row, name, other),
            }
            for row in worst.iter_rows(named=True)
        ],
    }


def _odd(row: dict[str, Any], name: str, other: str) -> str:
    """Which modality stands against the others, as far as two fits can say: that which fits worse."""
    if row[other] is None:
        return name
    if max(row[name], row[other]) >= LOW_FIT:
        return name if row[name] <= row[other] else other
    return f"{name} and {other}, or visual alone" if row["mask"] & 1 else f"{name} or {other}"


def name_videos(workspace: Workspace, keys: set[int]) -> Named:
    """`video_key`, `video_id` and `title` of these videos; what the catalogue lacks has its key as id."""
    known = (
        workspace.catalogue.scan()
        .select("video_key", "video_id", "title")
        .filter(pl.col("video_key").is_in(sorted(keys)))
        .collect()
    )
    unknown = {key: {"video_key": key, "video_id": f"key {key}", "title": None} for key in keys}
    return unknown | {row["video_key"]: row for row in known.iter_rows(named=True)}
