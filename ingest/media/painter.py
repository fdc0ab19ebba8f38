"""Pictures of PyAV frames: RGB, scaled in one step, turned upright."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ingest.failures import MediaRefused
from ingest.media.pictures import Frames, Size


class Painter:
    """Gives frames of one track at one size; keeps the scaler's tables between them."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._scaler = VideoReformatter()

    def of(self, frame: Any, upright: bool = True) -> Frames:
        """RGB, uint8, (h, w, 3); as stored, squeezed into the size, where it need not be upright.

        Raises:
            MediaRefused: nothing converts its pixels.
        """
        turns = int(frame.rotation) // 90 % 4 if upright else 0
        stored = self._size.turned if turns % 2 else self._size
        smaller = stored.width * stored.height < frame.width * frame.height
        how = "AREA" if smaller else "BILINEAR"  # every pixel of the source counts
        try:
            scaled = self._scaler.reformat(frame, stored.width, stored.height, "rgb24", interpolation=how)
            rgb = np.asarray(scaled.to_ndarray(), np.uint8)
        except (av.error.FFmpegError, ValueError) as error:
            said = f"pixels {frame.format.name} cannot be converted"
            raise MediaRefused("decode", "corrupt", said) from error
        return np.ascontiguousarray(np.rot90(rgb, turns))
