"""Media for benchmarks, made here: moving texture, cuts, grain and sound, so that codecs work as on films.

A recipe names everything that decides the bytes, and its clip is kept in a scratch folder under the recipe's
hash: the second call finds it. Encoders run on one thread, so that the same library gives the same file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

MAKER: Final = "media-1"
"""Goes into every clip's name: changes whenever the same recipe would give other bytes."""
SAMPLE_RATE_HZ: Final = 48_000
TEXTURES: Final = 3
SPRITES: Final = 4
GRAIN: Final = 3.0
"""Standard deviation of the film grain, of 255."""
SHOT_S: Final = (1.5, 6.0)
"""Shortest and longest shot between two cuts, s."""
X265: Final = "log-level=none:pools=none:frame-threads=1"
CODEC_OPTIONS: Final = {
    "libx264": {"preset": "veryfast", "crf": "24"},
    "libx265": {"preset": "superfast", "crf": "28", "x265-params": X265},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "crf": "36", "b": "0"},
}

Plane = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a clip."""

    seconds: float
    width: int = 1280
    """Pixels; even."""
    height: int = 720
    frame_rate: int = 30
    codec: str = "libx264"
    """A key of CODEC_OPTIONS; VP9 goes into WebM with Opus, the others into MP4 with AAC."""
    key_frame_s: float = 4.0
    """Longest distance between key frames, s; encoders put one at cuts as well."""
    sound: bool = True
    """Stereo at 48 kHz."""
    seed: int = 7

    @property
    def suffix(self) -> str:
        return ".webm" if self.codec == "libvpx-vp9" else ".mp4"


def make_clip(recipe: Recipe, folder: Path) -> Path:
    """The clip of a recipe, below the folder; encoded where it is not there yet."""
    said = json.dumps([MAKER, av.__version__, dataclasses.asdict(recipe), CODEC_OPTIONS[recipe.codec]])
    name = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
    path = folder / f"{recipe.codec.removeprefix('lib')}-{recipe.width}x{recipe.height}-{name}{recipe.suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f"making-{os.getpid()}-{path.name}"
        _encode(recipe, aside)
        aside.rename(path)
    return path


def _encode(recipe: Recipe, path: Path) -> None:
    frames = round(recipe.seconds * recipe.frame_rate)
    with av.open(str(path), "w") as container:
        video = _video_stream(container, recipe)
        audio = _audio_stream(container, recipe) if recipe.sound else None
        sound = _sound(recipe)
        for number, planes in enumerate(_pictures(recipe, frames)):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, recipe.frame_rate)
            container.mux(video.encode(frame))
            if audio and number % recipe.frame_rate == 0:
                _encode_second(container, audio, sound, number // recipe.frame_rate)
        for stream in filter(None, (video, audio)):
            container.mux(stream.encode(None))


def _video_stream(container: Any, recipe: Recipe) -> Any:
    stream = container.add_stream(recipe.codec, rate=recipe.frame_rate)
    stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, "yuv420p"
    stream.codec_context.gop_size = round(recipe.key_frame_s * recipe.frame_rate)
    stream.codec_context.thread_count = 1
    stream.options = CODEC_OPTIONS[recipe.codec]
    return stream


def _audio_stream(container: Any, recipe: Recipe) -> Any:
    stream = container.add_stream("libopus" if recipe.suffix == ".webm" else "aac", rate=SAMPLE_RATE_HZ)
    stream.layout, stream.bit_rate = "stereo", 128_000
    return stream


def _encode_second(container: Any, stream: Any, sound: Samples, second: int) -> None:
    part = sound[:, second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ]
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="stereo")
    frame.sample_rate, frame.time_base = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ)
    frame.pts = second * SAMPLE_RATE_HZ
    container.mux(stream.encode(frame))


def _pictures(recipe: Recipe, frames: int) -> Iterator[Plane]:
    """Planes Y, U and V below each other, uint8, (h * 3 / 2, w), shot after shot."""
    rng = np.random.default_rng(recipe.seed)
    textures = [_texture(rng, recipe) for _ in range(TEXTURES)]
    grain = np.round(rng.normal(0.0, GRAIN, (recipe.height + 64, recipe.width + 64))).astype(np.int16)
    left = frames
    while left > 0:
        shot = min(left, int(rng.uniform(*SHOT_S) * recipe.frame_rate))
        yield from _shot(rng, textures, grain, recipe, shot)
        left -= shot


def _shot(
    rng: np.random.Generator, textures: list[Plane], grain: npt.NDArray[np.int16], recipe: Recipe, n: int
) -> Iterator[Plane]:
    """A background that pans, patches of another texture that move before it, and grain over both."""
    back, front = (textures[i] for i in rng.permutation(TEXTURES)[:2])
    starts = rng.integers(0, 200, 2)
    speeds = rng.uniform(-1.5, 1.5, 2)
    sizes = rng.integers(recipe.height // 8, recipe.height // 3, SPRITES)
    places = rng.uniform(0, 1, (SPRITES, 2))
    drifts = rng.uniform(-0.004, 0.004, (SPRITES, 2))
    for t in range(n):
        y, x = (int(abs(start + speed * t)) % 256 for start, speed in zip(starts, speeds, strict=True))
        canvas = _cut(back, y, x, recipe)
        for size, place, drift in zip(sizes, places, drifts, strict=True):
            _paste(canvas, front, int(size), (place + drift * t) % 1.0, recipe)
        dy, dx = rng.integers(0, 64, 2)
        luma = canvas[: recipe.height]
        noisy = luma + grain[dy : dy + recipe.height, dx : dx + recipe.width]
        np.clip(noisy, 0, 255, out=noisy)
        canvas[: recipe.height] = noisy
        yield canvas


def _cut(texture: Plane, y: int, x: int, recipe: Recipe) -> Plane:
    """The part of a texture's planes at an even offset, as one frame (h * 3 / 2, w)."""
    y, x, h, w = y // 2 * 2, x // 2 * 2, recipe.height, recipe.width
    luma = texture[0, y : y + h, x : x + w]
    chroma = texture[1:, y // 2 : (y + h) // 2, x // 2 : (x + w) // 2]
    return np.concatenate([luma, chroma.reshape(-1, w)])


def _paste(canvas: Plane, texture: Plane, size: int, place: npt.NDArray[np.float64], recipe: Recipe) -> None:
    h, w, size = recipe.height, recipe.width, size // 2 * 2
    y, x = int(place[0] * (h - size)) // 2 * 2, int(place[1] * (w - size)) // 2 * 2
    canvas[y : y + size, x : x + size] = texture[0, :size, :size]
    chroma = canvas[h:].reshape(2, h // 2, w // 2)
    half = size // 2
    chroma[:, y // 2 : y // 2 + half, x // 2 : x // 2 + half] = texture[1:, :half, :half]


def _texture(rng: np.random.Generator, recipe: Recipe) -> Plane:
    """Three planes with the power spectrum of natural scenes (1 / f^2), uint8, (3, h + 256, w + 256)."""
    h, w = recipe.height + 256, recipe.width + 256
    frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :])
    frequency[0, 0] = 1.0
    planes = []
    for spread in (48.0, 24.0, 24.0):
        field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(h, w))) / frequency, s=(h, w))
        centre = rng.uniform(90, 160)
        planes.append(np.clip(centre + spread * field / field.std(), 0, 255).astype(np.uint8))
    return np.stack(planes)


def _sound(recipe: Recipe) -> Samples:
    """Chords that change every half second, and hiss, stereo, float32, (2, n)."""
    rng = np.random.default_rng(recipe.seed + 1)
    n = int(recipe.seconds * SAMPLE_RATE_HZ)
    time_s = np.arange(n, dtype=np.float32) / SAMPLE_RATE_HZ
    mono = np.zeros(n, np.float32)
    for start in range(0, n, SAMPLE_RATE_HZ // 2):
        part = slice(start, start + SAMPLE_RATE_HZ // 2)
        for tone_hz in rng.uniform(80, 4000, 3).astype(np.float32):
            mono[part] += np.float32(0.12) * np.sin(2 * np.float32(np.pi) * tone_hz * time_s[part])
    hiss = rng.normal(0.0, 0.02, (2, n)).astype(np.float32)
    stereo: Samples = np.clip(mono + hiss, -1, 1)
    return stereo
