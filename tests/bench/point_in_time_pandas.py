"""The peer of `point_in_time`: the same columns by pandas `groupby` and `merge_asof`.

Run by the benchmark in an environment of its own: `python point_in_time_pandas.py FOLDER` reads the columns
of a log there and writes `pandas.npz` and one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

KINDS = 7
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
COUNTS = [f"n{kind}" for kind in range(KINDS)]


def main(folder: Path) -> None:
    names = ("users", "rows", "events", "ts_ms", "known_ms")
    frame = pd.DataFrame({name: np.load(folder / f"{name}.npy") for name in names})
    began, began_cpu = time.perf_counter(), time.process_time()
    users, idle = of_users(frame)
    activity = of_videos(frame)
    spent = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - began_cpu}
    np.savez(folder / "pandas.npz", user_events=users, idle_ms=idle, activity=activity)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak_kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    print(json.dumps({**spent, "peak_gib": peak_kib / 2**20, "pandas": pd.__version__}))


def of_users(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    arrived = running(frame, "users")
    arrived["newest"] = arrived["ts_ms"].where(arrived["events"] != 0).groupby(arrived["users"]).cummax()
    arrived["newest"] = arrived["newest"].groupby(arrived["users"]).ffill()
    asked = frame[["users", "ts_ms"]].reset_index().sort_values("ts_ms")
    found = pd.merge_asof(
        asked,
        arrived[["users", "known_ms", "newest", *COUNTS]],
        left_on="ts_ms",
        right_on="known_ms",
        by="users",
        allow_exact_matches=False,
    ).sort_values("index")
    idle = (found["ts_ms"] - found["newest"]).fillna(-1).astype(np.int64)
    return found[COUNTS].fillna(0).astype(np.int32).to_numpy(), idle.to_numpy()


def of_videos(frame: pd.DataFrame) -> np.ndarray:
    arrived = running(frame, "rows")[["rows", "known_ms", *COUNTS]]
    mark = (frame["ts_ms"] // MINUTE_MS - 1) * MINUTE_MS
    hour = mark // HOUR_MS * HOUR_MS
    asked = pd.DataFrame(
        {"rows": frame["rows"], "mark": mark, "day": hour - 23 * HOUR_MS, "hours": hour - HOUR_MS}
    )
    asked = asked.reset_index().sort_values("mark")  # the other instants rise with it
    counts = {at: as_of(asked, arrived, at) for at in ("mark", "day", "hours")}
    spans = np.concatenate([counts["mark"] - counts["day"], counts["mark"] - counts["hours"]], axis=1)
    out = np.empty_like(spans)
    out[asked["index"].to_numpy()] = spans
    return out


def as_of(asked: pd.DataFrame, arrived: pd.DataFrame, at: str) -> np.ndarray:
    found = pd.merge_asof(
        asked[["rows", at]], arrived, left_on=at, right_on="known_ms", by="rows", allow_exact_matches=False
    )
    return found[COUNTS].fillna(0).astype(np.int32).to_numpy()


def running(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """The events in the order they were known, with running counts by kind of their user or video."""
    arrived = frame.sort_values("known_ms")
    kinds = pd.DataFrame(
        {name: (arrived["events"] == kind).astype(np.int32) for kind, name in enumerate(COUNTS)}
    )
    return pd.concat([arrived, kinds.groupby(arrived[by]).cumsum()], axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
