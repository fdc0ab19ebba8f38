"""What a decoded clip looks and sounds like, as columns: nothing is thrown away for it here."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.decode import Clip, Frames, Samples

BLACK_LUMA: Final = 16.0
"""Of 255; video black in broadcast range."""
FROZEN_DIFFERENCE: Final = 0.5
"""Mean absolute difference of neighbouring frames, of 255, under which they count as equal."""
SILENT_DBFS: Final = -60.0
WINDOW_S: Final = 0.02
FULL_SCALE: Final = 0.999
FLOOR_DBFS: Final = -120.0
LUMA: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""ITU-R BT.709."""


def quality_columns(clip: Clip) -> dict[str, float | int | None]:
    """The QUALITY columns of a clip; null where a modality, or a second frame, is missing."""
    return {
        **_picture_columns(clip.frames),
        **_sound_columns(clip.audio, clip.sample_rate_hz),
        "frames_wanted": clip.frames_wanted,
        "frames_got": 0 if clip.frames is None else len(clip.frames),
    }


def _picture_columns(frames: Frames | None) -> dict[str, float | None]:
    if frames is None:
        return {"black_share": None, "frozen_share": None}
    small = frames[:, ::4, ::4].astype(np.float32)  # (t, h/4, w/4, 3)
    black = (small @ LUMA).mean(axis=(1, 2)) < BLACK_LUMA
    frozen = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3)) < FROZEN_DIFFERENCE
    return {"black_share": float(black.mean()), "frozen_share": float(frozen.mean()) if len(frozen) else None}


def _sound_columns(audio: Samples | None, rate_hz: int) -> dict[str, float | None]:
    if audio is None or not len(audio):
        return {"silence_share": None, "clipped_share": None, "loudness_dbfs": None}
    return {
        "silence_share": float((_dbfs(_window_power(audio, rate_hz)) < SILENT_DBFS).mean()),
        "clipped_share": float((np.abs(audio) >= FULL_SCALE).mean()),
        "loudness_dbfs": float(_dbfs(np.array([np.square(audio, dtype=np.float64).mean()]))[0]),
    }


def _window_power(audio: Samples, rate_hz: int) -> npt.NDArray[np.float64]:
    """Mean square of each whole window of 20 ms; of all there is where that is shorter."""
    length = min(len(audio), max(1, int(WINDOW_S * rate_hz)))
    whole = len(audio) // length * length
    squares: npt.NDArray[np.float64] = np.square(audio[:whole].astype(np.float64))
    power: npt.NDArray[np.float64] = squares.reshape(-1, length).mean(axis=1)
    return power


def _dbfs(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    decibels: npt.NDArray[np.float64] = 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DBFS / 10.0)))
    return decibels
