"""Ingest against the ways in which people do this on Ray today: 16 frames of 60 s clips, the same encoder.

All sides take turns on the same silent 720p H.264 clips: sound costs nobody anything. Each turn has a run
over two clips as well: what a longer run takes beyond it is the steady state, without anybody's start.
Usage: python -m tests.bench.ingest_rivals --scratch DIR [--clips 12] [--repeats 2] [--peers DIR]
Runs repeats x (60 + clips x 8) seconds (5 minutes as given) on two cores; the clips take 3 minutes once.
Ray Data needs pandas, which ingest does not: `pip install --no-deps --target DIR pandas python-dateutil six`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Final

import numpy as np

from tests.bench.ingest_clock import Timed, run_module
from tests.bench.ingest_corpus import lengthen
from tests.bench.media import Recipe, make_clip
from tests.bench.record import ROOT, write_result

MASTERS: Final = 4
"""Distinct clips; the others are copies with other bytes."""
FEW: Final = 2
"""Clips of the short run: one a worker."""
SECONDS: Final = 60
FRAME_RATE: Final = 30
ENVIRONMENT: Final = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
DATA, ACTORS, INGEST = (
    "tests.bench.ingest_rival_data",
    "tests.bench.ingest_rival_actors",
    "tests.bench.ingest_arm",
)
ARMS: Final[dict[str, tuple[str, ...]]] = {
    "read_videos, as documented": (DATA, "--variant", "plain"),
    "read_videos, thinned and scaled": (DATA, "--variant", "thinned"),
    "actors with decord, 1 thread": (ACTORS, "--threads", "1"),
    "actors with decord, its threads": (ACTORS, "--threads", "0"),
    "ingest": (INGEST,),
}
"""Module and what it is told."""
DEFAULT_ARMS: Final = [arm for arm in ARMS if arm != "read_videos, as documented"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for media and workspaces")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--key-frame-s", type=float, default=2.0, help="between key frames (x264's own: 8.3)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=DEFAULT_ARMS)
    parser.add_argument("--peers", type=Path, help="folder of packages that only the rivals need")
    parser.add_argument("--ingest-set", nargs="*", default=[], metavar="FIELD=JSON", help="of IngestSettings")
    parser.add_argument("--name", default="ingest_rivals", help="of the result")
    args = parser.parse_args()
    folder = make_clips(args.scratch, args.clips, args.key_frame_s)
    few = make_clips(args.scratch, FEW, args.key_frame_s)
    for arm in args.arms:  # warm-up: code and media into the page cache
        run_arm(arm, few, args)
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in args.arms}
    for turn in range(args.repeats):
        for arm in args.arms if turn % 2 == 0 else reversed(args.arms):
            start, whole = run_arm(arm, few, args), run_arm(arm, folder, args)
            runs[arm].append(measure(start, whole, args.clips))
            print(arm, runs[arm][-1], flush=True)
    figures = {"arms": {arm: summary(rows) for arm, rows in runs.items()}, "ingest_to": ratios(runs)}
    given = {"clips": args.clips, "repeats": args.repeats, "seconds": SECONDS, "height": 720, "workers": 2}
    given |= {"key_frame_s": args.key_frame_s, "ingest_set": args.ingest_set}
    print(write_result(args.name, given, figures).read_text())


def make_clips(scratch: Path, clips: int, key_frame_s: float) -> Path:
    """A folder of so many silent 720p clips with bytes of their own."""
    folder = scratch / f"rivals-{clips}-{key_frame_s:g}"
    if folder.exists():
        return folder
    aside = folder.with_name(f"making-{folder.name}")
    aside.mkdir(parents=True, exist_ok=True)
    for number in range(clips):
        recipe = Recipe(
            SECONDS, 1280, 720, FRAME_RATE, key_frame_s=key_frame_s, sound=False, seed=100 + number % MASTERS
        )
        lengthen(make_clip(recipe, scratch / "masters"), aside / f"{number:04d}.mp4", number)
    aside.rename(folder)
    return folder


def run_arm(arm: str, folder: Path, args: argparse.Namespace) -> Timed:
    """One run from process start to process end."""
    module, *told = ARMS[arm]
    if module == INGEST:
        workspace = args.scratch / "rivals-workspace"
        shutil.rmtree(workspace, ignore_errors=True)
        told = [str(workspace), *(word for given in args.ingest_set for word in ("--set", given))]
    elif module == DATA:
        told += ["--clip-frames", str(SECONDS * FRAME_RATE)]
    peers = {"PYTHONPATH": f"{ROOT}:{args.peers}"} if args.peers and module == DATA else {}
    return run_module(module, str(folder), *told, environment={**ENVIRONMENT, **peers})


def measure(start: Timed, whole: Timed, clips: int) -> dict[str, float]:
    """Rates of one turn, clips a second, and what its longer run cost, s."""
    return {
        "clips_per_s": round(clips / whole.wall_s, 4),
        "steady_clips_per_s": round((clips - FEW) / (whole.wall_s - start.wall_s), 4),
        "steady_clips_per_cpu_s": round((clips - FEW) / (whole.cpu_s - start.cpu_s), 4),
        "wall_s": round(whole.wall_s, 2),
        "cpu_s": round(whole.cpu_s, 2),
    }


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the repeats."""
    return {name: round(float(np.median([row[name] for row in rows])), 4) for name in rows[0]}


def ratios(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """How many times faster ingest is than each rival: median over the turns."""
    ours = runs.get("ingest", [])
    return {
        arm: {
            rate: round(float(np.median([a[rate] / b[rate] for a, b in zip(ours, rows, strict=True)])), 3)
            for rate in ("clips_per_s", "steady_clips_per_s", "steady_clips_per_cpu_s")
        }
        for arm, rows in runs.items()
        if arm != "ingest" and ours
    }


if __name__ == "__main__":
    main()
