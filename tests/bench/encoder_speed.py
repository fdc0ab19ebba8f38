"""Frames, sounds and texts a second: `signal`, and CLIP and CLAP as published, but with random weights.

Usage: python -m tests.bench.encoder_speed --scratch FOLDER [--device cpu] [--rounds 5] [--models clip clap]

Of each model the encoder, preparation included, alternates with its bare forward pass on inputs that are
already prepared, in batches of the same size; `share` is the median over rounds of bare time by encoder time.
On a CPU one thread computes and its processor time is told, on a GPU wall time with the device waited for.
Random weights cost what trained ones do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ingest.encoders.hf import open_hf
from ingest.encoders.hf.encoder import HuggingFaceEncoder
from ingest.encoders.signal import SignalEncoder
from tests.bench.record import write_result
from tests.bench.shaped_models import SHAPES, WORDS

SEED: Final = 4
FRAMES, SIDE, SOUND_HZ, SOUND_S = 16, 224, 44_100, 10.0


@dataclass(frozen=True, slots=True)
class OneClip:
    """A clip of one modality."""

    frames: Any = None
    timestamps_s: Any = None
    audio: Any = None
    sample_rate_hz: int = 0


def videos(many: int, height: int = SIDE, width: int = SIDE) -> list[Any]:
    """Frames of `many` videos, as ingest decodes them unless a size is given."""
    rng = np.random.default_rng(SEED)
    return [rng.integers(0, 256, (FRAMES, height, width, 3), dtype=np.uint8) for _ in range(many)]


def sounds(many: int) -> list[tuple[Any, int]]:
    """`many` sounds of 10 s."""
    rng = np.random.default_rng(SEED)
    size = int(SOUND_HZ * SOUND_S)
    return [(rng.normal(size=size).astype(np.float32) * 0.1, SOUND_HZ) for _ in range(many)]


def texts(many: int) -> list[str]:
    """`many` titles of 4 to 13 words."""
    rng = np.random.default_rng(SEED)
    return [" ".join(rng.choice(WORDS, rng.integers(4, 14))) for _ in range(many)]


def clock(work: Callable[[], Any], device: str) -> float:
    """Seconds that the work takes: of the processor on a CPU, of the wall on a GPU."""
    if torch.device(device).type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def against_bare(
    encoder: HuggingFaceEncoder, modality: str, items: list[Any], rounds: int, units: int
) -> dict[str, float]:
    """Encoder and bare forward pass, in turns.

    Args:
        encoder: warm or cold.
        modality: of the items.
        items: all encoded in every round.
        rounds: >= 1, after one that is not counted.
        units: frames, sounds or texts that the items hold.
    """
    reader, device = encoder.readers[modality], torch.device(encoder.device)
    prepared = list(reader.batches(items, encoder.batch_size, device))

    def bare() -> None:
        with torch.inference_mode():
            for batch in prepared:
                reader.vectors(encoder.model, batch)

    spent: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        one = clock(lambda: encoder.encode(modality, items), encoder.device)
        spent.append((one, clock(bare, encoder.device)))
    counted = spent[1:]
    return {
        "per_s": round(units / statistics.median(one for one, _ in counted), 2),
        "bare_per_s": round(units / statistics.median(other for _, other in counted), 2),
        "share": round(statistics.median(other / one for one, other in counted), 4),
    }


def time_signal(device: str, rounds: int) -> dict[str, float]:
    """Of `signal`: frames, sounds and texts a second."""
    encoder = SignalEncoder(device)
    seen = [OneClip(frames=frames) for frames in videos(8)]
    heard = [OneClip(audio=audio, sample_rate_hz=rate) for audio, rate in sounds(8)]
    said = [(text, None, None) for text in texts(200)]
    work: dict[str, tuple[Callable[[], Any], int]] = {
        "frames_per_s": (lambda: encoder.describe_many(seen), FRAMES * len(seen)),
        "sounds_of_10_s_per_s": (lambda: encoder.describe_many(heard), len(heard)),
        "texts_per_s": (lambda: encoder.describe_texts(said), len(said)),
    }
    found = {}
    for name, (run, units) in work.items():
        run()  # filters are made once
        found[name] = round(units / statistics.median(clock(run, device) for _ in range(rounds)), 2)
    return found


def time_model(path: Path, device: str, rounds: int, many: int) -> dict[str, Any]:
    """Of a saved model: what it reads, against its bare forward pass.

    Args:
        path: of the model.
        device: torch device.
        rounds: counted rounds.
        many: videos and sounds; texts are 32 times as many.
    """
    encoder = open_hf(str(path), device=device)
    found: dict[str, Any] = {"batch_size": encoder.batch_size}
    for modality in encoder.dims:
        if modality == "visual":
            small, large = videos(many), videos(many, 360, 640)
            found["frames"] = against_bare(encoder, modality, small, rounds, FRAMES * many)
            found["frames_640x360"] = against_bare(encoder, modality, large, rounds, FRAMES * many)
        elif modality == "audio":
            found["sounds_of_10_s"] = against_bare(encoder, modality, sounds(many), rounds, many)
        else:
            found["texts"] = against_bare(encoder, modality, texts(32 * many), rounds, 32 * many)
    return found


def measure(scratch: Path, device: str, rounds: int, many: int, shapes: tuple[str, ...]) -> dict[str, Any]:
    """All figures of one device."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"signal": time_signal(device, rounds)}
    for shape in shapes:
        path = scratch / shape
        if not (path / "model.safetensors").is_file():
            SHAPES[shape](path)
        figures[shape] = time_model(path, device, rounds, many)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Encoder throughput.")
    parser.add_argument("--scratch", type=Path, required=True, help="models are saved here, 0.6 GB each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=2, help="videos and sounds; texts are 32 times as many")
    parser.add_argument("--models", nargs="*", choices=tuple(SHAPES), default=tuple(SHAPES))
    asked = parser.parse_args()
    parameters = {"device": asked.device, "rounds": asked.rounds, "many": asked.many, "seed": SEED}
    parameters |= {"frames": FRAMES, "side": SIDE, "sound_hz": SOUND_HZ, "torch": torch.__version__}
    figures = measure(asked.scratch, asked.device, asked.rounds, asked.many, tuple(asked.models))
    name = "encoder_speed" if asked.device == "cpu" else f"encoder_speed_{asked.device}"
    write_result(name, parameters, figures)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
