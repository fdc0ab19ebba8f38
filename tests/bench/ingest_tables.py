"""README tables of ingest's benchmarks, from their committed results."""

from __future__ import annotations

from typing import Any


def bare(result: dict[str, Any]) -> str:
    """Throughput beside a bare loop around the same decoder."""
    given, figures = result["parameters"], result["figures"]
    lines = [
        f"{given['files']} distinct files of 5 to 60 s, 360p to 1080p, mostly H.264 with AAC; "
        f"{given['frames']} frames and the sound of each; {given['workers']} workers on "
        f"{result['machine']['cores']} cores; medians over {given['repeats']} turns.",
        "",
        "| | files/s, end to end | of the loop | files/s, steady | of the loop |",
        "|---|---|---|---|---|",
    ]
    for arm, rates in figures["arms"].items():
        to = {name: f"{ratio['median']:.2f}" for name, ratio in figures["to_bare"].get(arm, {}).items()}
        lines.append(
            f"| {arm} | {rates['files_per_s']:.2f} | {to.get('files_per_s', '')} "
            f"| {rates['steady_files_per_s']:.2f} | {to.get('steady_files_per_s', '')} |"
        )
    return "\n".join(lines)


def rivals(result: dict[str, Any]) -> str:
    """Clips a second beside other ways on Ray."""
    given, figures = result["parameters"], result["figures"]
    lines = [
        f"{given['clips']} silent H.264 clips of {given['seconds']} s, {given['height']}p, a key frame every "
        f"{given['key_frame_s']:g} s; 16 frames, the same encoder; medians over {given['repeats']} turns.",
        "",
        "| | clips/s, end to end | ingest is faster by | clips/s, steady | ingest is faster by |",
        "|---|---|---|---|---|",
    ]
    for arm, rates in figures["arms"].items():
        by = {name: f"{ratio:.1f}x" for name, ratio in figures["ingest_to"].get(arm, {}).items()}
        lines.append(
            f"| {arm} | {rates['clips_per_s']:.2f} | {by.get('clips_per_s', '')} "
            f"| {rates['steady_clips_per_s']:.2f} | {by.get('steady_clips_per_s', '')} |"
        )
    return "\n".join(lines)


def memory(result: dict[str, Any]) -> str:
    """Resident memory on a long film, and its growth over thousands of files."""
    given, figures = result["parameters"], result["figures"]
    film, on, off = (figures[name] for name in ("film", "flat_recycled", "flat_never_recycled"))
    return "\n".join(
        [
            "| resident memory, MiB | worker | decoder child | together |",
            "|---|---|---|---|",
            f"| peak on {given['film_s'] / 60:g} minutes of 1080p | {film['worker_peak']:.0f} "
            f"| {film['child_peak']:.0f} | {film['together_peak']:.0f} |",
            f"| growth per 1,000 files, child recycled | {on['worker_growth']:.1f} "
            f"| {on['child_growth']:.1f} | |",
            f"| growth per 1,000 files, never recycled | {off['worker_growth']:.1f} "
            f"| {off['child_growth']:.1f} | |",
        ]
    )


def startup(result: dict[str, Any]) -> str:
    """How long the command takes before and beside its work."""
    given, figures = result["parameters"], result["figures"]
    names = figures["names"]
    return "\n".join(
        [
            "| `reelrank ingest`, start to end | seconds |",
            "|---|---|",
            f"| one clip, Ray's start included | {figures['first_clip']['wall_s']:.1f} |",
            f"| {given['names']:,} names of {given['contents']} files, first run "
            f"| {names['embeds']['wall_s']:.0f} |",
            f"| the same again, nothing to do | {names['nothing_to_do']['wall_s']:.1f} |",
        ]
    )
