"""How long the command takes before it does anything, and when there is nothing to do.

`first_clip`: `reelrank ingest` of one short clip from process start to process end, Ray included: the first
frame is decoded well before. `names`: a directory of 100,000 names (hard links of a few files): the run that
embeds them all, and the run after it.
Usage: python -m tests.bench.ingest_startup --scratch DIR [--names 100000] [--repeats 3] [--profile FILE]
Runs half a minute for the first clip, and for the names as long as the first run takes, 2 minutes or so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.ingest_clock import Timed, run_timed
from tests.bench.media import Recipe, make_clip
from tests.bench.record import write_result

CONTENTS: Final = 20
"""Distinct files that the names are links to."""
ENVIRONMENT: Final = {"OMP_WAIT_POLICY": "PASSIVE", "RAY_USAGE_STATS_ENABLED": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for media and workspaces")
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument(
        "--repeats", type=int, default=3, help="of the first clip and of the run with nothing to do"
    )
    parser.add_argument("--profile", type=Path, help="where cProfile of the first run over the names goes")
    parser.add_argument("--name", default="ingest_startup", help="of the result")
    args = parser.parse_args()
    figures: dict[str, Any] = {"first_clip": first_clip(args.scratch, args.repeats)}
    if args.names:
        figures["names"] = names(args.scratch, args.names, args.repeats, args.profile)
    given = {"names": args.names, "contents": CONTENTS, "repeats": args.repeats}
    print(write_result(args.name, given, figures).read_text())


def first_clip(scratch: Path, repeats: int) -> dict[str, Any]:
    """Wall and processor time of the command over one clip, s; the first run, which warms up, is left out."""
    source = scratch / "one-clip"
    source.mkdir(parents=True, exist_ok=True)
    clip = make_clip(small(0), scratch / "masters")
    link(clip, source / clip.name)
    return figures_of([ingest(source, scratch / "one-workspace") for _ in range(repeats + 1)][1:])


def names(scratch: Path, count: int, repeats: int, profile: Path | None) -> dict[str, Any]:
    """The run that embeds all names, and runs that find nothing to do, s."""
    source, workspace = make_names(scratch, count), scratch / "names-workspace"
    embeds = ingest(source, workspace, profile=profile)
    nothing = [ingest(source, workspace, afresh=False) for _ in range(repeats)]
    if embeds.said["embedded"] != count or any(run.said["skipped"] != count for run in nothing):
        raise RuntimeError(f"the runs did other work: {embeds.said}, then {nothing[0].said}")
    return {"embeds": figures_of([embeds]), "nothing_to_do": figures_of(nothing)}


def ingest(source: Path, workspace: Path, *, afresh: bool = True, profile: Path | None = None) -> Timed:
    """`reelrank ingest`, as a person types it."""
    if afresh:
        shutil.rmtree(workspace, ignore_errors=True)
    profiled = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiled, "-m", "infra.cli", "ingest", str(source)]
    return run_timed([*command, "--workspace", str(workspace), "--json"], ENVIRONMENT)


def figures_of(runs: list[Timed]) -> dict[str, Any]:
    """Median of wall and processor time, s, and the wall time of each run."""
    return {
        "wall_s": round(float(np.median([run.wall_s for run in runs])), 2),
        "cpu_s": round(float(np.median([run.cpu_s for run in runs])), 2),
        "each_wall_s": [round(run.wall_s, 2) for run in runs],
    }


def make_names(scratch: Path, count: int) -> Path:
    """A directory of so many hard links, 1,000 in a folder."""
    folder = scratch / f"names-{count}"
    if folder.exists():
        return folder
    aside = folder.with_name(f"making-{folder.name}")
    clips = [make_clip(small(seed), scratch / "masters") for seed in range(CONTENTS)]
    for number in range(count):
        target = aside / f"{number // 1000:03d}" / f"{number:06d}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        link(clips[number % CONTENTS], target)
    aside.rename(folder)
    return folder


def small(seed: int) -> Recipe:
    """A clip of two seconds that encodes and decodes quickly."""
    return Recipe(2.0, 320, 180, seed=200 + seed)


def link(source: Path, target: Path) -> None:
    if not target.exists():
        target.hardlink_to(source)


if __name__ == "__main__":
    main()
