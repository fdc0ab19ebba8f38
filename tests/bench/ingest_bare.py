"""Throughput of ingest against a bare loop around its decoder, on this machine, in turns.

End to end is from the start of a process to its end: with Ray's start and the table's commit for ingest, with
its interpreters' start for the loop. Steady state leaves out both starts: by the clock from the first
finished files on, and by processor time beyond that of a run over those files alone.

Usage: python -m tests.bench.ingest_bare --scratch DIR [--files 160] [--repeats 3] [--real DIR] [--arms ...]
Runs repeats x arms x files / 5 seconds (5 minutes as given) on two cores; the corpus takes 8 minutes once.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.ingest_clock import Timed, run_module
from tests.bench.ingest_corpus import make_corpus
from tests.bench.record import write_result

REAL: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"
ARMS: Final[dict[str, tuple[str, ...] | None]] = {
    "bare loop": None,
    "ingest without extras": ("--set", "extras=false"),
    "ingest": (),
}
"""What ingest is told beyond its defaults; None is the loop."""
FEW: Final = 8
"""Files whose end counts as that of a side's start."""
ENVIRONMENT: Final = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for media and workspaces")
    parser.add_argument("--files", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--real", type=Path, default=REAL, help="folder of real clips to mix in")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--name", default="ingest_bare", help="of the result")
    args = parser.parse_args()
    corpus = make_corpus(args.scratch, args.files, real=args.real)
    few = make_corpus(args.scratch, FEW, real=args.real)  # the corpus's first files, for the seed is the same
    warm_up(args.arms, few, corpus, args.scratch)
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in args.arms}
    for turn in range(args.repeats):
        for arm in args.arms if turn % 2 == 0 else reversed(args.arms):  # nobody always comes first
            start, whole = run_arm(arm, few, args.scratch), run_arm(arm, corpus, args.scratch)
            runs[arm].append(measure(start, whole, args.files))
            print(arm, {name: round(value, 3) for name, value in runs[arm][-1].items()}, flush=True)
    figures = {"arms": {arm: summary(rows) for arm, rows in runs.items()}, "to_bare": ratios(runs)}
    given = {
        "files": args.files,
        "repeats": args.repeats,
        "workers": 2,
        "frames": 16,
        "first_files": FEW,
    }
    print(write_result(args.name, given, figures).read_text())


def warm_up(arms: list[str], few: Path, corpus: Path, scratch: Path) -> None:
    """Code and media into the page cache, so that no side pays for the other's first reading."""
    for path in corpus.iterdir():
        path.read_bytes()
    for arm in arms:
        run_arm(arm, few, scratch)


def run_arm(arm: str, corpus: Path, scratch: Path) -> Timed:
    """One run from nothing: an empty workspace, or a file for the descriptors."""
    told = ARMS[arm]
    if told is None:
        return run_module(
            "tests.bench.bare_decord", str(corpus), str(scratch / "bare.npz"), environment=ENVIRONMENT
        )
    workspace = scratch / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    timed = run_module("tests.bench.ingest_arm", str(corpus), str(workspace), *told, environment=ENVIRONMENT)
    counts = timed.said["counts"]
    if counts["embedded"] != counts["listed"]:
        raise RuntimeError(f"the sides did not do the same work: {counts}")
    return timed


def measure(start: Timed, whole: Timed, files: int) -> dict[str, float]:
    """Rates of one turn, files a second, and what its longer run cost, s."""
    done = sorted(whole.said["done"])
    end = whole.said.get("end", done[-1])
    return {
        "files_per_s": files / whole.wall_s,
        "steady_files_per_s": (files - FEW) / (end - done[FEW - 1]),
        "steady_files_per_cpu_s": (files - FEW) / (whole.cpu_s - start.cpu_s),
        "wall_s": whole.wall_s,
        "cpu_s": whole.cpu_s,
        "until_first_file_s": done[0] - whole.started,
    }


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the repeats."""
    return {name: round(float(np.median([row[name] for row in rows])), 3) for name in rows[0]}


def ratios(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Rates of each arm in units of the loop's in the same turn: median, and all turns."""
    bare = runs.get("bare loop", [])
    found: dict[str, Any] = {}
    for arm, rows in runs.items():
        for rate in ("files_per_s", "steady_files_per_s", "steady_files_per_cpu_s"):
            turns = [row[rate] / loop[rate] for row, loop in zip(rows, bare, strict=False)]
            if arm != "bare loop" and turns:
                each = [round(turn, 3) for turn in turns]
                found.setdefault(arm, {})[rate] = {"median": round(float(np.median(turns)), 3), "turns": each}
    return found


if __name__ == "__main__":
    main()
