"""Clips for the check, made with PyAV: moving pictures and chords, in sizes as phones make them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

SIZES = ((640, 360), (1280, 720), (720, 1280))
RATE, SOUND_RATE_HZ = 25, 44_100


def make_clips(folder: Path, count: int) -> list[Path]:
    """So many H.264 clips with AAC sound, 4 to 7 s, each of its own seed."""
    return [_make(folder / f"clip{i}.mp4", SIZES[i % len(SIZES)], 4.0 + i % 4, seed=i) for i in range(count)]


def _make(path: Path, size: tuple[int, int], seconds: float, seed: int) -> Path:
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "g": "50"})
        picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
        sound: Any = container.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        for i in range(int(seconds * RATE)):
            frame: Any = av.VideoFrame.from_ndarray(_waves(size, i / RATE, seed), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        for start, part in enumerate(np.split(_chord(seconds, seed), _cuts(seconds))):
            block: Any = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
            block.sample_rate, block.pts = SOUND_RATE_HZ, start * 1024
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


def _waves(size: tuple[int, int], at_s: float, seed: int) -> npt.NDArray[np.uint8]:
    """Soft coloured waves that drift, RGB, uint8, (h, w, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / 120
    planes = [np.sin(a * x + b * y + c * at_s + d) for a, b, c, d in rng.uniform(-2, 2, (3, 4))]
    return (127 + 100 * np.stack(planes, axis=2)).astype(np.uint8)


def _chord(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SOUND_RATE_HZ)) / SOUND_RATE_HZ
    tones = sum(np.sin(2 * np.pi * hertz * t) for hertz in rng.uniform(80, 4000, 5))
    return (0.1 * tones * (1 + np.sin(2 * np.pi * rng.uniform(0.5, 6) * t))).astype(np.float32)


def _cuts(seconds: float) -> npt.NDArray[np.int64]:
    return np.arange(1024, int(seconds * SOUND_RATE_HZ), 1024)
