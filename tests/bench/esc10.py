"""Sound encoder on real sounds: cosine 1-NN accuracy, statistics fitted on the other folds; prints JSON.

Usage: python tests/bench/esc10.py [FOLDER]     (one folder a class, files `fold-clip-take.ogg`)
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import av
import numpy as np
import torch

from features.contracts import Floats
from ingest.encoders.signal import BLOCKS, SignalEncoder
from ingest.encoders.sound import describe_sound

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "esc10"


def read_sound(path: Path) -> tuple[Floats, int]:
    """Mono sound, float32, (n,), and its rate, Hz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        to_mono = av.AudioResampler(format="fltp", layout="mono", rate=stream.rate)
        parts = [out.to_ndarray()[0] for frame in container.decode(stream) for out in to_mono.resample(frame)]
        return np.concatenate(parts), stream.rate


def accuracy(raw: Floats, labels: Floats, folds: Floats, held: int) -> float:
    """Share of the held fold's sounds whose nearest neighbour in the other folds is of their class."""
    known = folds != held
    projector = SignalEncoder().fit({"audio": raw[known]})
    gallery, asked = projector.project("audio", raw[known]), projector.project("audio", raw[~known])
    return float((labels[known][(asked @ gallery.T).argmax(axis=1)] == labels[~known]).mean())


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    paths = sorted(folder.glob("*/*.ogg"))
    sounds = [read_sound(path) for path in paths]
    with torch.inference_mode():
        describe_sound(*sounds[0])  # warm-up: filters are made once
        start = time.process_time()
        found = [describe_sound(audio, rate) for audio, rate in sounds]
        spent = time.process_time() - start
    seconds = sum(len(audio) / rate for audio, rate in sounds)
    raw = np.stack(
        [row if row is not None else np.zeros(sum(n for _, n in BLOCKS["audio"])) for row in found]
    )
    labels = np.array([path.parent.name for path in paths])
    folds = np.array([int(path.name.split("-")[0]) for path in paths])
    by_fold = {str(f): round(accuracy(raw.astype(np.float32), labels, folds, f), 4) for f in np.unique(folds)}
    said = {
        "benchmark": "esc10",
        "encoder": SignalEncoder().descriptor_version,
        "sounds": len(paths),
        "accuracy_by_fold": by_fold,
        "accuracy": round(float(np.mean(list(by_fold.values()))), 4),
        "cpu_ms_for_10_s": round(spent / seconds * 1e4, 2),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
