"""The store's keeper: histories loaded into an empty Redis, feedback moved from it into the workspace.

One keeper runs beside all workers of a server.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from features.activity_board import publish_activity
from features.errors import RecError
from features.pipeline import build_features, load_store
from features.store import Store
from features.workspace import Workspace, open_workspace
from serving.settings import ServeSettings

log = logging.getLogger(__name__)


@contextlib.contextmanager
def keeping_store(settings: ServeSettings, redis_url: str) -> Iterator[None]:
    """Fills an empty store before the body runs, keeps it while the body runs, drains it after."""
    workspace = open_workspace(settings.workspace)
    store, stop = Store.connect(redis_url, settings.namespace, timeout_s=5.0), threading.Event()
    fill_if_empty(workspace, store)
    thread = threading.Thread(
        target=_keep, args=(settings, workspace, store, stop), name="store-keeper", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)
        _attempt("drain", lambda: store.drain(workspace))
        store.close()


def drain_and_count(workspace: Workspace, store: Store, clock_shift_ms: int = 0) -> int:
    """Moves what waits into the workspace, then puts up the videos' activity; returns how many were moved.

    Args:
        workspace: where events and slates go.
        store: where they come from.
        clock_shift_ms: added to the clock of Redis: a recorded world has a time of its own.
    """
    clock_ms = store.clock_ms()  # first: what arrives during the drain may miss it
    moved = store.drain(workspace)
    waiting = store.waiting_since()
    if waiting is None or waiting >= clock_ms:
        publish_activity(workspace, store, clock_ms + clock_shift_ms)
    else:  # an hour is counted once and for all: another drain holds events of it
        log.info("activity waits since_ms=%d clock_ms=%d", waiting, clock_ms)
    store.rows.sweep()
    return moved


def fill_if_empty(workspace: Workspace, store: Store) -> int:
    """Users whose histories were loaded: all of the workspace's log into an empty store, none into another.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    if not store.is_empty():
        return 0
    began = time.perf_counter()
    store.drain(workspace, claim_after_s=0)
    users = load_store(build_features(workspace, max_unknown_share=1.0), store, workspace)
    log.info("store filled users=%d seconds=%.1f", users, time.perf_counter() - began)
    return users


def _keep(settings: ServeSettings, workspace: Workspace, store: Store, stop: threading.Event) -> None:
    drained_at = time.monotonic()
    while not stop.wait(settings.watch_s):
        _attempt("fill", lambda: fill_if_empty(workspace, store))
        if time.monotonic() - drained_at >= settings.drain_s:
            drained_at = time.monotonic()
            _attempt("drain", lambda: drain_and_count(workspace, store, settings.clock_shift_ms))


def _attempt(what: str, act: object) -> None:
    assert callable(act)
    try:
        rows = act()
    except RecError as error:
        log.warning("store %s failed and will be repeated: %s", what, error)
    except Exception:  # outer edge: a keeper that ends fills all outboxes, and no event is taken any more
        log.exception("store %s met a fault and will be repeated", what)
    else:
        if rows:
            log.info("store %s rows=%d", what, rows)
