"""A server: its port, its Redis, its keeper and its workers, until it is told to stop.

Several workers are spawned processes that share one listening socket; a worker that dies is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event as ProcessEvent
from typing import Final

import uvicorn

from features.errors import BadInput, RecError
from features.redis_server import open_redis
from features.workspace import open_workspace
from serving.app import create_app
from serving.live import open_live
from serving.metrics import Metrics
from serving.settings import ServeSettings
from serving.upkeep import keeping_store

log = logging.getLogger(__name__)

BACKLOG: Final = 2048
GRACE_S: Final = 5
"""Time that requests in progress have to finish when the server stops, s."""


class WorkerFailed(RecError):
    """A worker ended before it was ready; its own log says why."""


def run_server(settings: ServeSettings, announce: Callable[[str], None] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; in-process with one worker.

    Args:
        settings: of the server.
        announce: called with the URL once requests are answered.

    Raises:
        BadInput: nothing is published, the port is in use, or Redis does not answer.
        VersionMismatch: the bundle was built by another version.
        WorkerFailed: every worker ended before it was ready.
    """
    workspace = open_workspace(settings.workspace)
    bundle = settings.bundle or workspace.current_bundle()
    listener = bind_port(settings.host, settings.port)
    url = f"http://{_shown_host(settings.host)}:{settings.port}/"
    with (
        contextlib.closing(listener),
        open_redis(settings.redis_url, settings.workspace / "redis") as redis_url,
        keeping_store(settings, redis_url),
        _stop_on_signals() as stop,
    ):
        log.info("serving bundle=%s url=%s workers=%d", bundle, url, settings.workers)
        ready = (lambda: announce(url)) if announce else (lambda: None)
        if settings.workers == 1:
            _serve(replace(settings, redis_url=redis_url), listener, ready)
        else:
            _supervise(replace(settings, redis_url=redis_url), listener, ready, stop)


def bind_port(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        BadInput: the port is in use or may not be used, or the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: only then does asyncio set TCP_NODELAY, without which small answers wait for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise BadInput(_why_not(host, port, error)) from error
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it or choose another with --port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} may not be used by this user; choose one above 1023 with --port"
    return f"cannot listen on {host}: {error.strerror or error}; name an address of this machine with --host"


def _shown_host(host: str) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{shown}]" if ":" in shown and not shown.startswith("[") else shown


class _Server(uvicorn.Server):
    """Uvicorn's server, which tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._ready()


def _serve(settings: ServeSettings, listener: socket.socket, ready: Callable[[], None]) -> None:
    app = create_app(settings, open_live(settings, Metrics()))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
    )
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, ready).run(sockets=[listener])


def _worker(settings: ServeSettings, listener: socket.socket, ready: ProcessEvent) -> None:
    """Body of a spawned worker."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        _serve(settings, listener, ready.set)
    except RecError as error:
        log.error("worker cannot serve: %s", error)
        sys.exit(1)


def _supervise(
    settings: ServeSettings, listener: socket.socket, ready: Callable[[], None], stop: threading.Event
) -> None:
    """Keeps `settings.workers` processes alive until told to stop."""
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Event()

    def start() -> SpawnProcess:
        worker = spawn.Process(target=_worker, args=(settings, listener, first), name="reelrank-worker")
        worker.start()
        return worker

    workers = [start() for _ in range(settings.workers)]
    try:
        while not first.wait(0.1) and not stop.is_set():
            if not any(worker.is_alive() for worker in workers):
                raise WorkerFailed("every worker ended before it was ready; the log above says why")
        if first.is_set():
            ready()
        while not stop.wait(0.5):
            for place, worker in enumerate(workers):
                if not worker.is_alive():
                    log.error("worker died pid=%s exit=%s; starting another", worker.pid, worker.exitcode)
                    workers[place] = start()
    finally:
        _end(workers)


def _end(workers: list[SpawnProcess]) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + GRACE_S + 1
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set while the body runs, so that all is ended in order."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
