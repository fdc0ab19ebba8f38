"""Names of the store's keys: all of one user share a hash tag, and with it a slot of a Redis Cluster."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from features.packing import identity_hash

USER_SHARDS: Final = 256
EXPOSURE_SHARDS: Final = 16


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """Keys below one namespace."""

    namespace: str

    def named(self, rest: str) -> str:
        """Any key."""
        return f"{self.namespace}:{rest}"

    def user(self, user_id: str, kind: str) -> bytes:
        """What is held of one user: `h` record, `d` identities, `m` record in a merge, `j` merges done."""
        return self.named(f"{{u{shard_of(user_id)}}}:{kind}:{user_id}").encode("utf-8", "surrogatepass")

    def outbox(self, shard: int) -> str:
        """The stream that the events of a shard's users leave by."""
        return self.named(f"{{u{shard}}}:o")

    def loading(self, load: str) -> str:
        """Says that a load is under way, on the node that is asked whether the store is empty."""
        return f"{{{self.named('live')}}}:{load}"

    def exposure(self, shard: int) -> str:
        """A stream of slates."""
        return self.named(f"{{x{shard}}}:x")

    def lost(self, shard: int) -> str:
        """How many slates the bound of a stream has cost."""
        return self.named(f"{{x{shard}}}:lost")

    def refused(self, shard: int) -> str:
        """Hashes of the users of a shard who may not come back."""
        return self.named(f"{{u{shard}}}:g")

    def outboxes(self) -> list[str]:
        """All streams of accepted events."""
        return [self.outbox(at) for at in range(USER_SHARDS)]

    def exposures(self) -> list[str]:
        """All streams of slates."""
        return [self.exposure(at) for at in range(EXPOSURE_SHARDS)]


def shard_of(user_id: str) -> int:
    """The shard whose slot holds a user's keys."""
    return zlib.crc32(user_id.encode("utf-8", "surrogatepass")) % USER_SHARDS


def refusal_of(user_id: str) -> tuple[int, bytes]:
    """Shard and hash under which a user is refused."""
    return shard_of(user_id), identity_hash(user_id)
