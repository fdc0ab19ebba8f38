"""What is seen of a clip before it is played: one frame, or a few in a loop, as WebP; else a placeholder."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from ingest.media.decode import Clip, Frames

LONG_SIDE: Final = 320
"""Pixels."""
QUALITY: Final = 70
METHOD: Final = 0
"""WebP's effort, 0 to 6: the cheapest costs a tenth more bytes."""
PLACEHOLDER_SIZE: Final = (320, 180)
DARK, LIGHT = (38, 42, 51), (124, 134, 152)

PREVIEW_LONG_SIDE: Final = 176
PREVIEW_SHORT_SIDE: Final = 16
"""At least, pixels: a picture still longer and thinner is shown wider than it is."""
PREVIEW_MS: Final = 3000
"""Of the whole loop."""
PREVIEW_FRAMES: Final = 16
"""At most; of more, as many at even steps."""
PREVIEW_QUALITY: Final = 50


def encode_thumbnail(frame: Frames | None) -> bytes:
    """The picture as WebP, its longer side 320 pixels, proportions kept; the placeholder for None."""
    image = _placeholder() if frame is None else Image.fromarray(frame)
    scale = LONG_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "WEBP", quality=QUALITY, method=METHOD)
    return buffer.getvalue()


def encode_preview(clip: Clip) -> bytes | None:
    """The clip's frames as an animated WebP that loops in 3 s; None where there are not two frames.

    The frames, which were squeezed for the encoders, get the proportions of the display back; the longer side
    is 176 pixels. All frames are one chain of differences: a loop is played from its start.
    """
    if clip.frames is None or len(clip.frames) < 2:
        return None
    chosen = np.linspace(0, len(clip.frames) - 1, min(len(clip.frames), PREVIEW_FRAMES)).round().astype(int)
    size = preview_size(clip.found.width, clip.found.height)
    first, *others = (
        Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR) for frame in clip.frames[chosen]
    )
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_durations_ms(len(chosen)),
        loop=0,  # for ever
        quality=PREVIEW_QUALITY,
        method=METHOD,
        kmin=0,  # with kmax 0: no frame after the first is encoded a second time as a key frame
        kmax=0,
    )
    return buffer.getvalue()


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Size of a preview, pixels.

    Args:
        width: of the picture as displayed, pixels; 0 where unknown, then a square is taken.
        height: likewise.

    Example:
        >>> preview_size(1280, 720), preview_size(720, 1280), preview_size(1, 1000)
        ((176, 99), (99, 176), (16, 176))
    """
    longer = max(width, height)
    if min(width, height) < 1:
        return PREVIEW_LONG_SIDE, PREVIEW_LONG_SIDE

    def side(pixels: int) -> int:
        return max(PREVIEW_SHORT_SIDE, round(pixels * PREVIEW_LONG_SIDE / longer))

    return side(width), side(height)


def _durations_ms(frames: int) -> list[int]:
    """How long each frame is shown; exactly 3 s together."""
    ends = np.linspace(0, PREVIEW_MS, frames + 1).round().astype(int)
    return [int(shown) for shown in np.diff(ends)]


def _placeholder() -> Image.Image:
    """Bars of a level meter: there may be sound, there is no picture."""
    image = Image.new("RGB", PLACEHOLDER_SIZE, DARK)
    draw = ImageDraw.Draw(image)
    height = PLACEHOLDER_SIZE[1]
    for place, level in enumerate(np.abs(np.sin(np.arange(15) * 1.3)) * 0.5 + 0.1):
        x, half = 40 + place * 17, int(level * height / 2)
        draw.rounded_rectangle((x, height // 2 - half, x + 8, height // 2 + half), 4, LIGHT)
    return image
