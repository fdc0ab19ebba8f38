"""The memory forecast against what Redis reports, in one run: users and videos foretold, then really loaded.

Run: `python -m tests.bench.forecast [--users 100000] [--videos 100000]`. Must: within 10 % of the growth of
`used_memory_dataset`.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from features.memory.forecast import held_by
from features.memory.measure import SIZES, Memory, measure, measuring_server, read_memory
from features.memory.sample import Shapes, load_sample_users, load_sample_videos
from tests.bench.record import write_result

SEED = 7
BOUND = 0.10
FIRST = 10_000_000
"""Number of the first user that is really loaded: none of them was measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--videos", type=int, default=100_000)
    args = parser.parse_args()
    figures = run(args.users, args.videos)
    path = write_result(
        "forecast",
        {"users": args.users, "videos": args.videos, "seed": SEED, "measured_at": SIZES, "bound": BOUND},
        figures,
    )
    print(json.dumps(figures, indent=1))
    print(f"written {path}")


def run(users: int, videos: int) -> dict[str, Any]:
    """Foretold and found bytes, and their ratios."""
    shapes, others = draw_shapes(20_000, SEED), draw_shapes(users, SEED + 1)
    began = time.perf_counter()
    measured = measure(shapes, window_events=20)
    spent = time.perf_counter() - began
    foretold = held_by(measured, users, videos)
    empty, full = load(others, users, videos)
    base = measured.base
    return {
        "server": measured.server,
        "measuring_s": round(spent, 1),
        "bytes_a_user": round(measured.user.used, 1),
        "bytes_a_video": round(measured.video.used, 1),
        "dataset": compared(foretold.dataset - base.dataset, full.dataset - empty.dataset),
        "used_memory": compared(foretold.total - base.total, full.used - empty.used),
        "keys": full.keys,
        "events_a_history": round(float(shapes.lengths.mean()), 1),
    }


def draw_shapes(n: int, seed: int) -> Shapes:
    """Users as logs have them: many with a short history, some with a full one; ids of 8 to 36 bytes."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.lognormal(3.0, 1.2, n).astype(np.int64), 100)
    return Shapes(lengths, rng.integers(8, 37, len(lengths)))


def load(shapes: Shapes, users: int, videos: int) -> tuple[Memory, Memory]:
    """What a server holds before and after."""
    with measuring_server() as (store, client):
        empty = read_memory(client)
        load_sample_users(store, shapes, FIRST, FIRST + users)
        load_sample_videos(store, videos)
        return empty, read_memory(client)


def compared(foretold: float, found: float) -> dict[str, Any]:
    """Both in bytes, their ratio, and whether it is within the bound."""
    ratio = foretold / found
    return {
        "foretold": round(foretold),
        "found": round(found),
        "foretold_over_found": round(ratio, 4),
        "within_bound": abs(ratio - 1) <= BOUND,
    }


if __name__ == "__main__":
    main()
