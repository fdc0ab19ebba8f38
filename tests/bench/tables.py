"""Writes the README's tables from the committed results, so that no figure there was typed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import ingest_tables, store_tables, understanding_tables
from tests.bench.record import RESULTS, ROOT

README = ROOT / "README.md"


def demo_world(result: dict[str, Any]) -> str:
    """Ranking quality on the frozen world, beside what chance, popularity and perfect knowledge reach."""
    given = result["parameters"]
    lines = [
        f"World {given['world']} (generator `{given['generator']}`), {given['videos']} clips, "
        f"{given['users']} users, seeds {', '.join(map(str, given['seeds']))}; "
        f"nDCG@{given['k']}, mean over seeds (lowest to highest).",
        "",
        "| arm | nDCG | of the way from popular to oracle |",
        "|---|---|---|",
    ]
    for arm in result["figures"]["arms"]:
        spread = f"{arm['ndcg']:.3f} ({arm['lowest']:.3f} to {arm['highest']:.3f})"
        share = "" if arm["closed"] is None else f"{arm['closed']:.0%}"
        lines.append(f"| {arm['name']} | {spread} | {share} |")
    return "\n".join(lines)


def tiktok(result: dict[str, Any]) -> str:
    """Recall and nDCG on the TikTok validation pairs."""
    figures = result["figures"]
    return "\n".join(
        [
            "| TikTok micro-video, validation | Recall@20 | NDCG@20 | seconds to train |",
            "|---|---|---|---|",
            f"| fused, visual and audio imported | {figures['recall']:.4f} | {figures['ndcg']:.4f} "
            f"| {figures['train_s']:.0f} |",
        ]
    )


TABLES: dict[str, Callable[..., str]] = {
    "demo_world": demo_world,
    "tiktok": tiktok,
    "ingest_bare": ingest_tables.bare,
    "ingest_rivals": ingest_tables.rivals,
    "ingest_memory": ingest_tables.memory,
    "ingest_startup": ingest_tables.startup,
    "planted_search": understanding_tables.planted_search,
    "planted_missing": understanding_tables.planted_missing,
    "tiktok_content": understanding_tables.tiktok_content,
    "encoders": understanding_tables.encoders,
    "store_rows": store_tables.rows,
    "store_accept": store_tables.accept,
    "point_in_time": store_tables.point_in_time,
    "forecast": store_tables.forecast,
}
SOURCES = {"encoders": ("esc10", "same_source", "encoder_speed")}
"""Results of a table that is made of several."""


def with_tables(text: str, results: Path = RESULTS) -> str:
    """The text with each block between `<!-- table:NAME -->` and `<!-- end -->` made anew."""

    def table(match: re.Match[str]) -> str:
        name = match["name"]
        read = [json.loads((results / f"{one}.json").read_text()) for one in SOURCES.get(name, (name,))]
        return f"<!-- table:{name} -->\n{TABLES[name](*read)}\n<!-- end -->"

    return re.sub(r"<!-- table:(?P<name>\w+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    made = with_tables(README.read_text())
    if "--check" in sys.argv:
        sys.exit(made != README.read_text())
    README.write_text(made)
