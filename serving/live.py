"""What a worker holds while it lives, and the watch that puts a newly published bundle on its desk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import polars as pl

from features.activity_board import ActivitySnapshot, read_activity
from features.errors import BadInput, NotFound, RecError, StoreUnavailable, VersionMismatch
from features.store import Store
from features.workspace import Workspace, open_workspace
from serving.degrade import Breaker
from serving.desk import Desk, open_desk, restock, with_activity, with_statistics
from serving.executor import BoundedExecutor
from serving.metrics import STORE_AGE, STORE_LOST, STORE_WAITING, SWAPS, Metrics
from serving.pipeline import Kitchen
from serving.settings import ServeSettings

log = logging.getLogger(__name__)


class Live:
    """A worker's state. Only `desk` changes, by one assignment; who took the old desk finishes with it."""

    def __init__(self, settings: ServeSettings, store: Store, metrics: Metrics) -> None:
        self.settings, self.store, self.metrics = settings, store, metrics
        self.workspace: Workspace = open_workspace(settings.workspace)
        self.desk: Desk = open_desk(self.workspace, self.wanted_bundle())
        self.kitchen = Kitchen(settings, store, Breaker(), metrics)
        self.slates = BoundedExecutor("slate", settings.threads, settings.waiting)
        self.pages = BoundedExecutor("page", settings.threads, settings.waiting)
        self._refused = ""
        self._activity = ActivitySnapshot()
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._users: tuple[int, list[dict[str, Any]]] = (-1, [])

    def wanted_bundle(self) -> str:
        """The bundle that ought to be served; NotFound says what to do where there is none."""
        return self.settings.bundle or self.workspace.current_bundle()

    def now_ms(self) -> int:
        """The time that requests are answered at, ms since the epoch."""
        return time.time_ns() // 1_000_000 + self.settings.clock_shift_ms

    def refresh(self) -> None:
        """Takes a newly published bundle, a changed catalogue, and the newest numbers of the videos."""
        self._refresh_bundle()
        try:
            self._activity = read_activity(self.store, self._activity)
            self.desk = with_activity(self.desk, self._activity)
            desk = with_statistics(self.desk, self.store.rows)
            if (
                desk.statistics_load is not None
            ):  # before it is used: it may have been swept while it was read
                self.store.rows.register_worker(self._name, desk.statistics_load)
            self.desk = desk
        except (StoreUnavailable, VersionMismatch, NotFound) as error:
            log.warning("numbers kept watermark=%d error=%s", self._activity.watermark_ms, error)

    def _refresh_bundle(self) -> None:
        """Takes a newly published bundle or a changed catalogue; a bundle that does not load is refused."""
        wanted = self.wanted_bundle()
        if wanted == self.desk.name:
            self.desk = restock(self.desk, self.workspace)
            return
        if wanted == self._refused:
            return
        try:
            self.desk = open_desk(self.workspace, wanted)
        except (RecError, OSError, ValueError, KeyError) as error:
            self._refused = wanted
            self.metrics.count(SWAPS, "refused")
            log.error("bundle refused bundle=%s kept=%s error=%s", wanted, self.desk.name, error)
            return
        self.metrics.count(SWAPS, "taken")
        log.info("bundle taken bundle=%s", wanted)

    def users(self, limit: int) -> list[dict[str, Any]]:
        """The users with the most events, and how many; kept until the log changes."""
        table = self.workspace.interactions
        commit = table.snapshot().sequence
        if commit != self._users[0]:
            counted = (
                table.scan()
                .filter(pl.col("user_id").is_not_null() & (pl.col("event") != "impression"))
                .group_by("user_id")
                .agg(events=pl.len())
                .sort(["events", "user_id"], descending=[True, False])
                .head(500)
                .collect()
            )
            self._users = commit, counted.to_dicts()
        return self._users[1][:limit]

    def measure_store(self) -> None:
        """Measures what waits in the store, what it lost, and how old what is live has become."""
        try:
            self.metrics.gauge(STORE_WAITING, self.store.pending())
            self.metrics.gauge(STORE_LOST, self.store.exposures_lost())
            loaded = self.store.live().get("loaded_at")
            rows = self.store.rows.live("video")
            ages = {
                "users": time.time() - float(loaded) if loaded else None,
                "statistics": time.time() - rows.loaded_ms / 1e3 if rows else None,
            }
        except StoreUnavailable as error:
            log.warning("store not measured error=%s", error)
            return
        if self._activity.watermark_ms:
            ages["activity"] = (self.now_ms() - self._activity.watermark_ms) / 1e3
        for what, age in ages.items():
            if age is not None:
                self.metrics.gauge(STORE_AGE, max(age, 0.0), what)

    def close(self) -> None:
        """Finishes work in progress and lets go of the store."""
        self.slates.close()
        self.pages.close()
        self.store.close()


def open_live(settings: ServeSettings, metrics: Metrics) -> Live:
    """The state of a worker on the Redis that the settings name, whether or not that answers.

    Raises:
        RecError: there is no such bundle, or it does not load.
    """
    if settings.redis_url is None:
        raise BadInput("a worker needs redis_url; `run_server` starts a private Redis and names it")
    store = Store.connect(settings.redis_url, settings.namespace, settings.store_timeout_ms / 1e3)
    return Live(settings, store, metrics)


@contextlib.asynccontextmanager
async def watching(live: Live) -> AsyncIterator[None]:
    """Looks at the published bundle and the catalogue every `watch_s`, off the event loop."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(live.settings.watch_s)
            try:
                await live.pages.run(live.refresh)
            except RecError as error:  # nothing is published, or all threads are busy
                log.warning("desk kept bundle=%s error=%s", live.desk.name, error)
            except Exception:  # outer edge: a watch that ends serves today's bundle for ever
                log.exception("desk kept bundle=%s", live.desk.name)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
