"""What things in the report of a space are called, and what is said of them."""

from __future__ import annotations

from typing import Any, Final

from ranker.evaluation.words import EMPTY

SPACES: Final = ("joint", "visual", "audio", "text")
"""In the order in which they are shown."""

TRUTHS: Final = {
    "tags": (
        "Shared tags",
        "Two videos that carry a common tag; tags of more than a fifth of the tagged videos are left out. "
        "Words are embedded with their tags, so text, and joint where it reads text, are flattered.",
    ),
    "creator": (
        "Same creator",
        "Two videos of one creator; a creator of more than a fifth of the videos is left out.",
    ),
    "duplicates": ("Near-duplicates", "Two videos of one group of near-duplicates, found by fingerprint."),
    "audience": (
        "Same audience",
        "Neighbours in the item graph, learnt from events alone. Vectors that were filled in from this "
        "graph, or a space trained on co-watched pairs, have seen it and are flattered.",
    ),
}
"""Title and explanation by name."""

SHAPE: Final = (
    ("videos", "Videos", "with a vector", "{:,}"),
    ("dim", "Dimensions", "length of a vector", "{:d}"),
    ("effective_dim", "Effective dimensions", "participation ratio of the covariance", "{:.1f}"),
    ("mean_cosine", "Mean cosine", "of two different videos; 0 is best spread", "{:.3f}"),
    ("same_spot", "On one spot", "share whose nearest other has a cosine of 0.999 or more", "{:.1%}"),
    ("hub_skewness", "Hubness", "skewness of 10-occurrences; 0 is even", "{:.2f}"),
    ("largest_hub", "Largest hub", "times it is expected among the nearest ten", "{:.1f}"),
    ("anti_hubs", "Never found", "share in nobody's nearest ten", "{:.1%}"),
)
"""Rows of the table of shapes: key, name, note and format."""

PROMISES: Final = {
    "text": ("The title promises what the video does not show", "title"),
    "audio": ("The sound does not fit the video", "sound"),
}
"""Heading of a list of conflicts, and what stands against the rest."""


def mask_name(modalities: list[str]) -> str:
    """Modalities of a mask: `visual + audio`; `none` where there are none."""
    return " + ".join(modalities) or "none"


def video_name(video: dict[str, Any]) -> str:
    """Title, else id."""
    return str(video["title"] or video["video_id"])


def yes_no(value: bool | None) -> str:
    """A truth value for people; unknown stays open."""
    return {True: "yes", False: "no"}.get(value, "not said")  # type: ignore[arg-type]


def plain_number(value: float | None, how: str) -> str:
    """The value in a format with the true minus sign, or EMPTY."""
    return EMPTY if value is None else how.format(value).replace("-", "\u2212")


def drift_rows(drift: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, note and value of each line of the table of drift."""
    overlap = drift["overlap"]
    kept = plain_number(overlap and overlap["value"], "{:.1%}")
    if overlap and overlap["low"] is not None:
        kept += f" [{overlap['low']:.1%}, {overlap['high']:.1%}]"
    return [
        ("Compared with", f"of {drift['committed_at'][:16].replace('T', ' ')} UTC", drift["before"]),
        ("Same encoder", f"it was {drift['encoder_before'] or 'not named'}", yes_no(drift["same_encoder"])),
        ("Videos in both", f"{drift['new']:,} new, {drift['gone']:,} gone", f"{drift['videos']:,}"),
        ("Other modalities now", "share whose mask changed", plain_number(drift["mask_changed"], "{:.1%}")),
        (
            "Cosine as they are",
            "mean; no value where lengths differ",
            plain_number(drift["cosine"], "{:.3f}"),
        ),
        (
            "Cosine after the best rotation",
            "fitted on one half, measured on the other; needs two videos a dimension",
            plain_number(drift["aligned_cosine"], "{:.3f}"),
        ),
        (
            "Nearest ten kept",
            f"Jaccard, 95% interval; by chance {plain_number(drift['overlap_chance'], '{:.1%}')}",
            kept,
        ),
    ]
