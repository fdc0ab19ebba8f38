"""Any pile of videos to embeddings: list, plan, describe in Ray's workers, commit, group what is alike.

Ray's part is in `pool`: to run `Describer` in several processes and to say when one died.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

import polars as pl
import torch

from features.errors import BadInput
from features.tables import Table
from features.workspace import Workspace
from ingest.claims import Claims
from ingest.commit import commit_embeddings
from ingest.counts import IngestCounts, Tally
from ingest.crew import choose_crew, start_ray
from ingest.decoder_child import ChildLimits
from ingest.describe import Describer, Event, Opened, Outcome
from ingest.descriptors import commit_refusals, commit_refused_names, commit_shard, descriptors_table
from ingest.devices import ASKED, choose_device
from ingest.encoders.choose import DEFAULT, make_encoder
from ingest.increment import Plan, plan_increment
from ingest.journal import Journal, open_journal
from ingest.known_files import commit_known_files
from ingest.likeness.near_duplicates import commit_duplicates
from ingest.media.decode import RUNGS, SAMPLINGS, DecodeSettings
from ingest.media.probe import Limits
from ingest.pool import Pool, SourceLost
from ingest.source.listing import list_source
from ingest.source.locations import Access, access_to

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

SHARDS: Final = 500
"""A run commits at most about so many shards: every commit lists all files of its table."""
MIN_SHARD: Final = 64
"""Contents of a shard, where there are few."""
STAMPS: Final = 5_000
"""Opened files that are committed together, where no shard is due before."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How a source is ingested."""

    frames: int = 16
    """Frames taken of a video, > 0."""
    sampling: str = "exact"
    """How they are chosen: `exact` midpoints, `keyframe` (cheaper), `shots` (at least one a shot)."""
    encoder: tuple[str, ...] = DEFAULT
    """Specs of what embeds, see `encoders.choose`."""
    max_audio_s: float = 60.0
    """Longest stretch of sound taken, s."""
    rungs: tuple[str, ...] = RUNGS
    """Decoders to try, in order."""
    extras: bool = True
    """Also quality columns, fingerprints for near-duplicates, thumbnails and previews."""
    device: str = "auto"
    """Where videos are decoded and described: `auto`, `cpu` or `cuda`."""
    workers: int | None = None
    """Worker processes; None for one a processor, or one a GPU on `cuda`."""
    ray_address: str | None = None
    """An existing cluster; None starts one on this machine."""
    shard_size: int | None = None
    """Contents a commit while workers run; None for 64, or more where there are very many."""
    verify: bool = False
    """Read every file again, also where its stamp is as known."""
    retry_quarantined: bool = False
    """Try again what was refused for good."""
    refit: bool = False
    """Fit the encoder's statistics anew: a new encoder version."""
    media_root: str | None = None
    """Files of a manifest may lie below this directory or URL; None for the manifest's own directory."""
    allow_schemes: tuple[str, ...] = ()
    """URL schemes that files may have beside that of the source."""
    limits: ChildLimits = field(default_factory=ChildLimits)
    """Of a decoder child."""
    media: Limits = field(default_factory=Limits)
    """Of a file."""

    @property
    def decode(self) -> DecodeSettings:
        return DecodeSettings(
            frames=self.frames,
            max_audio_s=self.max_audio_s,
            sampling=self.sampling,
            rungs=tuple(self.rungs),
        )

    def __post_init__(self) -> None:
        for name in ("frames", "workers", "shard_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"{name} is {value}; at least 1 is needed")
        for name, known in (("sampling", SAMPLINGS), ("device", ASKED)):
            value = getattr(self, name)
            if value not in known:
                raise BadInput(f"{name} is {value!r}; known are {', '.join(known)}")


def ingest_videos(
    workspace: Workspace,
    source: str,
    settings: IngestSettings | None = None,
    progress: Progress | None = None,
) -> IngestCounts:
    """Embeds what is new in a source, and accounts for every file of it. An interrupted run is gone on with.

    Args:
        workspace: where everything is written; one run at a time.
        source: a directory, glob or manifest, local or a URL, see `listing.list_source`.
        settings: how.
        progress: called with (videos done, videos listed).

    Raises:
        BadInput: the source is missing, empty or no manifest, or another run is writing to the workspace.
        NoWorkers: Ray gave no worker that starts.
        SourceLost: a store stopped answering; what was read until then is embedded.
    """
    settings, tally = settings or IngestSettings(), Tally()
    listing = list_source(source, settings.media_root)
    access = access_to(listing.root, settings.allow_schemes, settings.media.max_bytes)
    encoder = make_encoder(settings.encoder)
    version = _version(encoder.descriptor_version, settings)
    table = descriptors_table(workspace, version)
    with open_journal(workspace.root / "descriptors" / "ingest.journal") as journal:
        before = table.read(["content_hash"])["content_hash"]
        how = {"verify": settings.verify, "retry": settings.retry_quarantined}
        plan = plan_increment(workspace, listing.frame, access, before, version, **how)
        commit_refusals(workspace, plan, plan.unreadable)
        events = tally.counting(_describe_all(plan, settings, access, journal, tally, progress))
        opened, lost = _commit_as_it_comes(workspace, table, plan, settings, events)
        files = plan.files(opened)
        described = table.read(["content_hash"])
        commit_refused_names(workspace, described, files, version)
        written = commit_embeddings(workspace, table, files, encoder, refit=settings.refit)
        alike = commit_duplicates(workspace, table)
        journal.forget()
    if lost:
        raise lost
    ready = files.join(described, on="content_hash", how="semi")["video_id"]
    counts = tally.close(
        listed=listing.frame.height,
        ready=ready,
        written=written,
        near_duplicates=alike,
        reasons=_reasons(workspace, listing.frame, ready, version),
    )
    log.info("ingested %s", json.dumps(asdict(counts)))
    return counts


def _version(descriptor_version: str, settings: IngestSettings) -> str:
    """Names descriptors by encoder and settings: other settings, other descriptors."""
    said = json.dumps([asdict(settings.decode), settings.extras], sort_keys=True).encode()
    return f"{descriptor_version}-{hashlib.blake2b(said, digest_size=3).hexdigest()}"


def _commit_as_it_comes(
    workspace: Workspace, table: Table, plan: Plan, settings: IngestSettings, events: Iterable[Event]
) -> tuple[list[Opened], SourceLost | None]:
    """Commits outcomes shard by shard, and with them what was learnt of the files.

    Returns:
        What was opened, and why there is no more where the source was lost.
    """
    size = settings.shard_size or max(MIN_SHARD, len(plan.tasks) // SHARDS)
    opened: list[Opened] = []
    shard: list[Outcome] = []
    committed = 0

    def commit() -> None:
        nonlocal committed
        commit_shard(workspace, table, plan, shard)
        commit_known_files(workspace, plan.listing["uri"], opened[committed:])
        committed = len(opened)
        shard.clear()

    lost = None
    try:
        for event in events:
            if isinstance(event, Opened):
                opened.append(event)
            else:
                shard.append(event)
            if len(shard) >= size or len(opened) - committed >= STAMPS:
                commit()
    except SourceLost as error:
        lost = error
    commit()
    return opened, lost


def _reasons(workspace: Workspace, listing: pl.DataFrame, ready: pl.Series, version: str) -> dict[str, int]:
    """Last reason of each listed video that is not ready."""
    rest = listing.select("video_id").filter(~pl.col("video_id").is_in(ready.implode()))
    rows = workspace.quarantine.read(["video_id", "reason", "encoder_version"])
    last = rows.filter(pl.col("encoder_version") == version).unique("video_id", keep="last")
    return dict(sorted(Counter(rest.join(last, on="video_id")["reason"]).items()))


def _describe_all(
    plan: Plan,
    settings: IngestSettings,
    access: Access,
    journal: Journal,
    tally: Tally,
    progress: Progress | None,
) -> Iterator[Event]:
    """What becomes of every task, in the order in which workers finish."""
    listed = plan.listing.height
    waiting = {task.number for task in plan.tasks}
    tell = progress or (lambda done, listed: None)
    tell(listed - len(waiting), listed)
    if not waiting:
        return
    start_ray(settings.ray_address, settings.workers)
    claims = Claims(plan.settled, journal.suspects.keys(), journal.lethal)
    seen = set(plan.settled)
    crew = choose_crew(settings.device, settings.workers, len(waiting))
    with Pool(Recruit(settings, access, crew.device), claims, journal, crew) as pool:
        for event in pool.run(plan.tasks):
            if not isinstance(event, Opened) or event.content_hash in seen:
                waiting.discard(event.number)
                tell(listed - len(waiting), listed)
            if isinstance(event, Opened):
                seen.add(event.content_hash)
            yield event
        tally.children, tally.worker_deaths = pool.children, pool.deaths


@dataclass(frozen=True, slots=True)
class Recruit:
    """Makes a worker's describer, in the worker."""

    settings: IngestSettings
    access: Access
    device: str

    def __call__(self) -> Describer:
        how = self.settings
        torch.set_num_threads(1)
        chosen = choose_device(self.device)
        engine = chosen.name if chosen.decoder == "nvdec" else None
        return Describer(
            make_encoder(how.encoder, chosen.name),
            how.decode,
            self.access,
            how.limits,
            how.media,
            extras=how.extras,
            engine=engine,
        )
