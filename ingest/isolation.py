"""The decoder in a child process: untrusted media cannot hang, crash or fatten the worker.

A child is spawned afresh with a nearly empty environment, never forked from a process with threads. Its
worker watches a deadline that grows with the media's length, and replaces a child that crashed, hung or grew.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from types import TracebackType
from typing import IO, Final, Self

from ingest import wire
from ingest.decode import Clip, DecodeSettings
from ingest.decoder_child import GRACE_S, ChildLimits, deadline_s
from ingest.failures import REASONS, DecodeFailure
from ingest.probe import Limits

PROJECT: Final = Path(__file__).resolve().parents[1]
CHUNK: Final = 1 << 20


DecodedOrFailure = Clip | DecodeFailure


class _EndedError(Exception):
    """The child is gone."""


class _LateError(Exception):
    """The deadline has passed."""


@dataclass(slots=True)
class _Child:
    """One running process and what it has done so far."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    files: int = 0
    resident_bytes: int = 0


class DecoderChild:
    """Decodes files in a child process of its own; a context manager. One job at a time."""

    def __init__(
        self,
        limits: ChildLimits | None = None,
        media: Limits | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            limits: what the child may use.
            media: what a file may ask of it.
            command: another program that speaks the same messages.
        """
        self._limits = limits or ChildLimits()
        self._media = media or Limits()
        self._command = list(command or (sys.executable, "-P", "-m", "ingest.decoder_child"))
        self._child: _Child | None = None
        self.started = 0
        """Children started so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the running child; None where none runs."""
        return self._child.process.pid if self._child else None

    @property
    def resident_bytes(self) -> int:
        """Most memory the running child has held, bytes; 0 before its first file."""
        return self._child.resident_bytes if self._child else 0

    def decode(self, path: Path, settings: DecodeSettings) -> DecodedOrFailure:
        """The clip, or why there is none. Never raises for what a file does.

        Where a child crashed or hung, a new one is given the file once more, without the first rung.
        """
        outcome = self._attempt(path, settings)
        if isinstance(outcome, Clip) or outcome.reason not in ("crash", "timeout") or len(settings.rungs) < 2:
            return outcome
        again = self._attempt(path, dataclasses.replace(settings, rungs=settings.rungs[1:]))
        return again if isinstance(again, Clip) else dataclasses.replace(again, attempts=2)

    def close(self) -> None:
        """Ends the child."""
        if self._child:
            _end(self._child)
            self._child = None

    def _attempt(self, path: Path, settings: DecodeSettings) -> DecodedOrFailure:
        stage = "probe"
        duration_s = 0.0
        try:
            child = self._ready()
            self._ask(child, path, settings)
            answer = self._answer(child, self._limits.probe_s)
            if answer.fields.get("kind") == "probe":
                stage, duration_s = "decode", _bounded(answer.fields["duration_s"], self._media.max_seconds)
                answer = self._answer(child, deadline_s(self._limits, duration_s))
            outcome = _outcome(answer)
        except _LateError:
            allowed = self._limits.probe_s if stage == "probe" else deadline_s(self._limits, duration_s)
            self.close()
            return DecodeFailure(stage, "timeout", f"the {stage} took longer than {allowed:.1f} s")
        except (_EndedError, wire.WireError, KeyError, ValueError, TypeError) as error:
            return DecodeFailure(stage, "crash", self._last_words(error))
        self._recycle(child, answer)
        return outcome

    def _ready(self) -> _Child:
        if self._child is None:
            self._child = _start(self._command, self._limits)
            self.started += 1
            self._answer(self._child, self._limits.start_s)
        return self._child

    def _ask(self, child: _Child, path: Path, settings: DecodeSettings) -> None:
        job = {
            "path": os.path.abspath(path),
            "settings": dataclasses.asdict(settings),
            "media": dataclasses.asdict(self._media),
            "limits": dataclasses.asdict(self._limits),
        }
        assert child.process.stdin is not None
        try:
            for part in wire.pack(job):
                child.process.stdin.write(part)
            child.process.stdin.flush()
        except OSError as error:
            raise _EndedError from error

    def _answer(self, child: _Child, allowed_s: float) -> wire.Message:
        deadline = time.monotonic() + allowed_s
        assert child.process.stdout is not None
        handle = child.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            return wire.unpack(lambda size: _read(handle, selector, size, deadline))

    def _recycle(self, child: _Child, answer: wire.Message) -> None:
        child.files += 1
        child.resident_bytes = int(answer.fields.get("resident_bytes", 0))
        if child.files >= self._limits.recycle_after or child.resident_bytes > self._limits.recycle_bytes:
            self.close()

    def _last_words(self, error: Exception) -> str:
        """How the child ended, in one sentence, and the last line of its log."""
        child = self._child
        if child is None:
            return "the decoder did not start"
        if not isinstance(error, _EndedError):
            self.close()
            return f"the decoder sent what is no message: {error}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(GRACE_S)
        code = child.process.returncode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        child.log.seek(max(0, child.log.seek(0, os.SEEK_END) - 400))
        said = child.log.read().decode("utf-8", "replace").strip().splitlines()
        self.close()
        return f"the decoder ended with {how}" + (f": {said[-1][:200]}" if said else "")


def _bounded(value: object, most: float) -> float:
    return min(most, max(0.0, float(value))) if isinstance(value, int | float) else 0.0


def _start(command: list[str], limits: ChildLimits) -> _Child:
    """A child that inherits no secrets: a new session, four variables, three pipes."""
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
    return _Child(process, log)


def _packages() -> list[str]:
    """Where this process finds installed packages, which its interpreter alone may not tell."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.wait()
    for pipe in (child.process.stdin, child.process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    child.log.close()


def _read(handle: int, selector: selectors.BaseSelector, size: int, deadline: float) -> bytearray:
    """Exactly `size` bytes before the deadline."""
    content = bytearray(size)
    view = memoryview(content)
    filled = 0
    while filled < size:
        left = deadline - time.monotonic()
        if left <= 0 or not selector.select(left):
            raise _LateError
        got = os.readv(handle, [view[filled : filled + CHUNK]])
        if not got:
            raise _EndedError
        filled += got
    return content


def _outcome(answer: wire.Message) -> DecodedOrFailure:
    fields, arrays = answer.fields, answer.arrays
    if fields["kind"] == "refused":
        reason = fields["reason"] if fields["reason"] in REASONS else "corrupt"
        return DecodeFailure(str(fields["stage"]), reason, str(fields["message"])[:500])
    return Clip(
        frames=arrays.get("frames"),
        timestamps_s=arrays["timestamps_s"],
        poster=arrays.get("poster"),
        audio=arrays.get("audio"),
        sample_rate_hz=int(fields["sample_rate_hz"]),
        duration_s=float(fields["duration_s"]),
        rung=str(fields["rung"]),
        frames_wanted=int(fields["frames_wanted"]),
        damaged_packets=int(fields["damaged_packets"]),
    )
