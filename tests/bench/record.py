"""One benchmark's result as JSON: parameters, figures, commit and machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[2]


def write_result(name: str, parameters: dict[str, Any], figures: Any) -> Path:
    """Writes `results/<name>.json` and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    said = {
        "name": name,
        "parameters": parameters,
        "figures": figures,
        "commit": commit(),
        "machine": machine(),
    }
    path.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    return path


def commit() -> str:
    """Short hash of the checkout, with a mark where it has uncommitted changes."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ":!tests/bench/results", ":!README.md")
    return git("rev-parse", "--short", "HEAD") + ("+changes" if dirty else "")


def machine() -> dict[str, Any]:
    """What the figures were taken on, without its name."""
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    cores = len(os.sched_getaffinity(0))
    return {"cores": cores, "memory_gib": round(memory_kib / 2**20), "python": platform.python_version()}
