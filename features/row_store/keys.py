"""Where feature rows lie in Redis: keys of fixed width, made for a whole array of rows at once.

`rr:{f0a}:v:<load>:<16 hex>`  one video's row in a load (12 hex digits); 16 hash tags, `{f00}` to `{f0f}`
`rr:{f0a}:u:<load>:<32 hex>`  one user's row, by the BLAKE2b hash of the id
`rr:{f0a}:v:<load>`           identities of the rows of that shard, portion by portion
`rr:{f0a}:v:<load>:at`        how many of them are in
`rr:{f}:v:<load>`             what the load is: schema, rows, instant, when it was complete
`rr:{f}:v:live`, `:of:<hash>` the latest complete load, and the latest of a schema
`rr:{f}:v:loads`, `:workers`  all loads there are, and who reads which until when
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import Int64s
from features.errors import BadInput

ROW_SHARDS: Final = 16
USER_BYTES: Final = 16

Bytes = npt.NDArray[np.uint8]
Keys = Int64s | Sequence[str]
"""Whose rows: catalogue keys of videos, int64, (n,), or ids of users."""

_LETTERS: Final = {"video": "v", "user": "u"}
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
"""The two digits of each byte, as they lie in memory."""
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: its product's high bits spread any regular run of keys evenly."""


def identities(entity: str, keys: Keys) -> Bytes:
    """What stands for each row in its key, uint8, (n, 8) for videos and (n, 16) for users."""
    if entity == "video":
        given = np.asarray(keys)
        if given.ndim != 1 or given.dtype != np.int64:
            raise BadInput(f"video keys are {given.dtype} of shape {given.shape}; give int64 of shape (n,)")
        return given.astype(">i8").view(np.uint8).reshape(len(given), 8)
    hashed = [
        hashlib.blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=USER_BYTES).digest()
        for key in keys
    ]
    return np.frombuffer(b"".join(hashed), np.uint8).reshape(len(hashed), USER_BYTES)


def shards_of(identity: Bytes) -> Bytes:
    """Shard of each row, uint8, (n,), in [0, ROW_SHARDS)."""
    last = np.ascontiguousarray(identity[:, -8:]).view(">u8")[:, 0].astype(np.uint64)
    return np.asarray((last * _SPREAD) >> np.uint64(60), np.uint8)


@dataclass(frozen=True, slots=True)
class RowKeys:
    """Keys of one entity's rows and of what is noted about them."""

    namespace: str
    entity: str

    @property
    def live(self) -> str:
        """Names the latest complete load."""
        return self._meta("live")

    @property
    def loads(self) -> str:
        """Set of all loads."""
        return self._meta("loads")

    @property
    def workers(self) -> str:
        """Who reads which load, `<load>:<worker>`, scored by when that lapses, ms."""
        return self._meta("workers")

    def of_schema(self, hashed: int) -> str:
        """Names the latest complete load of a schema."""
        return self._meta(f"of:{hashed:08x}")

    def load(self, load: str) -> str:
        """Says what a load is."""
        return self._meta(load)

    def index(self, load: str, shard: int) -> str:
        """List of a shard's portions: identities, one after the other."""
        return f"{self.namespace}:{{f{shard:02x}}}:{_LETTERS[self.entity]}:{load}"

    def progress(self, load: str, shard: int) -> str:
        """How many rows of a shard are in."""
        return self.index(load, shard) + ":at"

    def rows(self, load: str, identity: Bytes, shards: Bytes) -> Bytes:
        """Key of each row, uint8, (n, length): all have one length."""
        table = _starts(self, load)
        n, width = identity.shape
        keys = np.empty((n, table.shape[1] + 2 * width), np.uint8)
        keys[:, : table.shape[1]] = table[shards]
        keys[:, table.shape[1] :] = _HEX[identity].view(np.uint8).reshape(n, 2 * width)
        return keys

    def _meta(self, rest: str) -> str:
        return f"{self.namespace}:{{f}}:{_LETTERS[self.entity]}:{rest}"


@functools.lru_cache(maxsize=64)
def _starts(keys: RowKeys, load: str) -> Bytes:
    """What the keys of each shard's rows begin with, uint8, (ROW_SHARDS, length); kept, few are read."""
    starts = [f"{keys.index(load, shard)}:".encode() for shard in range(ROW_SHARDS)]
    return np.frombuffer(b"".join(starts), np.uint8).reshape(ROW_SHARDS, -1)
