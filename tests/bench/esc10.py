"""Sound encoder on real sounds: cosine 1-NN accuracy; writes JSON.

`by_fold` is the ESC-10 protocol: of each fold, nearest neighbours in the other folds, statistics fitted on
the other folds. Where few folds are at hand it has few neighbours to choose from, so `by_recording` also
asks each twelfth of the recordings of all the others, over several deals: takes of one recording always
fall on one side. `interval` holds 95 % of what resampling whole recordings gives.

Usage: python -m tests.bench.esc10 [FOLDER]     (one folder a class, files `fold-clip-take.ogg`)
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import torch

from features.contracts import Floats
from ingest.encoders.signal import SIZES, SignalEncoder
from ingest.encoders.sound import describe_sound
from tests.bench.record import write_result

FOLDER: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "esc10"
SEED, PARTS, DEALS, RESAMPLED = 7, 12, 5, 2_000

Strings = npt.NDArray[np.str_]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


def read_sound(path: Path) -> tuple[Floats, int]:
    """Mono sound, float32, (n,), and its rate, Hz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        to_mono = av.AudioResampler(format="fltp", layout="mono", rate=stream.rate)
        parts = [out.to_ndarray()[0] for frame in container.decode(stream) for out in to_mono.resample(frame)]
        return np.concatenate(parts), stream.rate


def describe_all(sounds: list[tuple[Floats, int]]) -> Floats:
    """Raw descriptors, (n, D)."""
    with torch.inference_mode():
        found = [describe_sound(audio, rate) for audio, rate in sounds]
    silent = np.zeros(SIZES["audio"], np.float32)
    return np.stack([silent if row is None else row for row in found])


def time_ten_seconds(sounds: list[tuple[Floats, int]]) -> float:
    """Processor time for a sound of ten seconds, ms: median over neighbouring recordings joined in twos."""
    spent = []
    with torch.inference_mode():
        for (one, rate), (two, other) in pairwise(sounds):
            if rate != other:
                continue
            joined = np.concatenate([one, two])
            start = time.process_time()
            describe_sound(joined, rate)
            spent.append((time.process_time() - start) * 1e4 / (len(joined) / rate))
    return float(np.median(spent))


def hits(raw: Floats, labels: Strings, parts: Strings) -> Bools:
    """Of each sound, whether its nearest neighbour among the other parts' sounds is of its class, (n,)."""
    found = np.zeros(len(raw), bool)
    for held in np.unique(parts):
        known = parts != held
        projector = SignalEncoder().fit({"audio": raw[known]})
        gallery, asked = projector.project("audio", raw[known]), projector.project("audio", raw[~known])
        found[~known] = labels[known][(asked @ gallery.T).argmax(axis=1)] == labels[~known]
    return found


def share(found: Bools | Doubles, recordings: Strings) -> dict[str, Any]:
    """Accuracy and its interval."""
    _, whose = np.unique(recordings, return_inverse=True)
    right, asked = np.bincount(whose, found), np.bincount(whose)
    drawn = np.random.default_rng(SEED).integers(0, len(asked), (RESAMPLED, len(asked)))
    low, high = np.quantile(right[drawn].sum(axis=1) / asked[drawn].sum(axis=1), (0.025, 0.975))
    return {
        "accuracy": round(float(found.mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def deal(recordings: Strings, seed: int) -> Strings:
    """Part of each sound: recordings dealt at random into PARTS."""
    names, whose = np.unique(recordings, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % PARTS)[whose].astype(np.str_)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    paths = sorted(folder.glob("*/*.ogg"))
    sounds = [read_sound(path) for path in paths]
    raw, milliseconds = describe_all(sounds), time_ten_seconds(sounds)
    labels = np.array([path.parent.name for path in paths])
    folds = np.array([path.name.split("-")[0] for path in paths])
    recordings = np.array(["-".join(path.name.split("-")[:2]) for path in paths])
    found = hits(raw, labels, folds)
    dealt = np.mean([hits(raw, labels, deal(recordings, SEED + k)) for k in range(DEALS)], axis=0)
    figures = {
        "by_fold": share(found, recordings)
        | {"folds": {str(fold): round(float(found[folds == fold].mean()), 4) for fold in np.unique(folds)}},
        "by_recording": share(dealt, recordings),
        "cpu_ms_for_10_s": round(milliseconds, 2),
    }
    parameters = {"sounds": len(paths), "encoder": SignalEncoder().descriptor_version, "seed": SEED}
    print(write_result("esc10", parameters, figures).read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
