"""The report of a space as one HTML page that needs nothing from outside; there is no script on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ranker.evaluation.page_parts import inputs_section, method_section, page, page_head
from ranker.evaluation.space_gallery import conflict_section, example_section
from ranker.evaluation.space_geometry import SAMPLE
from ranker.evaluation.space_listing import LISTED, WELL
from ranker.evaluation.space_sections import (
    drift_section,
    mask_section,
    retrieval_section,
    shape_section,
)
from ranker.evaluation.space_style import SPACE_CSS
from ranker.evaluation.space_words import TRUTHS, plain_number, yes_no

VERDICTS = {
    "aligned": "Verdict: aligned",
    "unaligned": "Verdict: not aligned",
    "unknown": "Verdict: unknown",
}


def to_html(content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    """The page.

    Args:
        content: what space.json holds.
        picture: data URI of a video's thumbnail, or None; asked once a video.
    """
    seen = cache(picture)
    sections = (
        _head(content),
        mask_section(content),
        retrieval_section(content),
        shape_section(content),
        drift_section(content),
        conflict_section(content, seen),
        example_section(content, seen),
        _method(content),
        _inputs(content),
    )
    return page(f"{content['name']} · embedding space", SPACE_CSS, sections)


def _head(content: dict[str, Any]) -> str:
    data, space = content["data"], content["space"]
    conflicts = content["conflicts"]
    low = conflicts["text"]["low"] + conflicts["audio"]["low"]
    facts = (
        ("Videos in the space", f"{data['videos']:,} of {data['catalogue']:,}"),
        ("Encoder", space["encoder_version"] or "not said"),
        ("Aligned", yes_no(space["aligned"])),
        ("Held-out recall", plain_number(space["recall"], "{:.1%}")),
        ("Shuffled control", plain_number(space["control"], "{:.1%}")),
        ("Neighbours kept", plain_number((content["drift"]["overlap"] or {}).get("value"), "{:.1%}")),
        ("To look at", "unknown" if conflicts["why"] else f"{low:,}"),
    )
    return page_head("Embedding space", content, VERDICTS[content["verdict"]["decision"]], facts)


def _method(content: dict[str, Any]) -> str:
    data = content["data"]
    entries = (
        *TRUTHS.values(),
        (
            f"Share found among {content['k']}",
            f"Hits among the nearest {content['k']} of a video over the smaller of {content['k']} and the "
            "number of videos that belong to it; the video itself is no neighbour, and one with nothing to "
            "find does not count. Neighbours are searched exactly, among all videos with a vector.",
        ),
        (
            "Sampling",
            f"Up to {data['exact_up_to']:,} videos every one is asked; beyond, a sample drawn with seed "
            f"{content['seed']} asks the whole space, and hubs are counted within a sample of {SAMPLE:,}.",
        ),
        ("Intervals", "95% percentile bootstrap over the videos that were asked."),
        (
            "Across modalities",
            "Measured when the space is trained, on videos held out from it, and read from its commit; the "
            "vectors of single modalities lie in spaces of their own until the space brings them together.",
        ),
        (
            "Fit",
            "Share of other videos' titles (sounds) that fit the rest of a video worse than its own. Listed "
            f"are the worst {LISTED} under {WELL:.0%}; counted are those under "
            f"{content['conflicts']['low_fit']:.0%}. A low fit is a reason to look, not to remove. The odd "
            "modality is the worse of title and sound; where both fit badly it may be the picture.",
        ),
    )
    return method_section(entries)


def _inputs(content: dict[str, Any]) -> str:
    space, drift = content["space"], content["drift"]
    dims = ", ".join(f"{name} {size}" for name, size in (space["dims"] or {}).items())
    rows = (
        ("Space", space["version"]),
        ("Committed at", space["committed_at"]),
        ("Encoder", space["encoder_version"] or "not said"),
        ("Dimensions", dims or "not said"),
        ("In one space as they came", ", ".join(space["shared"] or ()) or "none"),
        ("Space before", drift["before"] or "none"),
        ("Encoder before", drift["encoder_before"] or "none"),
        ("Seed", str(content["seed"])),
        ("Made at", content["created_at"]),
    )
    return inputs_section(rows)
