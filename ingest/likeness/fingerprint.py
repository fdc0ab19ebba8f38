"""What stays of a clip's picture and sound when it is encoded anew, scaled, cropped a little or made louder.

A few bytes for each frame and each eighth of a second, compared bit by bit in `ingest.likeness.duplicates`.
NumPy and SciPy only, so that it runs wherever a clip is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.likeness.picture_hash import hash_frames
from ingest.likeness.sound_hash import hash_sound
from ingest.media.decode import Clip


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of a clip; two of them are compared, one says nothing."""

    frame_hashes: bytes | None
    """Two little-endian uint64 for each frame that shows something, in order of time: of the picture, and of
    the picture less a margin of 4 %. None where no frame shows anything."""
    sound_hashes: bytes | None
    """A little-endian uint32 for each 0.125 s of the sound, 0 in silence; None where it says too little."""


def fingerprint(clip: Clip) -> Fingerprint:
    """Perceptual hashes of a clip's frames and of its sound."""
    hashes = hash_frames(clip.frames) if clip.frames is not None else np.zeros(0, np.uint64)
    marks = hash_sound(clip.audio, clip.sample_rate_hz) if clip.audio is not None else np.zeros(0, np.uint32)
    return Fingerprint(
        frame_hashes=hashes.astype("<u8").tobytes() if len(hashes) else None,
        sound_hashes=marks.astype("<u4").tobytes() if len(marks) else None,
    )
