"""The report as one HTML page that needs nothing from outside, with its numbers beside it as JSON and
Markdown.

Order of the page: verdict, facts, warnings, lifts, metrics, whom it helps, when, what it shows, slates,
method. All pages are functions of the content of report.json alone, and of thumbnails. There is no script on
the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from features.tables import write_durably
from ranker.evaluation.examples import thumbnail_uri
from ranker.evaluation.gallery import example_section
from ranker.evaluation.markdown import to_markdown
from ranker.evaluation.metrics import LABELS, METRICS
from ranker.evaluation.page_parts import inputs_section, method_section, page, page_head
from ranker.evaluation.sections import (
    ablation_section,
    lift_section,
    metric_table,
    slice_section,
    spread_section,
)
from ranker.evaluation.style import CSS
from ranker.evaluation.words import first_line

DECISIONS = {
    "launch": "Verdict: launch",
    "keep": "Verdict: keep the control",
    "undecided": "Verdict: undecided",
}


def write_report(content: dict[str, Any], out_dir: Path, thumbnail: Callable[[int], Path]) -> None:
    """Writes report.json, report.md and report.html; each appears whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_durably(out_dir / "report.json", text.encode())
    write_durably(out_dir / "report.md", to_markdown(content).encode())
    write_durably(
        out_dir / "report.html", to_html(content, lambda key: thumbnail_uri(thumbnail(key))).encode()
    )


def to_html(content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    """The page.

    Args:
        content: what report.json holds.
        picture: data URI of a video's thumbnail, or None.
    """
    sections = (
        _head(content),
        lift_section(content),
        metric_table(content),
        ablation_section(content),
        slice_section(content),
        spread_section(content),
        example_section(content, picture),
        _method(content),
        _inputs(content),
    )
    return page(f"{content['name']} · offline A/B", CSS, sections)


def _head(content: dict[str, Any]) -> str:
    data = content["data"]
    facts = (
        ("Users measured", f"{data['users']:,}"),
        ("Liked videos held out", f"{data['relevant']:,}"),
        ("Catalogue", f"{data['videos']:,} videos"),
        ("Held out", data["holdout"]["words"]),
        ("Users without history", f"{data['cold_users']:,}"),
        ("Detectable effect", _detectable(content)),
    )
    return page_head("Offline A/B", content, DECISIONS[content["verdict"]["decision"]], facts)


def _detectable(content: dict[str, Any]) -> str:
    effect = content["data"]["detectable"]
    base = content["arms"][0]["metrics"][content["primary"]]["value"]
    if not effect:
        return "unknown"
    name = f"{LABELS[content['primary']]}@{content['k']}"
    return f"{effect / base:.1%} of {name}" if base else f"{effect:.4f} {name}"


def _method(content: dict[str, Any]) -> str:
    data, k = content["data"], content["k"]
    entries = (
        (
            "Protocol",
            f"Held out: {data['holdout']['words']}. Arms know only what came before. Each user with at least "
            "one new liked video in the held-out part gets one slate at the cut, ranked from the whole "
            "catalogue less what they had seen (play, like, share, dislike); negatives are never sampled. "
            "Liked means: like, share, follow, or a play of at least half of the video (5 s where its "
            "length is unknown; any play where watched time is unknown).",
        ),
        ("Control", f"{content['arms'][0]['name']}, the first arm given."),
        (
            "Intervals",
            f"95% percentile bootstrap over users ({content['resamples']:,} resamples, seed "
            f"{content['seed']}), the same draws for all arms, so lifts are paired. Slices: Student's t.",
        ),
        (
            "Verdict",
            "An arm is clearly better or worse when the interval of its paired difference, at 95% for all "
            "challengers together (Bonferroni), leaves out 0. The detectable effect is what this many "
            "users show with power 80%, for the hardest pair of arms.",
        ),
        *((f"{LABELS[name]}@{k}", first_line(METRICS[name].__doc__)) for name in METRICS),
        (
            "What this cannot say",
            "Users could only like what they were shown: an arm that finds good videos which the "
            "logging policy hid gets no credit, and popular videos get too much. An online test decides "
            "what is left open here.",
        ),
    )
    return method_section(entries)


def _inputs(content: dict[str, Any]) -> str:
    inputs = content["inputs"]
    rows = [
        ("Hash of inputs", inputs["hash"]),
        ("Bundles", ", ".join(inputs["bundles"]) or "none"),
        ("Encoder", inputs["encoder_version"] or "none"),
        ("Space", inputs["space_version"] or "none"),
        ("Features", inputs["feature_version"]),
        ("Interactions", f"{inputs['interactions']:,}"),
        ("Seed", str(content["seed"])),
        ("Made at", content["created_at"]),
        *(
            (f"Arm {arm['name']}", arm["spec"] + (f" ({arm['bundle']})" if arm["bundle"] else ""))
            for arm in content["arms"]
        ),
    ]
    return inputs_section(rows)
