"""Apart from the rest: the liked videos that nobody had met before the cut, which only content can find."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import Any, Final

import numpy as np

from ranker.evaluation.compare import compare
from ranker.evaluation.content import lifts_of
from ranker.evaluation.metrics import LABELS, KeySets, judge, measure
from ranker.evaluation.slates import Slates
from ranker.evaluation.slices import cold_keys
from ranker.evaluation.words import signed, span
from ranker.splits import Split

SHOWN: Final = ("recall", "ndcg")
"""Metrics that are told of cold videos."""


def cold_videos(slates: list[Slates], relevant: KeySets, parts: Split, seed: int) -> dict[str, Any] | None:
    """Metrics of each arm with cold videos alone as relevant, and lifts over the control; None without any.

    Slates are those of the whole catalogue: a cold video competes with all others for its place.
    """
    cold = relevant.only(np.isin(relevant.keys, cold_keys(parts)))
    who = cold.sizes > 0
    if not who.any():
        return None
    values = [measure(judge(slate.keys, cold))[who] for slate in slates]
    compared = compare([slate.arm for slate in slates], values, seed)
    return {
        "users": int(who.sum()),
        "relevant": len(cold.keys),
        "arms": {
            arm.name: {metric: asdict(compared.mean(i, metric)) for metric in SHOWN}
            for i, arm in enumerate(compared.arms)
        },
        "lifts": lifts_of(compared, SHOWN),
    }


def cold_rows(content: dict[str, Any]) -> list[list[str]]:
    """One row an arm: name, then each metric with its interval and its difference to the control."""
    cold = content["cold_videos"]
    gaps = {(one["arm"], one["metric"]): one for one in cold["lifts"]}
    return [
        [name, *(_cell(metrics[metric], gaps.get((name, metric))) for metric in SHOWN)]
        for name, metrics in cold["arms"].items()
    ]


def cold_head(content: dict[str, Any]) -> list[str]:
    """Head of the table of `cold_rows`."""
    return ["Arm", *(f"{LABELS[metric]}@{content['k']}, and difference to the control" for metric in SHOWN)]


def cold_sentence(content: dict[str, Any]) -> str:
    """What the table is about."""
    cold = content["cold_videos"]
    return (
        f"New videos: {cold['relevant']:,} of the liked videos had been met by nobody before the cut; of "
        f"{cold['users']:,} user(s), with these alone as relevant."
    )


def cold_section(content: dict[str, Any]) -> str:
    """The table as HTML; empty where no cold video was liked."""
    if not content["cold_videos"]:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in cold_head(content))
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in cold_rows(content)
    )
    return (
        f"<p>{cold_sentence(content)}</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(mean: dict[str, Any], gap: dict[str, Any] | None) -> str:
    value = span(mean, "{:.4f}".format)
    if gap is None:
        return f"{value}, control"
    return f"{value}, {span(gap['absolute'], signed)}{' (clear)' if gap['clear'] else ''}"
