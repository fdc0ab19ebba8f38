"""README tables of the feature store, from its benchmarks' results."""

from __future__ import annotations

from typing import Any


def rows(result: dict[str, Any]) -> str:
    """Loading and reading feature rows."""
    load, read, feast = (result["figures"][name] for name in ("load", "read", "feast"))
    given = result["parameters"]
    return "\n".join(
        [
            f"{given['rows']:,} rows of {given['columns']} float32 columns; Redis "
            f"{result['figures']['redis']} on loopback, Feast {feast['version']}; medians.",
            "",
            "| | this store | bare protocol | Feast | against bare | against Feast |",
            "|---|---|---|---|---|---|",
            f"| bulk load, encoding included, rows/s | {load['ours_rows_s']['median']:,.0f} "
            f"| {load['bare_rows_s']['median']:,.0f} | {feast['materialize_rows_s']:,} "
            f"| {load['ours_over_bare']['median']:.2f}x | {load['ours_over_feast']:.0f}x |",
            f"| one user's record and row, and 500 videos' rows, ms | {read['ours_ms']['p50']:.2f} "
            f"| {read['bare_ms']['p50']:.2f} (rows alone) | {feast['online_ms']['p50']:.0f} (rows alone) "
            f"| {read['ours_over_bare']:.2f} times as long | {read['feast_over_ours']:.0f}x |",
        ]
    )


def accept(result: dict[str, Any]) -> str:
    """How soon an accepted event is readable elsewhere."""
    given = result["parameters"]
    lines = [
        f"{given['rate']:,} events a second, open loop, {given['repeated']:.0%} of them repeats, for "
        f"{given['seconds']:.0f} s; every tenth is read on another connection.",
        "",
        "| | read after the accept, ms (p50, p99) | there at the first read | store client, Redis |",
        "|---|---|---|---|",
    ]
    for name, words in (("one_core", "store client and Redis share one core"), ("free", "two cores")):
        found = result["figures"][name]
        visible = found["return_to_visible_ms"]
        lines.append(
            f"| {words} | {visible['p50']:.2f}, {visible['p99']:.2f} "
            f"| {found['there_at_the_first_read']:.1%} "
            f"| {found['store_client_core']:.2f} and {found['redis_core']:.2f} of a core |"
        )
    return "\n".join(lines)


def point_in_time(result: dict[str, Any]) -> str:
    """Whole counts as of every row, and a streamed training set."""
    lookup, streamed = result["figures"]["lookup"], result["figures"]["streamed"]
    ours, peer = lookup["ours"], lookup["pandas"]
    lines = [
        f"| counters, idle time and activity as of each of {lookup['rows']:,} rows | seconds | peak GiB |",
        "|---|---|---|",
        f"| this store (compiled in {ours['compile_s']:.0f} s before) | {ours['wall_s']:.1f} "
        f"| {ours['peak_gib']:.1f} |",
        f"| pandas {peer['pandas']}, `merge_asof`, the same values | {peer['wall_s']:.1f} "
        f"| {peer['peak_gib']:.1f} |",
        f"| quicker by | {lookup['times_quicker_wall']:.1f}x | |",
        "",
        "| a training set of all features, streamed, from a log of | examples/s | peak GiB |",
        "|---|---|---|",
    ]
    lines += [
        f"| {one['rows']:,} rows | {one['examples'] / one['wall_s']:,.0f} | {one['peak_gib']:.2f} |"
        for one in streamed
    ]
    return "\n".join(lines)


def forecast(result: dict[str, Any]) -> str:
    """What `reelrank plan` foretold, and what Redis said."""
    found = result["figures"]
    lines = [
        "| 100,000 users and 100,000 videos, MB | foretold | Redis reports | ratio |",
        "|---|---|---|---|",
    ]
    for name in ("dataset", "used_memory"):
        one = found[name]
        lines.append(
            f"| {name} | {one['foretold'] / 1e6:.1f} | {one['found'] / 1e6:.1f} "
            f"| {one['foretold_over_found']:.3f} |"
        )
    return "\n".join(lines)
