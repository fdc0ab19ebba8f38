"""How a server runs: every setting, its unit, its default and its bound, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import BadInput

MAX_K: Final = 200
"""Most items in one slate."""

MAX_EVENTS: Final = 100
"""Most events in one request, and most events of a history that a request brings along."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Settings of one server; checked where they are made."""

    workspace: Path
    """Directory of the workspace to serve."""
    redis_url: str | None = None
    """Redis to use; None starts a private one in the workspace."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """TCP port to listen on, 1 to 65535."""
    workers: int = 1
    """Worker processes, 1 to 64."""
    threads: int = 2
    """Threads of a worker that compute slates, 1 to 64; as many more serve search and pages."""
    waiting: int = 64
    """Requests of a pool that may wait for a thread before the next is turned away with 503, >= 0."""
    budget_ms: float = 50.0
    """Time for one slate, ms, > 0; once spent, popular videos are served."""
    store_timeout_ms: float = 100.0
    """Time for one Redis round trip, ms, > 0."""
    candidates: int = 300
    """Videos that are retrieved and scored, 1 to 10000."""
    diversity: float = 0.15
    """Weight of being unlike the rest of the slate, [0, 1]; a request may choose its own."""
    creator_cap: int = 3
    """Most videos of one creator in a slate, >= 1; given up where too few would be left."""
    max_body_bytes: int = 1 << 20
    """Largest request body, bytes, >= 1024."""
    watch_s: float = 2.0
    """Seconds between looks at the published bundle and at the store, > 0."""
    drain_s: float = 60.0
    """Seconds between moves of feedback and exposures from Redis into the workspace, > 0."""
    clock_shift_ms: int = 0
    """Added to the time of day: a recorded world is served at its own time, not today's."""
    namespace: str = "rr"
    """First part of every Redis key."""
    bundle: str | None = None
    """Serve this bundle whatever is published; None follows the published one."""

    def __post_init__(self) -> None:
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if not least <= value <= most:
                raise BadInput(f"serve setting {name} is {value}; {least} to {most} is allowed")


_BOUNDS: Final = (
    ("port", 1, 65535),
    ("workers", 1, 64),
    ("threads", 1, 64),
    ("waiting", 0, 100_000),
    ("budget_ms", 0.001, 60_000.0),
    ("store_timeout_ms", 0.1, 60_000.0),
    ("candidates", 1, 10_000),
    ("diversity", 0.0, 1.0),
    ("creator_cap", 1, 1_000_000),
    ("max_body_bytes", 1024, 1 << 30),
    ("watch_s", 0.01, 3600.0),
    ("drain_s", 0.01, 86_400.0),
)
