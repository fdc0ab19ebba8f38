"""The model card: what a bundle was made of, how it was measured, and what it is not for, in Markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

LIMITS = """Scores order the videos of one request; they are no probabilities and do not compare between
users. Measures count what users went on to like in the log, so they favour what was shown before. Videos and
users that came after training are ranked by content, by their own events and by popularity."""


def write_card(manifest: dict[str, Any]) -> str:
    """The card's text, made from the manifest alone."""
    return "\n\n".join(
        [
            "# Model card",
            _table(("made of", ""), _made_of(manifest)),
            "## How scores are made\n\n" + manifest["scorer"]["why"] + ".",
            _table(("source", "weight"), [(name, f"{w:.3f}") for name, w in manifest["weights"].items()]),
            "## Measured while training\n\n" + _measured(manifest),
            "## Limits\n\n" + LIMITS,
        ]
    ) + "\n"  # fmt: skip


def _made_of(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    window = manifest["training_window_ms"]
    span = f"{_day(window[0])} to {_day(window[1])}" if window[1] else "no times in the data"
    return [
        ("created", manifest["created_at"]),
        ("features", manifest["feature_version"]),
        ("encoder", manifest["encoder_version"] or "none"),
        ("space", manifest["space_version"] or "none"),
        ("videos", f"{manifest['videos']:,}"),
        ("users", f"{manifest['users']:,}"),
        ("events", f"{manifest['events']:,}"),
        ("positive pairs", f"{manifest['positive_pairs']:,}"),
        ("training window", span),
        ("held out", _held_out(manifest["holdout"])),
        ("item-item", f"{manifest['item_item']['method']}, decay {manifest['decay']}"),
        ("two-tower", f"{manifest['tower']['steps']} of {manifest['tower']['planned_steps']} steps"),
        ("fusion of modalities", manifest["settings"]["fusion"]),
        ("seed", str(manifest["settings"]["seed"])),
    ]


def _held_out(holdout: dict[str, Any]) -> str:
    if holdout["kind"] == "time":
        return f"all events from {_day(holdout['until_ms'])} on"
    if holdout["kind"] == "leave_last":
        return f"{holdout['n']} video(s) of {holdout['share']:.0%} of the users"
    return "nothing"


def _measured(manifest: dict[str, Any]) -> str:
    rows = [
        (f"{part}: {name}", f"{value:.4f}")
        for part, said in (("inner", manifest["inner"]["metrics"]), ("holdout", manifest["metrics"]))
        for name, value in said.items()
    ]
    if not rows:
        return "Nothing was held out, so nothing was measured."
    return _table(("measure", "value"), rows)


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
