"""Does the GPU give what the CPU gives, and how much faster? One script, without Ray; prints JSON.

Usage:
    python -m tests.gpu.check_gpu --device cuda [--out FILE.json] [--together 32] [--repeats 5] [FILES...]

Without FILES it makes clips of its own. Every clip is decoded by the CPU ladder and, on the device, by
`ingest.media.nvdec_rung`, and embedded on both. Exit code 0: all agree; 1: no such device, or something
differs. It never skips.

The bounds, and why they are not zero:
    frames      mean difference below 3 of 255: other scalers, and a video engine's own colour conversion
    timestamps  2 ms: both come from the packets
    vectors     1e-3 of the largest value, same frames and sound: sums in another order; a colour that lies on
                the edge of a histogram's bin may fall to either side
    cosine      0.995 between visual descriptors, decoded and embedded there and here: the two above together
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features.contracts import Floats
from features.errors import BadInput
from ingest.devices import Device, choose_device, decoding_fault
from ingest.encoders.protocol import Float64s
from ingest.encoders.signal import SignalEncoder
from ingest.failures import DecodeFailure, MediaRefused
from ingest.isolation import DecoderChild
from ingest.media.decode import Clip, DecodeSettings
from ingest.media.nvdec_rung import DevicePictures, read_frames
from tests.bench.record import commit, machine
from tests.gpu.clips import make_clips

FRAME_ERROR, TIME_ERROR_S, VECTOR_ERROR, ALIKE = 3.0, 2e-3, 1e-3, 0.995
SETTINGS = DecodeSettings()


@dataclass(frozen=True, slots=True)
class Read:
    """One file, decoded both ways."""

    path: Path
    clip: Clip
    pictures: DevicePictures | None
    """None where the device's rung refused it."""
    refusal: str


@dataclass(frozen=True, slots=True)
class DeviceClip:
    """A clip whose frames lie on the device."""

    clip: Clip
    frames: torch.Tensor

    @property
    def timestamps_s(self) -> Float64s:
        return self.clip.timestamps_s

    @property
    def audio(self) -> Floats | None:
        return self.clip.audio

    @property
    def sample_rate_hz(self) -> int:
        return self.clip.sample_rate_hz


def check(device: Device, paths: Sequence[Path], together: int, repeats: int) -> dict[str, Any]:
    """What was compared and timed; `faults` names every disagreement."""
    torch.set_num_threads(1)
    reads = [read for path in paths if (read := read_both(path, device))]
    decoded = [read for read in reads if read.pictures]
    faults = [fault for read in decoded for fault in compare_pictures(read)]
    if device.decoder == "nvdec" and not decoded:
        faults.append("the device's decoder read none of the files")
    clips = [read.clip for read in reads]
    one, other = SignalEncoder(), SignalEncoder(device=device.name, together=together)
    raw = one.describe_many(clips)
    worst, unlike = compare_vectors(raw, other.describe_many(clips), reads)
    on_device = [DeviceClip(read.clip, read.pictures.frames) for read in decoded if read.pictures]
    alike = end_to_end([r for r, read in zip(raw, reads, strict=True) if read.pictures], on_device, other)
    if alike is not None and alike < ALIKE:
        unlike.append(f"decoded and embedded on the device, a clip's cosine with the CPU is {alike:.4f}")
    return {
        "device": describe_device(device),
        "bounds": {"frame": FRAME_ERROR, "time_s": TIME_ERROR_S, "vector": VECTOR_ERROR, "cosine": ALIKE},
        "files": len(paths),
        "decoded_on_device": len(decoded),
        "refused_by_device": {read.path.name: read.refusal for read in reads if read.refusal},
        "worst_vector_error": worst,
        "smallest_cosine_end_to_end": alike,
        "faults": [*faults, *unlike],
        "decode": time_decoding(decoded, device, repeats),
        "embed": {
            "cpu_one_by_one": rate(lambda: one.describe_many(clips), len(clips), "cpu", repeats),
            "device_together": rate(lambda: other.describe_many(clips), len(clips), device.name, repeats),
            "device_together_frames_there": rate(
                lambda: other.describe_many(on_device), len(on_device), device.name, repeats
            ),
        },
    }


def end_to_end(raw: list[dict[str, Floats]], clips: list[DeviceClip], encoder: SignalEncoder) -> float | None:
    """Smallest cosine between visual descriptors of the CPU's frames and of the device's; None without."""
    pairs = zip(raw, encoder.describe_many(clips), strict=True)
    cosines = [
        float(
            one["visual"] @ other["visual"] / np.linalg.norm(one["visual"]) / np.linalg.norm(other["visual"])
        )
        for one, other in pairs
    ]
    return min(cosines, default=None)


def read_both(path: Path, device: Device) -> Read | None:
    """None for a file that gives no picture on the CPU either."""
    with DecoderChild() as child:
        clip = child.decode(path, SETTINGS)
    if isinstance(clip, DecodeFailure) or clip.frames is None:
        return None
    try:
        return Read(path, clip, read_frames(path, clip.found, SETTINGS, device.name), "")
    except MediaRefused as refusal:
        return Read(path, clip, None, str(refusal))


def compare_pictures(read: Read) -> list[str]:
    """Where the device's frames are not those of the CPU."""
    clip, pictures = read.clip, read.pictures
    assert pictures is not None
    assert clip.frames is not None
    if tuple(pictures.frames.shape) != clip.frames.shape:
        return [f"{read.path.name}: frames {tuple(pictures.frames.shape)}, on the CPU {clip.frames.shape}"]
    found = []
    if (late := float(np.abs(pictures.timestamps_s - clip.timestamps_s).max())) > TIME_ERROR_S:
        found.append(f"{read.path.name}: a frame is {late * 1e3:.1f} ms off")
    off = np.abs(pictures.frames.cpu().numpy().astype(np.float32) - clip.frames).mean(axis=(1, 2, 3))
    if off.max() > FRAME_ERROR:
        found.append(f"{read.path.name}: frame {int(off.argmax())} differs by {off.max():.2f} of 255")
    return found


def compare_vectors(
    cpu: list[dict[str, Floats]], device: list[dict[str, Floats]], reads: list[Read]
) -> tuple[dict[str, float], list[str]]:
    """Largest error by modality, as a share of the largest value, and clips beyond the bound."""
    worst: dict[str, float] = {}
    faults = []
    for read, one, other in zip(reads, cpu, device, strict=True):
        if one.keys() != other.keys():
            faults.append(f"{read.path.name}: {sorted(other)} on the device, {sorted(one)} on the CPU")
        for modality in one.keys() & other.keys():
            error = float(np.abs(one[modality] - other[modality]).max() / np.abs(one[modality]).max())
            worst[modality] = max(worst.get(modality, 0.0), error)
            if not error <= VECTOR_ERROR:
                faults.append(f"{read.path.name}: {modality} differs by {error:.1e}")
    return worst, faults


def time_decoding(reads: list[Read], device: Device, repeats: int) -> dict[str, Any]:
    """Videos and frames a second: the isolated ladder in one child, and the device."""
    if not reads:
        return {}
    found: dict[str, Any] = {}
    silent = replace(SETTINGS, max_audio_s=0.01)
    frames = sum(len(read.clip.timestamps_s) for read in reads)
    with DecoderChild() as child:
        found["cpu_isolated"] = rate(
            lambda: [child.decode(read.path, silent) for read in reads], len(reads), "cpu", repeats
        )
    found[f"{device.name}_in_process"] = rate(
        lambda: [read_frames(read.path, read.clip.found, SETTINGS, device.name) for read in reads],
        *(len(reads), device.name, repeats),
    )
    for timed in found.values():
        timed["frames_per_s"] = round(timed["videos_per_s"] * frames / len(reads), 1)
    return found


def rate(work: Callable[[], Any], videos: int, device: str, repeats: int) -> dict[str, float]:
    """Videos a second: the median of several runs, the slowest, the fastest; one run before them warms up."""
    if not videos:
        return {}
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    timed = seconds[1:]
    return {
        "videos_per_s": round(videos / statistics.median(timed), 2),
        "slowest": round(videos / max(timed), 2),
        "fastest": round(videos / min(timed), 2),
    }


def describe_device(device: Device) -> dict[str, Any]:
    """The device's name and software."""
    on_gpu = device.name == "cuda"
    return {
        "asked_and_chosen": device.name,
        "decoder": device.decoder,
        "why": device.why,
        "name": torch.cuda.get_device_name() if on_gpu else "CPU",
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
    }


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    asked = _arguments(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        device = choose_device(asked.device)
    except BadInput as refusal:
        print(json.dumps({"fault": str(refusal)}))
        return 1
    if device.name == "cpu" and (fault := decoding_fault("cpu")):
        print(json.dumps({"fault": fault}))
        return 1
    with tempfile.TemporaryDirectory() as folder:
        paths = asked.files or make_clips(Path(folder), asked.clips)
        figures = check(device, paths, asked.together, asked.repeats)
    parameters = {"clips": len(paths), "together": asked.together, "repeats": asked.repeats}
    said = {"name": "check_gpu", "parameters": parameters, "figures": figures}
    said |= {"commit": commit(), "machine": machine()}
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    print(json.dumps(said))
    return 1 if figures["faults"] else 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares a device with the CPU, and times both.")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cuda")
    parser.add_argument("--out", type=Path, help="where the JSON is written, too")
    parser.add_argument("--together", type=int, default=32, help="clips embedded at once on the device")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs; the median is told")
    parser.add_argument("--clips", type=int, default=24, help="clips made where no FILES are given")
    parser.add_argument("files", nargs="*", type=Path)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
