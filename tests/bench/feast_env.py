"""Feast in an environment of its own, for comparison only: made by pip, driven by a script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

FEAST: Final = "feast[redis]==0.67.0"
SCRIPT: Final = Path(__file__).with_name("feast_script.py")


def feast_python(scratch: Path) -> Path:
    """Python of an environment that holds Feast; made where it is not there yet, which takes minutes."""
    home = scratch / "feast-environment"
    python, done = home / "bin" / "python", home / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", FEAST], check=True)
        done.write_text(FEAST + "\n")
    return python


def run_feast(scratch: Path, rows: Path, keys: list[int], port: int, repeats: int) -> dict[str, Any]:
    """What Feast takes for the same rows in the same Redis.

    Args:
        scratch: where the environment and Feast's registry are kept.
        rows: Parquet file with `video_key`, `event_timestamp` and the features.
        keys: of the rows that are read online.
        port: of the Redis on 127.0.0.1.
        repeats: of the online read, after 5 that warm up.

    Returns:
        `version`, `materialize_s`, `rows`, `online_s` (one figure a repeat) and `values`, rows in the order
        of `keys`, with which the caller checks that Feast read what was written.
    """
    order = {
        "rows": str(rows),
        "keys": keys,
        "port": port,
        "repeats": repeats,
        "home": str(scratch / "feast"),
    }
    done = subprocess.run(
        [str(feast_python(scratch)), str(SCRIPT)], input=json.dumps(order), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"Feast failed:\n{done.stderr[-3000:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said
