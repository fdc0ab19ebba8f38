"""Recall of near-duplicates by way of copying, and false groups, on real clips and sounds; prints JSON.

Usage: python -m tests.bench.reuploads [FOLDER]     (holds `clips/` and `esc10/<class>/`)
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from ingest.failures import MediaRefused
from ingest.likeness.fingerprint import Fingerprint
from ingest.media.probe import Limits, probe
from tests.bench.record import commit, machine
from tests.ingest.test_reuploads import HALF, WAYS, Way, copy, group, print_of

FOLDER: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
ALL_WAYS: Final = {
    **WAYS,
    "half the size": Way(),
    "3 % cropped a side": Way(filters=(("crop", "iw*0.94:ih*0.94"), *HALF)),
    "sound at 32 kbit/s": Way(bit_rate=32_000),
    "Matroska": Way(".mkv"),
    "brighter": Way(filters=(*HALF, ("format", "yuv420p"), ("lutyuv", r"y=clip(val*1.1+8\,16\,235)"))),
    "bars above and below": Way(filters=(*HALF, ("pad", "iw:ih*1.3:0:(oh-ih)/2"))),
}
SOUND_WAYS: Final = {
    "sound, AAC 32 kbit/s": Way(video=None, bit_rate=32_000),
    "sound, Opus 24 kbit/s": Way(".webm", None, "libopus", bit_rate=24_000),
    "sound, MP3 32 kbit/s": Way(".mp3", None, "libmp3lame", bit_rate=32_000),
    "sound, start trimmed by 0.3 s": Way(video=None, start_s=0.3),
}
PARTS: Final = 4
"""Into which long files are cut, to be told from one another."""
LONG_S: Final = 15.0

Print = tuple[Fingerprint, float]


def read(paths: list[Path]) -> dict[Path, Print]:
    """Fingerprints of those that can be decoded and say something."""
    prints = {}
    for path in paths:
        try:
            found = print_of(path)
        except MediaRefused:
            continue
        if found[0].frame_hashes or found[0].sound_hashes:
            prints[path] = found
    return prints


def recall(originals: dict[Path, Print], way: Way, scratch: Path) -> dict[str, Any]:
    """Share of the originals whose copy lies in their group, all originals being there; and wrong joins."""
    made: dict[Path, Print] = {}
    for place, path in enumerate(originals):
        target = scratch / f"{place}{way.suffix}"
        if copy(path, target, way):
            made |= {path: print_of(target)}
            target.unlink()
    labels = group([*originals.values(), *made.values()]).labels
    own = dict(zip(originals, labels, strict=False))
    copied = dict(zip(made, labels[len(originals) :], strict=True))
    found = [path for path in made if copied[path] >= 0 and copied[path] == own[path]]
    missed = sorted(path.name for path in set(made) - set(found))
    return {"copies": len(made), "recall": round(len(found) / len(made), 4), "missed": missed}


def groups(prints: dict[str, Print]) -> list[list[str]]:
    """Names that were grouped."""
    labels = group(list(prints.values())).labels
    names = np.array(list(prints))
    many = [label for label, count in Counter(labels.tolist()).items() if label >= 0 and count > 1]
    return [names[labels == label].tolist() for label in many]


def parts(path: Path, scratch: Path) -> dict[str, Print]:
    """Fingerprints of the equal parts of a long file; none of a short one."""
    length = probe(path, Limits()).duration_s
    if length < LONG_S:
        return {}
    prints = {}
    for start, end in pairwise(np.linspace(0, length, PARTS + 1)):
        target = scratch / "part.mp4"
        if copy(path, target, replace(Way(), start_s=float(start), end_s=float(end))):
            prints[f"{path.name} {start:.0f}-{end:.0f} s"] = print_of(target)
    return prints


def main(folder: Path) -> None:
    clips = read(sorted(path for path in (folder / "clips").iterdir() if path.is_file()))
    sounds = read(sorted((folder / "esc10").glob("*/*.ogg")))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        table = {way: recall(clips, how, scratch) for way, how in ALL_WAYS.items()}
        table |= {way: recall(sounds, how, scratch) for way, how in SOUND_WAYS.items()}
        cut = {part: one for path in clips for part, one in parts(path, scratch).items()}
    named = {f"{path.parent.name}/{path.name}": one for path, one in (clips | sounds).items()}
    said = {
        "benchmark": "reuploads",
        "by_way": table,
        "originals": len(named),
        "groups_among_originals": groups(named),
        "parts_of_long_files": len(cut),
        "groups_among_parts": groups(cut),
        "commit": commit(),
        "machine": machine(),
    }
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
