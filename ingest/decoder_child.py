"""What runs in a decoder child: one job after the other from standard input, until that ends.

It reads untrusted media, so the kernel limits what it may take and do (`ingest.sandbox`), and its own alarm
ends it where the worker that should watch it is gone. It never imports torch.
"""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Final

import av.logging

from ingest import wire
from ingest.failures import MediaRefused
from ingest.media.decode import Clip, DecodeSettings, decode_clip
from ingest.media.decord_rung import load_decord
from ingest.media.probe import Limits, Probe
from ingest.sandbox import confine, limit_resources

GRACE_S: Final = 5.0
"""The child's own alarm comes so much later than its worker's deadline."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a decoder child may use."""

    start_s: float = 60.0
    """From spawning to its first sign of life, s: a loaded machine imports slowly."""
    probe_s: float = 20.0
    """For reading a container, s."""
    decode_s: float = 30.0
    """For decoding anything, s, and for every second of media `decode_s_per_s` more."""
    decode_s_per_s: float = 2.0
    memory_bytes: int = 3 << 29
    """Address space, bytes."""
    recycle_after: int = 200
    """A child is replaced after so many files."""
    recycle_bytes: int = 400 << 20
    """A child whose resident memory has grown over this is replaced after the file at hand."""


def deadline_s(limits: ChildLimits, duration_s: float) -> float:
    """Seconds in which media of this length must be decoded."""
    return limits.decode_s + limits.decode_s_per_s * duration_s


def serve_jobs() -> None:
    """Answers jobs from standard input on standard output until the input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # a decoder that prints must not break the messages
    jobs = os.fdopen(0, "rb", closefd=False)
    limit_resources()
    unconfined = confine()
    _warm_up()
    _send(answers, wire.pack({"kind": "ready", "unconfined": unconfined}))
    while True:
        try:
            job = wire.unpack(lambda size: _exactly(jobs, size))
        except EOFError:
            return
        _send(answers, _do(job.fields, answers))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _warm_up() -> None:
    """Loads decord and silences FFmpeg before memory is limited by what the first job says."""
    av.logging.set_level(av.logging.PANIC)
    load_decord()


def _do(job: Any, answers: int) -> list[wire.Part]:
    limits = ChildLimits(**job["limits"])
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.probe_s + GRACE_S)

    def tell(found: Probe) -> None:
        signal.setitimer(signal.ITIMER_REAL, deadline_s(limits, found.duration_s) + GRACE_S)
        _send(answers, wire.pack({"kind": "probe", "duration_s": found.duration_s}))

    def tell_rung(rung: str) -> None:
        _send(answers, wire.pack({"kind": "rung", "rung": rung}))

    settings = DecodeSettings(**{**job["settings"], "rungs": tuple(job["settings"]["rungs"])})
    try:
        clip = decode_clip(Path(job["path"]), settings, Limits(**job["media"]), tell, tell_rung)
    except MediaRefused as refusal:
        return _refused(refusal.stage, refusal.reason, str(refusal))
    except MemoryError:
        return _refused("decode", "limit", f"it needs more than {limits.memory_bytes >> 20} MiB to decode")
    return _packed(clip)


def _packed(clip: Clip) -> list[wire.Part]:
    names = ("frames", "timestamps_s", "poster", "audio")
    arrays = {name: getattr(clip, name) for name in names}
    values = {
        "kind": "clip",
        **{field.name: getattr(clip, field.name) for field in fields(Clip) if field.name not in arrays},
        "found": asdict(clip.found),
        "resident_bytes": _resident_bytes(),
    }
    return wire.pack(values, {name: array for name, array in arrays.items() if array is not None})


def _refused(stage: str, reason: str, message: str) -> list[wire.Part]:
    values = {"kind": "refused", "stage": stage, "reason": reason, "message": message[:500]}
    return wire.pack({**values, "resident_bytes": _resident_bytes()})


def _resident_bytes() -> int:
    """Most memory held so far. Not `ru_maxrss`, which counts the worker that spawned us as well."""
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _send(handle: int, parts: list[wire.Part]) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(handle, view) :]


if __name__ == "__main__":
    serve_jobs()
