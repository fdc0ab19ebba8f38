"""The report as Markdown, for a pull request or a terminal: the same numbers, without pictures."""

from __future__ import annotations

from typing import Any

from ranker.evaluation.cold import cold_head, cold_rows, cold_sentence
from ranker.evaluation.metrics import LABELS, METRICS
from ranker.evaluation.words import percent, signed


def to_markdown(content: dict[str, Any]) -> str:
    """Verdict, warnings, metrics, lifts, slices and inputs."""
    k, data = content["k"], content["data"]
    parts = [
        f"# Offline A/B: {_plain(content['name'])}",
        f"**{_plain(content['verdict']['sentence'])}**",
        f"{data['users']:,} users, {data['relevant']:,} liked videos, catalogue of {data['videos']:,}; "
        f"held out: {data['holdout']['words']}.",
        "\n".join(f"- {_plain(warning['text'])}" for warning in content["warnings"]),
        _table(
            ["Metric", *(arm["name"] for arm in content["arms"])],
            [[f"{LABELS[m]}@{k}", *(_cell(arm["metrics"][m]) for arm in content["arms"])] for m in METRICS],
        ),
        f"## Lift over {_plain(content['arms'][0]['name'])}",
        _table(
            ["Arm", "Metric", "Difference", "Lift", "Clear"],
            [
                [
                    one["arm"],
                    f"{LABELS[one['metric']]}@{k}",
                    _cell(one["absolute"], signed),
                    _cell(one["relative"], percent),
                    "yes" if one["clear"] else "no",
                ]
                for one in content["lifts"]
            ],
        ),
        f"## {LABELS[content['primary']]}@{k} by events before the cut",
        _table(
            ["Events", "Users", *content["by_history"]["arms"]],
            [
                [name, f"{users:,}", *(_cell(arm[i]) for arm in content["by_history"]["arms"].values())]
                for i, (name, users) in enumerate(
                    zip(content["by_history"]["slices"], content["by_history"]["users"], strict=True)
                )
            ],
        ),
        *_cold(content),
        f"Inputs: `{content['inputs']['hash']}`, features `{content['inputs']['feature_version']}`, seed "
        f"{content['seed']}, made at {content['created_at']}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cold(content: dict[str, Any]) -> list[str]:
    if not content["cold_videos"]:
        return []
    return ["## New videos", cold_sentence(content), _table(cold_head(content), cold_rows(content))]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _cell(estimate: dict[str, Any] | None, write: Any = "{:.4f}".format) -> str:
    if estimate is None:
        return "none"
    if estimate["low"] is None:
        return str(write(estimate["value"]))
    return f"{write(estimate['value'])} [{write(estimate['low'])}, {write(estimate['high'])}]"


def _plain(text: str) -> str:
    """Text that cannot break out of its place in a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
