"""What things hold in a Redis: bytes and keys of one and of many, and the hash tables that keys need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

BUCKET_BYTES: Final = 8
SMALLEST_TABLE: Final = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What n of something hold, or one of it."""

    used: float
    """Without buckets of hash tables, bytes."""
    dataset: float
    """As Redis counts `used_memory_dataset`, bytes."""
    keys: float
    expiring: float

    def times(self, n: float) -> Cost:
        """The cost of n."""
        return Cost(self.used * n, self.dataset * n, self.keys * n, self.expiring * n)

    def plus(self, other: Cost) -> Cost:
        """The cost of both."""
        return Cost(
            self.used + other.used,
            self.dataset + other.dataset,
            self.keys + other.keys,
            self.expiring + other.expiring,
        )

    @property
    def total(self) -> float:
        """With the buckets that so many keys need, bytes."""
        return self.used + buckets(self.keys) + buckets(self.expiring)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a private server came to."""

    server: str
    """Version of the server."""
    base: Cost
    """A server without users and videos."""
    user: Cost
    """Record of a user."""
    video: Cost
    """Feature row of a video, in one load."""
    load: Cost
    """What a load of feature rows needs besides its rows."""
    misfit: float
    """Largest share by which the third size differed from what the first two foretold."""
    identities: float
    """Of the events of one user within the window of duplicates, bytes."""
    event: float
    """An event that waits for the drain, bytes."""
    slate: float
    """A slate that waits for the drain, bytes."""
    activity: float
    """A video's counts of a clock hour, bytes."""


def buckets(keys: float) -> float:
    """Bytes of the buckets of a hash table with so many keys: it grows in powers of two."""
    if keys <= 0:
        return 0.0
    return float(BUCKET_BYTES * max(SMALLEST_TABLE, 1 << max(int(np.ceil(keys)) - 1, 0).bit_length()))
