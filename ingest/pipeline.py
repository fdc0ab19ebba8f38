"""Any pile of videos to embeddings, on Ray: list, plan, describe in workers, commit.

Ray's part is to run `Describer.describe` in several processes and to say when one died. A worker holds one
decoder child and one encoder; a video that costs two workers their life is quarantined.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import polars as pl
import ray

from features.errors import BadInput
from features.workspace import Workspace
from ingest.commit import commit_embeddings
from ingest.decode import DecodeSettings
from ingest.decoder_child import ChildLimits
from ingest.describe import Described, Describer, NotDescribed, Outcome, Task
from ingest.descriptors import commit_listing_failures, commit_shard, descriptors_table
from ingest.encoders.signal import SignalEncoder
from ingest.failures import DecodeFailure
from ingest.increment import Plan, plan_increment
from ingest.listing import list_source
from ingest.probe import Limits

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

IN_FLIGHT: Final = 2
"""Videos given to a worker at a time: one in hand and one waiting, so that it is never idle."""
MAX_ATTEMPTS: Final = 2
"""Workers that one video may cost."""
OBJECT_STORE_BYTES: Final = 100 << 20
"""Results are small; Ray would take 30 % of the memory."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How a source is ingested."""

    frames: int = 16
    """Frames taken of a video, > 0."""
    max_audio_s: float = 60.0
    """Longest stretch of sound taken, s."""
    workers: int | None = None
    """Worker processes; None for one a processor."""
    ray_address: str | None = None
    """An existing cluster; None starts one on this machine."""
    shard_size: int = 64
    """Videos a commit while workers run."""
    verify: bool = False
    """Hash every file again, also where size and modification time are as known."""
    refit: bool = False
    """Fit the encoder's statistics anew: a new encoder version."""
    limits: ChildLimits = field(default_factory=ChildLimits)
    """Of a decoder child."""
    media: Limits = field(default_factory=Limits)
    """Of a file."""

    @property
    def decode(self) -> DecodeSettings:
        return DecodeSettings(frames=self.frames, max_audio_s=self.max_audio_s)

    def __post_init__(self) -> None:
        if self.frames < 1 or self.shard_size < 1 or (self.workers is not None and self.workers < 1):
            given = f"frames {self.frames}, shard_size {self.shard_size}, workers {self.workers}"
            raise BadInput(f"{given}: each must be at least 1")


@dataclass(frozen=True, slots=True)
class IngestCounts:
    """What became of every listed video; `listed = embedded + skipped + quarantined`."""

    listed: int
    embedded: int
    """Have a new row of embeddings."""
    skipped: int
    """Were embedded before, and have not changed."""
    quarantined: int
    decoded: int
    """Contents given to a decoder; identical files count once."""
    encoder_version: str | None
    """None where nothing has ever been embedded."""
    reasons: dict[str, int]
    """Quarantined videos by reason."""
    rungs: dict[str, int]
    """Decoded contents by the decoder that answered."""
    seconds: float


def ingest_videos(
    workspace: Workspace,
    source: str,
    settings: IngestSettings | None = None,
    progress: Progress | None = None,
) -> IngestCounts:
    """Embeds what is new in a source, and accounts for every file of it.

    Args:
        workspace: where everything is written.
        source: a directory, glob or manifest, see `listing.list_source`.
        settings: how.
        progress: called with (videos done, videos listed).

    Raises:
        BadInput: the source is missing, empty or no manifest.
    """
    settings = settings or IngestSettings()
    started = time.monotonic()
    listing = list_source(source)
    encoder = SignalEncoder()
    version = _version(encoder.descriptor_version, settings)
    table = descriptors_table(workspace, version)
    done = table.read(["content_hash"])["content_hash"]
    plan = plan_increment(workspace, listing, done, version, verify=settings.verify)
    commit_listing_failures(workspace, plan)
    rungs: Counter[str] = Counter()
    for shard in _shards(_describe_all(plan, settings, listing.height, progress), settings.shard_size):
        commit_shard(workspace, table, plan, shard)
        rungs.update(outcome.rung for outcome in shard if isinstance(outcome, Described))
    written = commit_embeddings(workspace, table, plan.files, encoder, refit=settings.refit)
    ready = plan.files.join(table.read(["content_hash"]), on="content_hash", how="semi")["video_id"]
    embedded = len(written.video_ids.intersection(ready))
    counts = IngestCounts(
        listed=listing.height,
        embedded=embedded,
        skipped=len(ready) - embedded,
        quarantined=listing.height - len(ready),
        decoded=len(plan.tasks),
        encoder_version=written.encoder_version,
        reasons=_reasons(workspace, listing, ready, version),
        rungs=dict(rungs),
        seconds=time.monotonic() - started,
    )
    assert sum(counts.reasons.values()) == counts.quarantined, "a video is neither embedded nor in quarantine"
    log.info("ingested %s", json.dumps(asdict(counts)))
    return counts


def start_ray(address: str | None, cpus: int | None) -> None:
    """Joins the cluster at an address, or starts a small one on this machine; nothing where one is running.

    Args:
        address: of a cluster (`ray://host:port`, `host:port` or `auto`); None for this machine.
        cpus: processors that Ray may use on this machine; None for all. Ignored with an address.

    Raises:
        BadInput: no cluster answers at the address.
    """
    if ray.is_initialized():
        return
    # Read by Ray at its start: it would phone home, and warn of a change that does not concern us.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(include_dashboard=False, num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInput(f"no Ray cluster answers at {address}; start one or leave the address out") from error


def _version(descriptor_version: str, settings: IngestSettings) -> str:
    """Names descriptors by encoder and decoder settings: other settings, other descriptors."""
    said = json.dumps(asdict(settings.decode), sort_keys=True).encode()
    return f"{descriptor_version}-{hashlib.blake2b(said, digest_size=3).hexdigest()}"


def _reasons(workspace: Workspace, listing: pl.DataFrame, ready: pl.Series, version: str) -> dict[str, int]:
    """Last reason of each listed video that is not ready."""
    rest = listing.select("video_id").filter(~pl.col("video_id").is_in(ready.implode()))
    rows = workspace.quarantine.read(["video_id", "reason", "encoder_version"])
    last = rows.filter(pl.col("encoder_version") == version).unique("video_id", keep="last")
    return dict(sorted(Counter(rest.join(last, on="video_id")["reason"]).items()))


def _shards(outcomes: Iterator[Outcome], size: int) -> Iterator[list[Outcome]]:
    shard: list[Outcome] = []
    for outcome in outcomes:
        shard.append(outcome)
        if len(shard) == size:
            yield shard
            shard = []
    if shard:
        yield shard


def _describe_all(
    plan: Plan, settings: IngestSettings, listed: int, progress: Progress | None
) -> Iterator[Outcome]:
    """The outcome of every task, in the order in which workers finish."""
    done = listed - len(plan.tasks)
    if progress:
        progress(done, listed)
    if not plan.tasks:
        return
    start_ray(settings.ray_address, settings.workers)
    workers = settings.workers or int(ray.cluster_resources().get("CPU", 1))
    pool = _Pool(settings, min(workers, len(plan.tasks)))
    try:
        for outcome in pool.run(plan.tasks):
            done += 1
            if progress:
                progress(done, listed)
            yield outcome
    finally:
        pool.close()


class _Worker:
    """What a Ray actor holds."""

    def __init__(self, settings: IngestSettings) -> None:
        encoder = SignalEncoder(threads=1).start()
        self._describer = Describer(encoder, settings.decode, settings.limits, settings.media)

    def describe(self, task: Task) -> Outcome:
        started = time.monotonic()
        try:
            return self._describer.describe(task)
        except Exception as error:  # the worker's outer edge: one video must not end the run
            log.exception("worker failed uri=%s", task.uri)
            said = f"the worker failed: {type(error).__name__}: {error}"[:500]
            failure = DecodeFailure("embed", "crash", said)
            return NotDescribed(task.content_hash, failure, (time.monotonic() - started) * 1e3)


@dataclass(slots=True)
class _Lane:
    """One actor and what it was given, oldest first."""

    actor: Any
    given: deque[tuple[Any, Task]] = field(default_factory=deque)


class _Pool:
    """Actors that are replaced when they die; the video in hand at the time is to blame."""

    def __init__(self, settings: IngestSettings, workers: int) -> None:
        self._settings = ray.put(settings)
        self._lanes = [self._open() for _ in range(workers)]
        self._deaths: Counter[str] = Counter()

    def run(self, tasks: tuple[Task, ...]) -> Iterator[Outcome]:
        waiting = deque(tasks)
        while self._fill(waiting):
            heads = {lane.given[0][0]: lane for lane in self._lanes if lane.given}
            ready, _ = ray.wait(list(heads), num_returns=1)
            lane = heads[ready[0]]
            try:
                outcome: Outcome = ray.get(ready[0])
            except ray.exceptions.RayActorError as death:
                dead = self._bury(lane, waiting, str(death).splitlines()[0])
                if dead:
                    yield dead
                continue
            lane.given.popleft()
            yield outcome

    def close(self) -> None:
        for lane in self._lanes:
            ray.kill(lane.actor)

    def _open(self) -> _Lane:
        actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Worker)
        return _Lane(actor.remote(self._settings))

    def _fill(self, waiting: deque[Task]) -> bool:
        """Gives every lane its share; False where nothing is left to wait for."""
        for _ in range(IN_FLIGHT):
            for lane in self._lanes:
                if waiting and len(lane.given) < IN_FLIGHT:
                    task = waiting.popleft()
                    lane.given.append((lane.actor.describe.remote(task), task))
        return any(lane.given for lane in self._lanes)

    def _bury(self, lane: _Lane, waiting: deque[Task], how: str) -> NotDescribed | None:
        """A new actor in the lane and its tasks put back; a refusal where the first cost enough actors."""
        _, task = lane.given[0]
        rest = [later for _, later in lane.given][1:]
        lane.actor, lane.given = self._open().actor, deque()
        waiting.extendleft(reversed(rest))
        self._deaths[task.content_hash] += 1
        log.warning("worker died uri=%s attempt=%d: %s", task.uri, self._deaths[task.content_hash], how)
        if self._deaths[task.content_hash] < MAX_ATTEMPTS:
            waiting.append(task)
            return None
        failure = DecodeFailure("embed", "crash", f"it ended {MAX_ATTEMPTS} workers", attempts=MAX_ATTEMPTS)
        return NotDescribed(task.content_hash, failure, 0.0)
