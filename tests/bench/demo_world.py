"""The whole nightly job on frozen demo worlds, beside chance, popularity and an oracle that knows the tastes.

Each seed is a world of its own, rendered to media and ingested. nDCG@10 is over users who enjoy a new video
in the held-out days, the whole catalogue ranked less what they had seen. `python -m tests.bench.demo_world`.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from features.redis_server import private_redis
from infra.demo import WORLD_VERSION, World, generate_world, generator_hash
from infra.demo.log import simulate
from infra.demo.truth import difficulty
from infra.demo.world import HELD_OUT_DAYS
from infra.nightly import run_nightly
from infra.progress import Stages
from infra.settings import NightlySettings
from tests.bench.record import write_result

SEEDS = (101, 102, 103)
VIDEOS, USERS, DAYS, K = 120, 600, 30, 10
OTHERS = "content-popular-fresh-trees"
ARMS = (
    "popular=popular",
    "fused=current",
    "no-trees=current-trees",
    "no-visual=current-visual",
    "no-audio=current-audio",
    "no-text=current-text",
    f"two-tower=current-item-item-{OTHERS}",
    f"item-item=current-two-tower-{OTHERS}",
    "random=random",
)


def one_world(seed: int) -> dict[str, Any]:
    """nDCG of every arm, of the oracle, and the seconds of the night."""
    world = World(seed, VIDEOS, USERS, DAYS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = generate_world(world, root / "world")
        with private_redis(root / "redis") as url:
            settings = NightlySettings(
                workspace=str(root / "ws"), videos=str(files.manifest), events=(str(files.interactions),),
                redis_url=url, holdout_days=HELD_OUT_DAYS, k=K, arms=ARMS,
            )  # fmt: skip
            began = time.perf_counter()
            result = run_nightly(settings, Stages(Console(quiet=True)))
            seconds = time.perf_counter() - began
        assert result.report is not None
        said = json.loads((result.report.parent / "report.json").read_text())
    ndcg = {arm["name"]: arm["metrics"]["ndcg"]["value"] for arm in said["arms"]}
    known = difficulty(world, simulate(world))
    return {
        "seed": seed,
        "seconds": seconds,
        "ndcg": {**ndcg, "oracle": known["oracle"]},
        "difficulty": known,
    }


def summary(worlds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each arm's mean, lowest and highest nDCG, and its share of the way from popular to the oracle."""
    rows = []
    for name in worlds[0]["ndcg"]:
        values = [world["ndcg"][name] for world in worlds]
        floor, ceiling = (np.mean([world["ndcg"][end] for world in worlds]) for end in ("popular", "oracle"))
        closed = None if name == "random" else float((np.mean(values) - floor) / (ceiling - floor))
        ends = {"lowest": min(values), "highest": max(values)}
        rows.append({"name": name, "ndcg": float(np.mean(values)), **ends, "closed": closed})
    return sorted(rows, key=lambda row: row["ndcg"])


def main() -> None:
    worlds = [one_world(seed) for seed in SEEDS]
    arms = summary(worlds)
    given = {
        "world": WORLD_VERSION, "generator": generator_hash(), "seeds": SEEDS, "videos": VIDEOS,
        "users": USERS, "days": DAYS, "k": K,
    }  # fmt: skip
    night_s = float(np.median([world["seconds"] for world in worlds]))
    write_result("demo_world", given, {"arms": arms, "night_s": night_s, "worlds": worlds})
    print(json.dumps({"arms": arms, "night_s": night_s}, indent=1))
    fused = next(row for row in arms if row["name"] == "fused")
    print(f"generator {generator_hash()}: fused closes {fused['closed']:.2f} of popular to oracle")


if __name__ == "__main__":
    main()
