"""The decoder in a child process: untrusted media cannot hang, crash or fatten the worker.

A child is spawned afresh with a nearly empty environment, never forked from a process with threads. Its
worker watches a deadline that grows with the media's length, and replaces a child that crashed, hung or grew.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ingest import wire
from ingest.decoder_child import ChildLimits, deadline_s
from ingest.failures import REASONS, DecodeFailure
from ingest.media.decode import Clip, DecodeSettings, ladder
from ingest.media.probe import Limits, Probe
from ingest.spawn import Child, EndedError, LateError, spawn

log = logging.getLogger(__name__)

DecodedOrFailure = Clip | DecodeFailure

VALUES: Final = {"str": str, "float": float, "int": int, "bool": bool}


@dataclass(slots=True)
class _Progress:
    """How far the child got with a file, as it says."""

    stage: str
    deadline: float
    """Monotonic instant, s."""
    allowed_s: float
    rung: str | None = None


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
        self._child: Child | None = None
        self.started = 0
        """Children started so far."""
        self.recycled = 0
        """Children replaced because they had done enough or grown too large."""
        self.timeouts = 0
        """Deadlines that passed."""
        self.crashes = 0
        """Children that ended, or sent nonsense, on a file."""
        self.last_cpu_s = 0.0
        """CPU time that the child spent on the last file, both tries included, its start left out, s."""

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
        self.last_cpu_s = 0.0
        outcome = self._attempt(path, settings)
        if isinstance(outcome, Clip) or outcome.reason not in ("crash", "timeout") or len(settings.rungs) < 2:
            return outcome
        again = self._attempt(path, replace(settings, rungs=ladder(settings)[1:]))
        return again if isinstance(again, Clip) else replace(again, attempts=2)

    def close(self) -> None:
        """Ends the child."""
        if self._child:
            self._child.end()
            self._child = None

    def _attempt(self, path: Path, settings: DecodeSettings) -> DecodedOrFailure:
        try:
            child = self._ready()
        except (LateError, EndedError, wire.WireError) as error:
            return self._lost(error, _Progress("probe", 0.0, self._limits.start_s))
        progress = _Progress("probe", time.monotonic() + self._limits.probe_s, self._limits.probe_s)
        spent_s = child.cpu_s
        try:
            answer = self._answer(child, self._job(path, settings), progress)
            outcome = _outcome(answer, progress)
        except (LateError, EndedError, wire.WireError, KeyError, ValueError, TypeError) as error:
            self.last_cpu_s += child.cpu_s - spent_s
            return self._lost(error, progress)
        self.last_cpu_s += child.cpu_s - spent_s
        self._recycle(child, answer)
        return outcome

    def _ready(self) -> Child:
        if self._child is None:
            self._child = spawn(self._command)
            self.started += 1
            ready = self._child.hear(time.monotonic() + self._limits.start_s)
            if ready.fields.get("unconfined"):
                _say_unconfined(str(ready.fields["unconfined"])[:200])
        return self._child

    def _job(self, path: Path, settings: DecodeSettings) -> dict[str, Any]:
        return {
            "path": os.path.abspath(path),
            "settings": asdict(settings),
            "media": asdict(self._media),
            "limits": asdict(self._limits),
        }

    def _answer(self, child: Child, job: dict[str, Any], progress: _Progress) -> wire.Message:
        """The child's last word on a job; what it says before that goes into `progress`."""
        child.say(wire.pack(job))
        while (message := child.hear(progress.deadline)).fields["kind"] in ("probe", "rung"):
            if message.fields["kind"] == "rung":
                progress.rung = str(message.fields["rung"])[:32]
            elif progress.stage == "probe":
                progress.stage = "decode"
                length_s = _bounded(message.fields["duration_s"], self._media.max_seconds)
                progress.allowed_s = deadline_s(self._limits, length_s)
                progress.deadline = time.monotonic() + progress.allowed_s
        return message

    def _lost(self, error: Exception, progress: _Progress) -> DecodeFailure:
        """Ends a child that hangs, ended or is not understood, and says why."""
        if isinstance(error, LateError):
            self.timeouts += 1
            reason, said = "timeout", f"the {progress.stage} took longer than {progress.allowed_s:.1f} s"
        else:
            self.crashes += 1
            reason, said = "crash", f"the decoder sent what is no message: {error}"
            if isinstance(error, EndedError) and self._child:
                said = self._child.last_words()
        self.close()
        return DecodeFailure(progress.stage, reason, said, rung=progress.rung)

    def _recycle(self, child: Child, answer: wire.Message) -> None:
        child.files += 1
        child.resident_bytes = int(answer.fields.get("resident_bytes", 0))
        if child.files >= self._limits.recycle_after or child.resident_bytes > self._limits.recycle_bytes:
            self.recycled += 1
            self.close()


@cache
def _say_unconfined(why: str) -> None:
    """Once a process, not once a child."""
    log.warning("decoder child runs without a sandbox: %s", why)


def _bounded(value: object, most: float) -> float:
    return min(most, max(0.0, float(value))) if isinstance(value, int | float) else 0.0


def _outcome(answer: wire.Message, progress: _Progress) -> DecodedOrFailure:
    said, arrays = answer.fields, answer.arrays
    if said["kind"] == "refused":
        reason = said["reason"] if said["reason"] in REASONS else "corrupt"
        return DecodeFailure(str(said["stage"]), reason, str(said["message"])[:500], rung=progress.rung)
    return Clip(
        frames=arrays.get("frames"),
        timestamps_s=arrays["timestamps_s"],
        poster=arrays.get("poster"),
        audio=arrays.get("audio"),
        sample_rate_hz=int(said["sample_rate_hz"]),
        duration_s=float(said["duration_s"]),
        rung=str(said["rung"]),
        frames_wanted=int(said["frames_wanted"]),
        damaged_packets=int(said["damaged_packets"]),
        found=_probe(said["found"]),
        sampling=str(said["sampling"]),
        shots=None if said["shots"] is None else int(said["shots"]),
        video_s=float(said["video_s"]),
        audio_s=float(said["audio_s"]),
    )


def _probe(values: dict[str, Any]) -> Probe:
    """The container's word, each value of the type that its field has."""
    return Probe(**{field.name: VALUES[str(field.type)](values[field.name]) for field in fields(Probe)})
