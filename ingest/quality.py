"""What a decoded clip looks and sounds like, as columns: nothing is thrown away for it here.

Every measure looks at the picture or the sound in small parts, so that bars around a film, a constant
offset of a microphone or a small moving thing do not decide for the whole.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from ingest.media.decode import Clip, Frames, Samples

BLACK_LUMA: Final = 25
"""Of 255: a tenth of the range, so that black of broadcast range (16) and its noise count as black."""
BLACK_AREA: Final = 0.98
"""Share of a frame that has to be that dark; both figures as in FFmpeg's blackdetect."""
BLOCK: Final = 8
"""Side of the blocks whose means are compared, pixels."""
FROZEN_DIFFERENCE: Final = 2.0
"""Of 255. Frames are equal where no block's mean changes by more: coding noise does not, a pointer does."""
REBLUR: Final = 9
"""Length of the moving mean that blurs again, pixels."""
BLURRED: Final = 0.46
"""Share of edge contrast kept by the second blur, over which a frame counts as blurred."""
FLAT_GRADIENT: Final = 0.15
"""Mean step between neighbouring pixels, of 255, under which there is nothing to be sharp or blurred."""
SILENT_DBFS: Final = -60.0
WINDOW_S: Final = 0.02
FULL_SCALE: Final = 0.999
FLOOR_DBFS: Final = -120.0
PART: Final = 1 << 17
"""Samples looked at together."""
SMALL_OFFSET: Final = 0.01
"""A mean under this leaves single precision exact enough to tell silence."""
ABSURD: Final = 1e12
"""A sample this large may not be squared in single precision."""

Floats = npt.NDArray[np.float64]


def quality_columns(clip: Clip) -> dict[str, float | int | None]:
    """The QUALITY columns of a clip; null where a modality, or a second frame, is missing."""
    return {
        **_picture_columns(clip.frames),
        **_sound_columns(clip.audio, clip.sample_rate_hz),
        "duration_mismatch_s": clip.audio_s - clip.video_s if clip.audio_s > 0 and clip.video_s > 0 else None,
        "shots": clip.shots,
        "frames_wanted": clip.frames_wanted,
        "frames_got": 0 if clip.frames is None else len(clip.frames),
    }


def luma(frames: Frames) -> Frames:
    """Brightness of every pixel, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), uint8, (t, h, w)."""
    t, height, width, _ = frames.shape
    tall = Image.fromarray(frames.reshape(t * height, width, 3))  # one call for all frames: half the time
    return np.asarray(tall.convert("L")).reshape(t, height, width)


def _picture_columns(frames: Frames | None) -> dict[str, float | None]:
    if frames is None or not len(frames):
        return {"black_share": None, "frozen_share": None, "blurred_share": None}
    grey = luma(frames)
    return {
        "black_share": float(np.mean(_dark_area(grey) >= BLACK_AREA)),
        "frozen_share": float(np.mean(largest_change(grey) < FROZEN_DIFFERENCE)) if len(grey) > 1 else None,
        "blurred_share": float(np.mean(blur(grey) > BLURRED)),
    }


def _dark_area(grey: Frames) -> Floats:
    """Share of each frame's pixels that are black, (t,)."""
    share: Floats = (grey[:, ::4, ::4] <= BLACK_LUMA).mean(axis=(1, 2))
    return share


def largest_change(grey: Frames) -> Floats:
    """Largest change of a block's mean between neighbouring frames, of 255, (t - 1,)."""
    t, height, width = grey.shape
    high, wide = min(BLOCK, height), min(BLOCK, width)
    whole = np.ascontiguousarray(grey[:, : height // high * high])
    small = np.asarray(Image.fromarray(whole.reshape(-1, width)).reduce((wide, high)))
    means = small.reshape(t, height // high, -1).astype(np.int16)
    change: Floats = np.abs(np.diff(means, axis=0)).max(axis=(1, 2)).astype(np.float64)
    return change


def blur(grey: Frames) -> Floats:
    """Share of its edges' contrast that each frame keeps when it is blurred again, (t,); 0 for a flat frame.

    A sharp picture loses most of it, a blurred one hardly any; contrast and brightness cancel out.

    Source:
        Crete et al. 2007, The blur effect, equations 1-6, with two differences. Steps between neighbouring
        pixels weigh by their height, so that the edges decide and not the sky behind them; and both
        directions are added before the division, as stripes have edges in one only. Every fourth line is
        read.
    """
    kept, steps, total, seen = np.zeros((4, len(grey)))
    for lines in (grey[:, ::4], grey[:, :, ::4].swapaxes(1, 2)):
        light = lines.astype(np.float32)
        step = np.abs(light[:, :, 5:-4] - light[:, :, 4:-5]).reshape(len(grey), -1)
        ends = np.abs(light[:, :, REBLUR:] - light[:, :, :-REBLUR]).reshape(len(grey), -1)
        # What a moving mean changes from one place to the next is the difference of its ends over its length.
        kept += np.vecdot(step, np.minimum(step, ends / REBLUR))
        steps += np.vecdot(step, step)
        total += step.sum(axis=1)
        seen += step.shape[1]
    share: Floats = np.where(total > FLAT_GRADIENT * seen, kept / np.maximum(steps, 1.0), 0.0)
    return share


def _sound_columns(audio: Samples | None, rate_hz: int) -> dict[str, float | None]:
    if audio is None or not len(audio):
        return {"silence_share": None, "clipped_share": None, "loudness_dbfs": None}
    length = min(len(audio), max(1, int(WINDOW_S * rate_hz)))
    offset = _rough_offset(audio)
    sums, squares, clipped = _window_sums(audio, length, offset)
    rest = audio[len(sums) * length :].astype(np.float64) - offset
    mean = (sums.sum() + rest.sum()) / len(audio)
    power = (squares.sum() + rest @ rest) / len(audio) - mean**2
    in_windows = squares / length - (sums / length) ** 2
    clipped += int(np.count_nonzero(np.abs(rest + offset) >= FULL_SCALE))
    return {
        "silence_share": float((_dbfs(in_windows) < SILENT_DBFS).mean()),
        "clipped_share": clipped / len(audio),
        "loudness_dbfs": float(_dbfs(power)),
    }


def _rough_offset(audio: Samples) -> float:
    """About the mean of a sound, to be taken off before squaring; 0 where that would change nothing."""
    mean = float(np.mean(audio[:: max(1, len(audio) >> 12)], dtype=np.float64))
    return mean if abs(mean) > SMALL_OFFSET else 0.0


def _window_sums(audio: Samples, length: int, offset: float) -> tuple[Floats, Floats, int]:
    """Sum and sum of squares of each whole window about an offset, and samples at full scale in them.

    In parts that stay in the processor's cache; in double precision where a file holds absurd floats.
    """
    count = len(audio) // length
    step = max(1, PART // length)
    sums, squares, clipped = np.empty(count), np.empty(count), 0
    for first in range(0, count, step):
        part = audio[first * length : min(count, first + step) * length]
        size = np.abs(part)
        peak = size.max()
        exact = part if peak < ABSURD else part.astype(np.float64)
        windows = (exact - exact.dtype.type(offset) if offset else exact).reshape(-1, length)
        at = slice(first, first + len(windows))
        sums[at], squares[at] = windows.sum(axis=1), np.vecdot(windows, windows)
        clipped += int(np.count_nonzero(size >= FULL_SCALE)) if peak >= FULL_SCALE else 0
    return sums, squares, clipped


def _dbfs(power: npt.ArrayLike) -> Floats:
    decibels: Floats = 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DBFS / 10.0)))
    return decibels
