"""A sound as 32 bits for each eighth of a second, which a low bit rate or another loudness hardly change."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft  # type: ignore[import-untyped]  # half the time of NumPy's in single precision

from ingest.media.decode import Samples

HOP_S: Final = 0.125
WINDOW_S: Final = 0.5
LAG: Final = 2
"""Steps between the two windows whose difference gives a bit: a shift of half a step then changes few."""
BANDS: Final = 33
LOW_HZ, HIGH_HZ = 300.0, 2000.0
WORKING_HZ: Final = 5400.0
"""Sound is slowed down to no less than this rate."""
TAPS: Final = 3
"""Length of the low-pass before that, in samples of the new rate."""
TOGETHER: Final = 64
"""Windows looked at together."""
SILENT_DBFS: Final = -70.0
ABSURD: Final = 1e12
"""A sample this large may not be squared in single precision."""
MIN_MARKS: Final = 12
"""Sub-fingerprints, different ones, under which a sound is too short or too even to be told from others."""

Marks = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


def hash_sound(audio: Samples, rate_hz: int) -> Marks:
    """One sub-fingerprint for each 0.125 s, uint32, (n,); 0 in silence; none at all where they say nothing.

    Args:
        audio: mono, float32, (n,).
        rate_hz: of `audio`; under 4.1 kHz there is too little to hear.

    Source:
        Haitsma and Kalker 2002, A highly robust audio fingerprinting system, section 4.2: 33 bands from 300
        to 2000 Hz, the sign of the change in time of the difference of neighbouring bands. Here windows are
        0.5 s long instead of 0.37 s and 0.25 s apart instead of 11.6 ms, with a step of 0.125 s, as two whole
        sounds are compared and no excerpt is looked up; and levels are logarithmic.
    """
    none = np.zeros(0, np.uint32)
    if rate_hz < 2.05 * HIGH_HZ:
        return none
    with np.errstate(over="ignore", invalid="ignore"):  # absurd floats, which a file may hold, are met below
        slow, rate = _slower(audio, rate_hz)
    window = _fast_length(WINDOW_S * rate)
    count = int((len(slow) - window) / (HOP_S * rate)) + 1
    if len(slow) < window or count <= MIN_MARKS or not np.abs(slow).max() < ABSURD:
        return none
    starts = np.round(np.arange(count) * HOP_S * rate).astype(np.int64)
    levels, power = _levels(sliding_window_view(slow, window), starts, rate / window)
    slopes = levels[:, :-1] - levels[:, 1:]
    loud = power > 10 ** (SILENT_DBFS / 10)
    marks = np.packbits(slopes[LAG:] > slopes[:-LAG], axis=1, bitorder="little").view("<u4").ravel()
    marks = np.where(loud[LAG:] & loud[:-LAG], marks, np.uint32(0))
    return marks if len(np.unique(marks)) > MIN_MARKS else none


@lru_cache(maxsize=32)
def _fast_length(longest: float) -> int:
    """The largest product of twos, threes and fives up to a length: others are slow to transform."""
    twos, threes, fives = np.ogrid[:16, :8, :4]
    lengths = 2**twos * 3**threes * 5**fives
    return int(lengths[lengths <= longest].max())


def _slower(audio: Samples, rate_hz: int) -> tuple[Samples, float]:
    """The sound without its high notes, and its new rate, Hz: a whole part of the old, 5.4 kHz or more.

    The filter is as long as TAPS steps, so that all its products are one product of matrices.
    """
    factor = int(rate_hz // WORKING_HZ)
    if factor <= 1 or len(audio) < TAPS * factor:
        return audio, float(rate_hz)
    steps = audio[: len(audio) // factor * factor].reshape(-1, factor)
    products = _low_pass(factor) @ steps.T  # (TAPS, n / factor)
    count = len(steps) - TAPS + 1
    slow = products[0, :count]
    for tap in range(1, TAPS):
        slow = slow + products[tap, tap : tap + count]
    return slow, rate_hz / factor


@lru_cache(maxsize=32)
def _low_pass(factor: int) -> Floats:
    """A windowed sinc that cuts at 0.45 of the new rate, (TAPS, factor): a row for each step it reaches."""
    at = np.arange(TAPS * factor) - (TAPS * factor - 1) / 2
    filtered = np.sinc(0.9 * at / factor) * np.hamming(TAPS * factor)
    rows: Floats = (filtered / filtered.sum()).reshape(TAPS, factor).astype(np.float32)
    return rows


def _levels(windows: Samples, starts: Int64s, bin_hz: float) -> tuple[Floats, Floats]:
    """Level of each of the 33 bands, log 10 of power, (n, 33), and mean power, (n,), from each start on.

    A few windows at a time, which stay in the processor's cache.
    """
    highest, window = int(HIGH_HZ / bin_hz) + 1, windows.shape[1]
    levels, power = np.empty((len(starts), BANDS), np.float32), np.empty(len(starts), np.float32)
    for first in range(0, len(starts), TOGETHER):
        at = slice(first, first + TOGETHER)
        parts = windows[starts[at]] * _hann(window)
        spectrum = rfft(parts, axis=1)[:, :highest]
        squares = np.square(spectrum.real) + np.square(spectrum.imag)
        levels[at] = np.log10(squares @ _bands(highest, bin_hz) + 1e-10)
        power[at] = np.vecdot(parts, parts) / window
    return levels, power


@lru_cache(maxsize=32)
def _hann(length: int) -> Floats:
    return np.hanning(length).astype(np.float32)


@lru_cache(maxsize=32)
def _bands(bins: int, bin_hz: float) -> Floats:
    """Which bins of a spectrum belong to which of the 33 bands of equal ratio, (bins, 33)."""
    edges = np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 1)
    hz = np.arange(bins)[:, None] * bin_hz
    return ((hz >= edges[:-1]) & (hz < edges[1:])).astype(np.float32)
