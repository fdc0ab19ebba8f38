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


def describe_all(sounds: list[tuple[Floats, int]]) -> tuple[Floats, float]:
    """Raw descriptors, (n, D), and processor time for ten seconds of sound, ms."""
    with torch.inference_mode():
        describe_sound(*sounds[0])  # warm-up: filters are made once
        start = time.process_time()
        found = [describe_sound(audio, rate) for audio, rate in sounds]
        spent = time.process_time() - start
    silent = np.zeros(SIZES["audio"], np.float32)
    raw = np.stack([silent if row is None else row for row in found])
    return raw, spent / sum(len(audio) / rate for audio, rate in sounds) * 1e4


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
    raw, milliseconds = describe_all([read_sound(path) for path in paths])
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
