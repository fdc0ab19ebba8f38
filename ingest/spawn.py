"""A decoder child as its worker sees it: started with nearly nothing, read by a deadline, ended for good."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from ingest import wire

PROJECT: Final = Path(__file__).resolve().parents[1]
CHUNK: Final = 1 << 20
"""Size of the pipe for answers and of one read, bytes: a clip is 15 MB, and every switch of sides costs."""
LAST_WORDS_S: Final = 5.0
"""How long a child that has closed its pipe may take to end."""


class EndedError(Exception):
    """The child is gone."""


class LateError(Exception):
    """The deadline has passed."""


@dataclass(slots=True)
class Child:
    """One running process and what it has done so far."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    files: int = 0
    resident_bytes: int = 0

    @property
    def cpu_s(self) -> float:
        """CPU time used so far, s. It can be read until the process is waited for, also after its end.

        The number of a process's clock is made of its id by Linux's rule (MAKE_PROCESS_CPUCLOCK).
        """
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def say(self, message: Sequence[wire.Part]) -> None:
        """Sends a message.

        Raises:
            EndedError: nobody reads it.
        """
        assert self.process.stdin is not None
        try:
            for part in message:
                self.process.stdin.write(part)
            self.process.stdin.flush()
        except OSError as error:
            raise EndedError from error

    def hear(self, deadline: float) -> wire.Message:
        """The next message, before a monotonic instant.

        Raises:
            LateError, EndedError: it does not come.
            WireError: it is no message.
        """
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            return wire.unpack(lambda size: _read(handle, selector, size, deadline))

    def last_words(self) -> str:
        """How it ended, in one sentence, and the last line of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LAST_WORDS_S)
        code = self.process.returncode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 400))
        said = self.log.read().decode("utf-8", "replace").strip().splitlines()
        return f"the decoder ended with {how}" + (f": {said[-1][:200]}" if said else "")

    def end(self) -> None:
        """Kills and buries it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.log.close()


def spawn(command: list[str]) -> Child:
    """A child that inherits no secrets: a new session, a handful of variables, three pipes."""
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *_packages()]),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None
    with contextlib.suppress(OSError):  # a user with many children may hold no more
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, CHUNK)
    return Child(process, log)


def _packages() -> list[str]:
    """Where this process finds installed packages, which its interpreter alone may not tell."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def _read(handle: int, selector: selectors.BaseSelector, size: int, deadline: float) -> bytearray:
    """Exactly `size` bytes before the deadline."""
    content = bytearray(size)
    view = memoryview(content)
    filled = 0
    while filled < size:
        left = deadline - time.monotonic()
        if left <= 0 or not selector.select(left):
            raise LateError
        got = os.readv(handle, [view[filled : filled + CHUNK]])
        if not got:
            raise EndedError
        filled += got
    return content
