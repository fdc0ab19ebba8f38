"""Users who are shown as examples in reports: the example goes, and the pages are made anew without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from features.workspace import Workspace

WriteReport = Callable[[dict[str, Any], Path], None]
"""Writes a report's content, and its pages, into its directory."""


def reports_showing(workspace: Workspace, ids: Sequence[str]) -> list[str]:
    """Names of the reports that show a user of one of these ids."""
    paths = sorted((workspace.root / "reports").glob("*/report.json"))
    return [path.parent.name for path in paths if _shown(json.loads(path.read_text()), ids)]


def drop_examples(workspace: Workspace, name: str, ids: Sequence[str], write: WriteReport) -> None:
    """Writes a report anew without the examples of a user; safe to repeat where it was cut off."""
    directory = workspace.report(name)
    content = json.loads((directory / "report.json").read_text())
    shown = _shown(content, ids)
    left = [one for one in content.get("examples", []) if one not in shown]
    write({**content, "examples": left}, directory)


def _shown(content: dict[str, Any], ids: Sequence[str]) -> list[dict[str, Any]]:
    return [one for one in content.get("examples", []) if one.get("user_id") in ids]
