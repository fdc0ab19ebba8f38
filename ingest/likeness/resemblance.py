"""Which pairs of clips are near-duplicates: the rules that stand in `duplicates`, in figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ingest.likeness.hash_distance import picture_distance, sound_distance
from ingest.likeness.prints import Flags, Floats, Int64s, Prints

SAME_SHARE: Final = 0.75
"""Of each clip's frames that have to be found in the other."""
SAME_PICTURE: Final = 10.0
"""Mean of the differing bits, each frame with its nearest, over both clips; different clips have over 16,
two takes of one motif may come down to 11."""
SHARE_WITH_SOUND: Final = 0.5
"""Likewise, where the sound agrees too: one sign supports the other, as in a trimmed clip of many cuts."""
PICTURE_WITH_SOUND: Final = 14.0
DUBBED_PICTURE: Final = 7.0
"""Mean of the differing bits where both have sound, and another one: a common motif looks alike within 10."""
STILL_PICTURE: Final = 5.0
"""Mean of the differing bits for such clips, where one has no sound."""
SAME_SOUND: Final = 0.32
"""Share of differing bits; 0.5 is chance, and the best shift of two different sounds gives 0.38 and more."""


@dataclass(frozen=True, slots=True)
class Resemblance:
    """Pairs of clips that are near-duplicates."""

    first: Int64s
    second: Int64s
    similarity: Floats
    """(p,), [0, 1]: 1 less the differing bits over those of chance; the mean where both senses agree."""
    by_picture: Flags
    by_sound: Flags

    def take(self, at: npt.NDArray[Any]) -> Resemblance:
        """Some of the pairs."""
        return Resemblance(
            self.first[at], self.second[at], self.similarity[at], self.by_picture[at], self.by_sound[at]
        )


def compare(prints: Prints, first: Int64s, second: Int64s) -> Resemblance:
    """Those of the pairs that are near-duplicates; the rules stand in `ingest.likeness.duplicates`."""
    bits, share = picture_distance(prints, first, second)
    seen = prints.seen[first] & prints.seen[second]
    perhaps = seen & (share >= SHARE_WITH_SOUND) & (bits <= PICTURE_WITH_SOUND)
    asked = perhaps | ~(prints.seen[first] | prints.seen[second])
    first, second, bits, share, seen = first[asked], second[asked], bits[asked], share[asked], seen[asked]
    errors = sound_distance(prints, first, second)
    by_sound = errors <= SAME_SOUND
    still = prints.still[first] | prints.still[second]
    unheard = ~(prints.heard[first] & prints.heard[second])
    moving = np.where(unheard, SAME_PICTURE, DUBBED_PICTURE)
    alike = (share >= SAME_SHARE) & (bits <= np.where(still, STILL_PICTURE, moving)) & (~still | unheard)
    by_picture = seen & (by_sound | alike)
    looks, sounds = 1 - bits / 32, 1 - 2 * errors
    similarity = np.where(by_picture, np.where(by_sound, (looks + sounds) / 2, looks), sounds)
    found = Resemblance(first, second, np.clip(similarity, 0.0, 1.0), by_picture, by_sound)
    return found.take(by_picture | (by_sound & ~seen))
