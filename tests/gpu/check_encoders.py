"""Do encoders of models give on the GPU what they give on the CPU, and how fast? One script; prints JSON.

Usage:
    python -m tests.gpu.check_encoders --scratch FOLDER [--device cuda] [--rounds 5] [--many 64] [--out FILE]

Exit code 0: all agree; 1: no such device, something differs, or CLIP's encoder, preparation included, runs at
less than 0.8 of its bare forward pass. It never skips. With `--device cpu` it checks itself, without figures.

The bounds, and why they are not zero:
    pictures  none: they are resampled in whole numbers, and must agree to the bit
    pixels    1e-5 after scale and mean: one multiplication and one sum in float32
    spectra   1e-2 of AST's, 1e-3 dB of CLAP's: float32 transforms under a logarithm, float64 ones
    vectors   cosine 0.9999, float32 on both: sums in another order through a dozen layers
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ingest.encoders.hf import open_hf
from ingest.encoders.hf.ast_fbank import ast_fbank
from ingest.encoders.hf.clap_mel import clap_mel
from ingest.encoders.hf.picture_settings import picture_settings
from ingest.encoders.hf.pixels import prepare_frames
from ingest.encoders.hf.windows import cut_windows
from tests.bench.encoder_speed import measure, sounds, texts, videos
from tests.bench.record import commit, machine
from tests.bench.shaped_models import SHAPES

PIXELS, AST, CLAP, ALIKE, SHARE = 1e-5, 1e-2, 1e-3, 0.9999, 0.8
CPU: Final = torch.device("cpu")
SIZES: Final = ((1, 1), (360, 640), (1080, 1920), (300, 17))


def furthest(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found.cpu() - expected.cpu()).abs().max())


def compare_inputs(device: torch.device) -> dict[str, float]:
    """Largest differences of prepared inputs, device against CPU, by kind."""
    wanted, found = picture_settings({}, "CLIPImageProcessor"), {}
    raw = picture_settings({"do_rescale": False, "do_normalize": False}, "CLIPImageProcessor")
    for name, settings in (("pictures", raw), ("pixels", wanted)):
        pairs = [(videos(1, *size)[0][:2], settings) for size in SIZES]
        found[name] = max(furthest(prepare_frames(f, s, device), prepare_frames(f, s, CPU)) for f, s in pairs)
    mel, bank = clap_mel({"truncation": "rand_trunc"}, False), ast_fbank({})
    for name, spectrum in (("clap", mel), ("ast", bank)):
        there, here = (
            cut_windows(sounds(1)[0], spectrum.rate_hz, spectrum.length, where) for where in (device, CPU)
        )
        assert there is not None
        assert here is not None
        # The same windows on both: resampling has its own rounding, and its own test.
        found[name] = furthest(spectrum.features(here.to(device)), spectrum.features(here))
        found[f"{name}_windows"] = furthest(there, here)
    return found


def compare_vectors(scratch: Path, device: str) -> dict[str, float]:
    """Smallest cosine between the device's vectors and the CPU's, by model and modality."""
    items: dict[str, Callable[[], list[Any]]] = {
        "visual": lambda: [*videos(2), *videos(1, 360, 640)],
        "audio": lambda: sounds(2),
        "text": lambda: [*texts(20), "red " * 5000],
    }
    found = {}
    for shape, save in SHAPES.items():
        path = scratch / shape
        if not (path / "model.safetensors").is_file():
            save(path)
        here, there = (open_hf(str(path), device=where) for where in ("cpu", device))
        for modality in here.dims:
            some = items[modality]()
            one, other = here.encode(modality, some), there.encode(modality, some)
            found[f"{shape}/{modality}"] = float(np.min((one * other).sum(axis=1)))
    return found


def judge(inputs: dict[str, float], cosines: dict[str, float], speed: dict[str, Any]) -> list[str]:
    """What lies beyond its bound."""
    bounds = {"pictures": 0.0, "pixels": PIXELS, "clap": CLAP, "ast": AST}
    faults = [
        f"{name} differ by {inputs[name]:.2e}" for name, bound in bounds.items() if not inputs[name] <= bound
    ]
    faults += [f"{name} has cosine {value:.6f}" for name, value in cosines.items() if not value >= ALIKE]
    share = speed.get("clip", {}).get("frames", {}).get("share")
    if share is not None and share < SHARE:
        faults.append(f"CLIP's encoder runs at {share} of its bare forward pass; {SHARE} is wanted")
    return faults


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Compares models on a device with the CPU, and times them.")
    parser.add_argument("--scratch", type=Path, required=True, help="models are saved here, 0.6 GB each")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--many", type=int, default=64, help="videos and sounds timed; texts are 32 times as many"
    )
    parser.add_argument("--out", type=Path, help="where the JSON is written, too")
    asked = parser.parse_args(words)
    on_gpu = torch.device(asked.device).type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print(json.dumps({"fault": f"torch {torch.__version__} finds no CUDA device"}))
        return 1
    inputs, cosines = compare_inputs(torch.device(asked.device)), compare_vectors(asked.scratch, asked.device)
    speed = measure(asked.scratch, asked.device, asked.rounds, asked.many, tuple(SHAPES)) if on_gpu else {}
    figures = {"inputs": inputs, "cosines": cosines, "speed": speed}
    figures["faults"] = judge(inputs, cosines, speed)
    parameters = {
        "device": asked.device,
        "rounds": asked.rounds,
        "many": asked.many,
        "torch": torch.__version__,
    }
    parameters |= {"name": torch.cuda.get_device_name() if on_gpu else "CPU"}
    said = {"name": "check_encoders", "parameters": parameters, "figures": figures}
    said |= {"commit": commit(), "machine": machine()}
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    print(json.dumps(said))
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
