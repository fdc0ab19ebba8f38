"""What each topic sounds like: a timbre and a rhythm of its own, every clip a little different."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 22_050
"""Sample rate of all sound."""

Sound = npt.NDArray[np.float64]
"""Mono samples, float64, (n,)."""


def sound(topic: int, pace: float, seconds: float, rng: np.random.Generator) -> Sound:
    """The sound of a topic, peak at most 0.8; `pace` from 0 (slow) to 1 (fast) is the speed of its beat."""
    makers = (_waves, _birds, _synth, _crackle, _drone, _rain, _dance, _ticking)
    made = makers[topic](round(seconds * RATE_HZ), 0.7 + 0.9 * pace, rng)
    made = made + 0.002 * rng.normal(0, 1, len(made))
    return np.asarray(made * (0.8 / max(float(np.abs(made).max()), 1e-9)))


def mixed(first: Sound, second: Sound, share: float) -> Sound:
    """Two sounds at once, the second with this share of the power."""
    both = np.sqrt(1 - share) * first + np.sqrt(share) * second
    return np.asarray(both * (0.8 / max(float(np.abs(both).max()), 1e-9)))


def _time(n: int) -> Sound:
    return np.arange(n) / RATE_HZ


def _band(n: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> Sound:
    """Noise between two frequencies, standard deviation 1."""
    wave = np.fft.rfft(rng.normal(0, 1, n))
    hz = np.fft.rfftfreq(n, 1 / RATE_HZ)
    below, above = np.maximum(low_hz - hz, 0) / (0.3 * low_hz), np.maximum(hz - high_hz, 0) / (0.2 * high_hz)
    wave *= np.exp(-below - above)
    made = np.fft.irfft(wave, n)
    return np.asarray(made / made.std())


def _ring(hz: float, decay_s: float, seconds: float, overtones: tuple[float, ...] = (1.0,)) -> Sound:
    """A struck tone: sines at the overtones of a pitch, dying away."""
    t = _time(round(seconds * RATE_HZ))
    made = sum((np.sin(2 * np.pi * hz * k * t) / (1 + i) for i, k in enumerate(overtones)), np.zeros(len(t)))
    return np.asarray(made * np.exp(-t / decay_s) * np.minimum(t * 400, 1))


def _placed(n: int, at_s: npt.NDArray[np.float64], notes: list[Sound]) -> Sound:
    """The notes, each from its time on, cut at the end."""
    made = np.zeros(n)
    for start_s, note in zip(at_s, notes, strict=True):
        start = int(start_s * RATE_HZ)
        cut = note[: max(n - start, 0)]
        made[start : start + len(cut)] += cut
    return made


def _waves(n: int, speed: float, rng: np.random.Generator) -> Sound:
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * 0.4 * speed * _time(n) + rng.uniform(0, 6))
    return (
        _band(n, 150, float(rng.uniform(600, 900)), rng) * (0.15 + swell**2)
        + 0.2 * _band(n, 2000, 4000, rng) * swell**4
    )


def _birds(n: int, speed: float, rng: np.random.Generator) -> Sound:
    count = int(n / RATE_HZ * 3.2 * speed) + 1
    notes = []
    for _ in range(count):
        t = _time(int(RATE_HZ * rng.uniform(0.08, 0.25)))
        low, sweep = rng.uniform(2400, 4200), rng.uniform(-5000, 5000)
        chirp = np.sin(2 * np.pi * (low * t + sweep * t**2 / 2) + 6 * np.sin(2 * np.pi * 28 * t))
        notes.append(chirp * np.sin(np.pi * np.arange(len(t)) / len(t)) * rng.uniform(0.5, 1))
    return _placed(n, rng.uniform(0, n / RATE_HZ, count), notes) + 0.04 * _band(n, 800, 2500, rng)


def _synth(n: int, speed: float, rng: np.random.Generator) -> Sound:
    step_s = 0.2 / speed
    root = rng.choice([82.4, 98.0, 110.0])
    scale = root * 2 ** (np.array([0, 3, 5, 7, 10, 12]) / 12)
    at = np.arange(0, n / RATE_HZ, step_s)
    notes = [_saw(float(rng.choice(scale)) * 2, step_s * 0.9) for _ in at]
    return (
        _placed(n, at, notes)
        + 0.6 * _saw(float(root) / 2, n / RATE_HZ + 0.1)[:n]
        + 0.05 * _band(n, 200, 800, rng)
    )


def _saw(hz: float, seconds: float) -> Sound:
    t = _time(round(seconds * RATE_HZ))
    made = sum((np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 13)), np.zeros(len(t)))
    return np.asarray(made * np.minimum(t * 200, 1) * np.minimum((seconds - t) * 60, 1).clip(0))


def _crackle(n: int, speed: float, rng: np.random.Generator) -> Sound:
    count = int(n / RATE_HZ * 26 * speed)
    clicks = [
        _band(400, 1500, 7000, rng) * np.exp(-np.arange(400) / rng.uniform(20, 90)) * rng.gamma(0.8, 1)
        for _ in range(count)
    ]
    return _placed(n, rng.uniform(0, n / RATE_HZ, count), clicks) + 0.18 * _band(n, 60, 220, rng)


def _drone(n: int, speed: float, rng: np.random.Generator) -> Sound:
    t = _time(n)
    root = rng.uniform(110, 165)
    made = np.zeros(n)
    for ratio in (1, 1.5, 2, 3.01, 4.02):
        wobble = 1 + 0.4 * np.sin(2 * np.pi * 0.5 * speed * ratio * t / 2 + rng.uniform(0, 6))
        made += np.sin(2 * np.pi * root * ratio * t + 1.5 * np.sin(2 * np.pi * 0.3 * t)) * wobble / ratio**0.7
    pings = np.arange(float(rng.uniform(0, 0.8)), n / RATE_HZ, 1.4 / speed)
    return made + 0.8 * _placed(n, pings, [_ring(root * 8, 0.4, 1.0) for _ in pings])


def _rain(n: int, speed: float, rng: np.random.Generator) -> Sound:
    made = 0.5 * _band(n, 1800, 9000, rng)
    at = np.arange(float(rng.uniform(0, 0.6)), n / RATE_HZ, 2.2 / speed)
    claps = [_band(RATE_HZ * 2, 30, 90, rng) * np.exp(-_time(RATE_HZ * 2) / 0.5) * 2.2 for _ in at]
    return made + _placed(n, at, claps)


def _dance(n: int, speed: float, rng: np.random.Generator) -> Sound:
    beat_s = 0.5 / speed
    at = np.arange(0, n / RATE_HZ, beat_s)
    t = _time(int(0.22 * RATE_HZ))
    kick = np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t * 30)))) * np.exp(-t / 0.08) * 2
    made = _placed(n, at, [kick] * len(at))
    hat = _band(1600, 5000, 10_000, rng) * np.exp(-np.arange(1600) / 300) * 0.4
    made += _placed(n, at + beat_s / 2, [hat] * len(at))
    chord = float(rng.choice([261.6, 293.7, 329.6]))
    pitches = chord * 2 ** (rng.choice([0, 4, 7, 12], len(at)) / 12)
    notes = [np.sign(_ring(float(hz), 9, beat_s * 0.4)) * 0.35 for hz in pitches]
    return made + _placed(n, at + beat_s / 4, notes)


def _ticking(n: int, speed: float, rng: np.random.Generator) -> Sound:
    step_s = 0.25 / speed
    at = np.arange(0, n / RATE_HZ, step_s)
    pitch = float(rng.uniform(1600, 2300))
    ticks = [_ring(pitch * (1.0 if i % 2 else 0.75), 0.012, 0.08, (1, 2.76)) for i in range(len(at))]
    bells = np.arange(step_s * 2, n / RATE_HZ, step_s * 6)
    metal = [_ring(float(rng.uniform(380, 520)), 0.25, 0.9, (1, 2.76, 5.4, 8.93)) * 0.7 for _ in bells]
    hum = 0.1 * np.sign(np.sin(2 * np.pi * 60 * _time(n)))
    return _placed(n, at, ticks) + _placed(n, bells, metal) + hum
