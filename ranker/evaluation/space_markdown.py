"""The report of a space as Markdown: the same numbers, without pictures."""

from __future__ import annotations

from typing import Any

from ranker.evaluation.space_words import (
    PROMISES,
    SHAPE,
    SPACES,
    TRUTHS,
    drift_rows,
    mask_name,
    plain_number,
    video_name,
)
from ranker.evaluation.words import EMPTY, span


def to_markdown(content: dict[str, Any]) -> str:
    """Verdict, warnings, masks, retrieval, shape, drift, conflicts and inputs."""
    parts = (
        f"# Embedding space: {_plain(content['name'])}",
        f"**{_plain(content['verdict']['sentence'])}**",
        "\n".join(f"- {_plain(warning['text'])}" for warning in content["warnings"]),
        "## Which modalities videos have",
        _table(
            ["Modalities", "Videos", "Share"],
            [[mask_name(m["modalities"]), f"{m['videos']:,}", f"{m['share']:.1%}"] for m in content["masks"]],
        ),
        f"## Share of what belongs together among the nearest {content['k']}",
        _retrieval(content["retrieval"]),
        "## Shape of the space",
        _table(
            ["Measure", *SPACES],
            [
                [name, *(plain_number((content["geometry"][s] or {}).get(key), how) for s in SPACES)]
                for key, name, _, how in SHAPE
            ],
        ),
        "## Since the space before",
        _drift(content["drift"]),
        "## Titles and sounds to look at",
        _conflicts(content["conflicts"]),
        f"Encoder `{content['space']['encoder_version']}`, seed {content['seed']}, made at "
        f"{content['created_at']}.",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _retrieval(found: dict[str, Any]) -> str:
    if not found["truths"]:
        return "Nothing says which videos belong together."
    return _table(
        ["Belong together by", *SPACES, "Chance (joint)"],
        [
            [
                TRUTHS[truth["name"]][0],
                *(_cell(truth["spaces"][name]) for name in SPACES),
                plain_number((truth["spaces"]["joint"] or {}).get("chance"), "{:.1%}"),
            ]
            for truth in found["truths"]
        ],
    )


def _cell(one: dict[str, Any] | None) -> str:
    return EMPTY if one is None else span(one, "{:.1%}".format)


def _drift(drift: dict[str, Any]) -> str:
    return drift["why"] or _table(
        ["What", "Value", "Note"], [[name, value, note] for name, note, value in drift_rows(drift)]
    )


def _conflicts(found: dict[str, Any]) -> str:
    if found["why"]:
        return str(found["why"])
    parts = []
    for name, (heading, _) in PROMISES.items():
        rows = [
            [one["video_id"], video_name(one), f"{one['fit']:.1%}", one["odd"]]
            for one in found[name]["videos"]
        ]
        parts += [
            f"### {heading}",
            _table(["Video", "Title", "Fit", "Odd"], rows) if rows else "None to list.",
        ]
    return "\n\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that cannot break out of its place in a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("\r", " ").replace("<", "&lt;")
