"""Resident memory of a worker and its decoder child: on one long film, and over thousands of files.

`film`: peaks of both on ten minutes of 1080p H.264 with AAC, by the kernel's own high-water marks.
`flat`: how much both grow over thousands of short clips, with the child recycled and without.
Usage: python -m tests.bench.ingest_memory --scratch DIR [--files 2000] [--film-s 600] [--skip film|flat]
Runs about 20 s for the film and 0.1 s for each short clip, twice; media take 3 minutes once.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.ingest_clock import Timed, run_module
from tests.bench.ingest_corpus import lengthen, repeat
from tests.bench.ingest_resident import MIB, Watch, watching
from tests.bench.media import Recipe, make_clip
from tests.bench.record import write_result

SHORT_CLIPS: Final = 20
"""Distinct short clips; the others are copies with other bytes."""
WARM_SHARE: Final = 0.25
"""Of the files, after which growth counts: caches, heaps and code are loaded by then."""
PART_S: Final = 60.0
"""The film is this many seconds, again and again."""
ENVIRONMENT: Final = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for media and workspaces")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--film-s", type=float, default=600.0)
    parser.add_argument("--skip", nargs="*", choices=("film", "flat"), default=[])
    parser.add_argument("--name", default="ingest_memory", help="of the result")
    args = parser.parse_args()
    figures: dict[str, Any] = {}
    if "film" not in args.skip:
        figures["film"] = film(args.scratch, args.film_s)
    if "flat" not in args.skip:
        folder = make_short_clips(args.scratch, args.files)
        figures["flat_recycled"] = flat(folder, args.scratch)
        figures["flat_never_recycled"] = flat(folder, args.scratch, "--never-recycle")
    given = {"files": args.files, "film_s": args.film_s, "warm_share": WARM_SHARE, "workers": 1}
    print(write_result(args.name, given, figures).read_text())


def film(scratch: Path, film_s: float) -> dict[str, float]:
    """Peaks while one long film is ingested, MiB."""
    folder = scratch / f"film-{film_s:g}"
    if not folder.exists():
        part = make_clip(Recipe(PART_S, 1920, 1080, key_frame_s=4, seed=21), scratch / "masters")
        aside = folder.with_name(f"making-{folder.name}")
        aside.mkdir(parents=True, exist_ok=True)
        repeat(part, aside / "film.mp4", round(film_s / PART_S))
        aside.rename(folder)
    watch, timed = watched_run(folder, scratch, 0.03)
    return {**peaks(watch), "wall_s": round(timed.wall_s, 1)}


def flat(folder: Path, scratch: Path, *told: str) -> dict[str, float]:
    """Growth in MiB for every 1,000 files, and peaks, MiB."""
    watch, timed = watched_run(folder, scratch, 0.2, *told)
    done = np.sort(timed.said["done"])
    files = np.searchsorted(done, watch.times)
    warm = (files >= WARM_SHARE * len(done)) & (files < len(done))  # after the last file all is taken down
    return {
        "worker_growth": growth(files[warm], np.array(watch.workers)[warm]),
        "child_growth": growth(files[warm], np.array(watch.children)[warm]),
        **peaks(watch),
        "decoder_processes": len(watch.child_pids),
        "files_per_s": round(len(done) / timed.wall_s, 2),
    }


def growth(files: Any, resident: Any) -> float:
    """Slope of the least-squares line, MiB for every 1,000 files."""
    return round(float(np.polyfit(files / 1000.0, resident / MIB, 1)[0]), 2)


def peaks(watch: Watch) -> dict[str, float]:
    """Highest resident memory of a worker, of a child and of both, MiB."""
    return {
        "worker_peak": round(watch.worker_peak / MIB, 1),
        "child_peak": round(watch.child_peak / MIB, 1),
        "together_peak": round(watch.together_peak / MIB, 1),
    }


def watched_run(folder: Path, scratch: Path, every_s: float, *told: str) -> tuple[Watch, Timed]:
    """Ingest with one worker into an empty workspace, and what was seen of its processes."""
    workspace = scratch / "memory-workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    with watching(every_s) as watch:
        timed = run_module(
            "tests.bench.ingest_arm",
            str(folder),
            str(workspace),
            "--workers",
            "1",
            *told,
            environment=ENVIRONMENT,
        )
    counts = timed.said["counts"]
    if counts["embedded"] != counts["listed"]:
        raise RuntimeError(f"not every file was embedded: {counts}")
    return watch, timed


def make_short_clips(scratch: Path, files: int) -> Path:
    """A folder of so many clips of two seconds, 180p to 360p, with bytes of their own."""
    folder = scratch / f"short-{files}"
    if folder.exists():
        return folder
    aside = folder.with_name(f"making-{folder.name}")
    aside.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        kind = number % SHORT_CLIPS
        height = (180, 240, 360)[kind % 3]
        recipe = Recipe(2.0, height * 16 // 9 // 2 * 2, height, seed=200 + kind)
        lengthen(make_clip(recipe, scratch / "masters"), aside / f"{number:05d}.mp4", number)
    aside.rename(folder)
    return folder


if __name__ == "__main__":
    main()
