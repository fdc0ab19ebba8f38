"""What became of a run: counts that add up, and where the time went."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from ingest.commit import Written
from ingest.describe import Children, Described, Event, Opened


@dataclass(frozen=True, slots=True)
class Spent:
    """Where the time of a run went; sums over its workers."""

    media_s: float
    """Running time of what was described, s."""
    videos_per_s: float
    """Contents described a second, from the first worker's answer to the last."""
    cpu_ms_per_media_s: float
    """Processor time of workers and children for a second of media, ms; 0 without media."""
    fetch_ms: float
    """Reading and hashing files."""
    decode_ms: float
    """Waiting for the decoder child."""
    embed_ms: float
    """Raw descriptors."""
    extras_ms: float
    """Quality columns, fingerprints, thumbnails and previews."""
    cpu_ms: float
    """Processor time of workers and children in the stages above but the first."""


@dataclass(frozen=True, slots=True)
class IngestCounts:
    """What became of every listed video; `listed = embedded + skipped + quarantined`."""

    listed: int
    embedded: int
    """Have a new row of embeddings."""
    skipped: int
    """Were embedded before, and have not changed."""
    quarantined: int
    opened: int
    """Files read, to learn what they hold."""
    decoded: int
    """Contents given to a decoder; identical files count once."""
    near_duplicates: int
    """Videos of the catalogue that are near-duplicates of another one."""
    encoder_version: str | None
    """None where nothing has ever been embedded."""
    reasons: dict[str, int]
    """Quarantined videos by reason."""
    rungs: dict[str, int]
    """Decoded contents by the decoder that answered."""
    children: Children
    """Decoder processes started, recycled, late and crashed."""
    worker_deaths: int
    spent: Spent
    seconds: float
    """Of the whole run."""


@dataclass(slots=True)
class Tally:
    """Counts events as they come."""

    opened: int = 0
    decoded: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    children: Children = field(default_factory=Children)
    worker_deaths: int = 0
    began: float = field(default_factory=time.monotonic)
    _ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _media_s: float = 0.0
    _first: float | None = None
    _last: float = 0.0

    def add(self, event: Event) -> None:
        """Counts one event of a pool."""
        self._last = time.monotonic()
        self._first = self._first or self._last
        if isinstance(event, Opened):
            self.opened += 1
            self._ms["fetch"] += event.fetch_ms
            return
        self.decoded += event.content_hash is not None
        if isinstance(event, Described):
            self._add_costs(event)

    def _add_costs(self, event: Described) -> None:
        self.rungs[event.rung] += 1
        self._media_s += event.duration_s
        costs = event.costs
        self._ms["decode"] += costs.decode_ms
        self._ms["embed"] += costs.embed_ms
        self._ms["extras"] += costs.extras_ms
        self._ms["cpu"] += costs.worker_cpu_ms + costs.child_cpu_ms

    def counting(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events, counted as they pass."""
        for event in events:
            self.add(event)
            yield event

    def close(
        self,
        *,
        listed: int,
        ready: pl.Series,
        written: Written,
        near_duplicates: int,
        reasons: dict[str, int],
    ) -> IngestCounts:
        """The counts of the whole run.

        Args:
            listed: rows of the listing.
            ready: ids of the listed videos that have an embedding.
            written: what the end of the run committed.
            near_duplicates: videos of the catalogue that have one.
            reasons: listed videos that are not ready, by the reason of their last quarantine row.

        Raises:
            AssertionError: a listed video is neither embedded nor in quarantine.
        """
        embedded = len(written.video_ids.intersection(ready))
        quarantined = listed - len(ready)
        if sum(reasons.values()) != quarantined:
            raise AssertionError(f"{quarantined} videos have no embedding, {sum(reasons.values())} a reason")
        return IngestCounts(
            listed=listed,
            embedded=embedded,
            skipped=len(ready) - embedded,
            quarantined=quarantined,
            opened=self.opened,
            decoded=self.decoded,
            near_duplicates=near_duplicates,
            encoder_version=written.encoder_version,
            reasons=reasons,
            rungs=dict(self.rungs),
            children=self.children,
            worker_deaths=self.worker_deaths,
            spent=self.spent,
            seconds=time.monotonic() - self.began,
        )

    @property
    def spent(self) -> Spent:
        ms = {name: round(float(self._ms[name]), 1) for name in ("fetch", "decode", "embed", "extras", "cpu")}
        lasted = self._last - self._first if self._first else 0.0
        return Spent(
            media_s=round(self._media_s, 3),
            videos_per_s=round(sum(self.rungs.values()) / lasted, 3) if lasted else 0.0,
            cpu_ms_per_media_s=round(ms["cpu"] / self._media_s, 3) if self._media_s else 0.0,
            **{f"{name}_ms": value for name, value in ms.items()},
        )
