"""A Redis Cluster client that asks for the cluster's layout at its first call, not while it is made."""

from __future__ import annotations

import threading
from typing import Any

from redis.cluster import RedisCluster


class LazyCluster(RedisCluster):
    """A `RedisCluster` that is opened by the first use of one of its attributes.

    A process may thus start before its cluster does. An opening that fails is tried again by the next call.
    """

    def __init__(self, **given: Any) -> None:
        """Keeps the arguments of `RedisCluster`; nothing is sent."""
        self._given = given
        self._opening = threading.RLock()
        self._depth = 0
        self._open = False

    def __getattr__(self, name: str) -> Any:
        """What `RedisCluster.__init__` sets; called for attributes that are not there."""
        if name.startswith("__") or "_open" not in self.__dict__:
            raise AttributeError(name)
        with self._opening:
            if self._depth:  # asked for by the opening itself, in this thread
                raise AttributeError(name)
            if not self._open:
                self._open_now()
        return object.__getattribute__(self, name)

    def _open_now(self) -> None:
        self._depth += 1
        try:
            # the client appends to the list that it is given
            super().__init__(**self._given | {"startup_nodes": list(self._given.get("startup_nodes") or ())})
            self._open = True
        finally:
            self._depth -= 1

    def close(self) -> None:
        """Closes all connections; one that was never opened has none."""
        if self.__dict__.get("_open"):
            super().close()
