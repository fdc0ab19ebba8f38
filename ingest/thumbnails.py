"""One frame of a clip as a small WebP; a placeholder where there is no picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from features.tables import write_durably
from ingest.decode import Frames

LONG_SIDE: Final = 320
"""Pixels."""
QUALITY: Final = 70
PLACEHOLDER_SIZE: Final = (320, 180)
DARK, LIGHT = (38, 42, 51), (124, 134, 152)


def encode_thumbnail(frame: Frames | None) -> bytes:
    """The picture as WebP, its longer side 320 pixels, proportions kept; the placeholder for None."""
    image = _placeholder() if frame is None else Image.fromarray(frame)
    scale = LONG_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def write_thumbnail(frame: Frames | None, path: Path) -> None:
    """Writes `encode_thumbnail(frame)`, so that nobody meets half of it."""
    write_durably(path, encode_thumbnail(frame))


def _placeholder() -> Image.Image:
    """Bars of a level meter: there may be sound, there is no picture."""
    image = Image.new("RGB", PLACEHOLDER_SIZE, DARK)
    draw = ImageDraw.Draw(image)
    height = PLACEHOLDER_SIZE[1]
    for place, level in enumerate(np.abs(np.sin(np.arange(15) * 1.3)) * 0.5 + 0.1):
        x, half = 40 + place * 17, int(level * height / 2)
        draw.rounded_rectangle((x, height // 2 - half, x + 8, height // 2 + half), 4, LIGHT)
    return image
