"""Point-in-time tables: against pandas `merge_asof` on the same columns, and streamed over two sizes of log.

    python -m tests.bench.point_in_time --scratch FOLDER

pandas is installed into an environment below the scratch folder. Each side runs in a process of its own, so
that its peak memory is its own; that all values are equal is checked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.contracts import DAY_MS, EVENTS, INTERACTIONS, TS, schema
from features.counter_table import lookup_counters
from features.training_set import Sharding, training_set
from features.videos import build_video_table
from tests.bench.record import write_result

SEED = 5
T0 = 1_767_225_600_000
DAYS = 30
SHARES = [0.5, 0.3, 0.05, 0.02, 0.01, 0.1, 0.02]
"""Of the kinds of EVENTS."""
LATE = 0.05
VIDEOS = 2_000
TOUCHED_GIB = 6
COLUMNS = ("users", "rows", "events", "ts_ms", "known_ms")
PEER = Path(__file__).with_name("point_in_time_pandas.py")


def columns_of(m: int) -> dict[str, np.ndarray[Any, Any]]:
    """A log of m events in order of time: users and videos by a power law, some late by up to an hour."""
    rng = np.random.default_rng(SEED)
    users = (rng.pareto(1.2, m) * m / 2000).astype(np.int64) % (m // 70 + 1)
    rows = (rng.pareto(1.0, m) * 200).astype(np.int64) % (m // 100 + 1)
    ts = T0 + np.sort(rng.integers(0, DAYS * DAY_MS, m))
    known = ts + np.where(rng.random(m) < LATE, rng.integers(0, 3_600_000, m), 0)
    events = rng.choice(len(EVENTS), m, p=SHARES).astype(np.uint8)
    return dict(zip(COLUMNS, (users, rows, events, ts, known), strict=True))


def look_up(folder: Path) -> dict[str, Any]:
    """Our side, in a child."""
    given = [np.load(folder / f"{name}.npy") for name in COLUMNS]
    begun = time.perf_counter()
    lookup_counters(*(column[:1000] for column in given))
    compile_s = time.perf_counter() - begun
    wall, cpu = time.perf_counter(), time.process_time()
    table = lookup_counters(*given)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, **peak()}
    spent["compile_s"] = compile_s
    names = ("user_events", "idle_ms", "activity")
    np.savez(folder / "ours.npz", **{name: getattr(table, name) for name in names})
    return spent


def write_log(folder: Path, m: int) -> None:
    """A log of m events below a folder, a file a day, as the store lays it out."""
    rng = np.random.default_rng(SEED)
    for day in range(DAYS):
        n = m // DAYS
        ts = T0 + day * DAY_MS + np.sort(rng.integers(0, DAY_MS, n))
        late = rng.random(n) < LATE
        frame = pl.DataFrame(
            {
                "event_key": pl.select(pl.int_range(n) + day * n).to_series().cast(pl.String),
                "user_id": pl.Series(rng.integers(0, m // 70, n)).cast(pl.String),
                "video_id": pl.Series(rng.integers(0, VIDEOS, n)).cast(pl.String),
                "event": pl.Series(rng.choice(EVENTS, n, p=SHARES)),
                "ts": pl.Series(ts).cast(TS),
                "order": np.arange(n) + day * n,
                "received_at": pl.Series(np.where(late, ts + rng.integers(0, 3_600_000, n), ts)).cast(TS),
                "watch_s": rng.uniform(0, 30, n).astype(np.float32),
                "device": pl.Series(rng.choice(["mobile", "tv"], n)),
            }
        )
        rest = [
            pl.lit(None, dtype).alias(name)
            for name, dtype in schema(INTERACTIONS).items()
            if name not in frame
        ]
        frame.with_columns(rest).select(schema(INTERACTIONS).names()).write_parquet(
            folder / f"{day:02d}.parquet"
        )


def stream(folder: Path) -> dict[str, Any]:
    """A whole training set, read once and dropped, in a child."""
    rng = np.random.default_rng(SEED)
    catalogue = pl.DataFrame(
        {
            "video_id": [str(i) for i in range(VIDEOS)],
            "video_key": np.arange(VIDEOS),
            "tags": [[f"t{i % 40}"] for i in range(VIDEOS)],
            "creator_id": [f"c{i % 90}" for i in range(VIDEOS)],
            "published_at": pl.Series(T0 - rng.integers(0, 90 * DAY_MS, VIDEOS)).cast(TS),
            "duration_s": rng.uniform(5, 60, VIDEOS),
        }
    )
    vectors = rng.normal(size=(VIDEOS, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    listed = pl.Series(vectors.tolist(), dtype=pl.List(pl.Float32))
    empty = pl.lit(None, pl.List(pl.Float32))
    embeddings = catalogue.select("video_id", "video_key").with_columns(
        visual=listed, audio=empty, text=empty
    )
    videos = build_video_table(catalogue, None, embeddings)
    log = pl.scan_parquet(sorted(folder.glob("*.parquet")))
    began, before, examples = time.perf_counter(), peak()["peak_gib"], 0
    for frame in training_set(
        log, catalogue, videos, sharding=Sharding(rows_a_shard=250_000), scratch=folder
    ):
        examples += len(frame)
    return {"examples": examples, "wall_s": time.perf_counter() - began, "before_gib": before, **peak()}


def peak() -> dict[str, float]:
    """Most memory that this program has held; `getrusage` would count what its parent held at the fork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {"peak_gib": next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20}


def touch(folder: Path) -> dict[str, Any]:
    """Warm-up: uses the memory once, so that neither side pays for a virtual machine's first touch."""
    return {"touched_gib": np.ones(TOUCHED_GIB << 27).sum() / 2**27, **peak()}


def against_pandas(scratch: Path, m: int) -> dict[str, Any]:
    """Both sides on the same log, and how many times quicker ours is."""
    folder = scratch / "columns"
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in columns_of(m).items():
        np.save(folder / f"{name}.npy", values)
    child("touch", folder)
    ours = child("look_up", folder)
    child("touch", folder)
    theirs = run([str(pandas_of(scratch)), str(PEER), str(folder)])
    mine, peer = np.load(folder / "ours.npz"), np.load(folder / "pandas.npz")
    equal = {name: bool(np.array_equal(mine[name], peer[name])) for name in mine.files}
    if not all(equal.values()):
        raise SystemExit(f"the two sides differ: {equal}")
    return {
        "rows": m,
        "ours": ours,
        "pandas": theirs,
        "equal": equal,
        "times_quicker_wall": theirs["wall_s"] / ours["wall_s"],
        "times_quicker_cpu": theirs["cpu_s"] / ours["cpu_s"],
    }


def streamed(scratch: Path, m: int) -> dict[str, Any]:
    folder = scratch / f"log-{m}"
    folder.mkdir(parents=True, exist_ok=True)
    write_log(folder, m)
    return {"rows": m, **child("stream", folder)}


def child(what: str, folder: Path) -> dict[str, Any]:
    return run([sys.executable, "-m", "tests.bench.point_in_time", "--child", what, "--scratch", str(folder)])


def run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} failed: {done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def pandas_of(scratch: Path) -> Path:
    """The interpreter of an environment with pandas, made on first use."""
    python = scratch / "pandas_env" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(scratch / "pandas_env")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "pandas"], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--stream-rows", type=int, nargs="*", default=[1_000_000, 4_000_000])
    parser.add_argument("--child", choices=["look_up", "stream", "touch"])
    args = parser.parse_args()
    if args.child:
        print(json.dumps({"look_up": look_up, "stream": stream, "touch": touch}[args.child](args.scratch)))
        return
    scratch = args.scratch.resolve()
    figures: dict[str, Any] = {"lookup": against_pandas(scratch, args.rows)}
    figures["streamed"] = [streamed(scratch, m) for m in args.stream_rows]
    parameters = {
        "seed": SEED,
        "rows": args.rows,
        "stream_rows": args.stream_rows,
        "late": LATE,
        "days": DAYS,
    }
    write_result("point_in_time", parameters, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
