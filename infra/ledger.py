"""The ledger of a run: what each step did, kept as it goes, so that a broken run can be resumed and read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.errors import BadInput
from features.tables import read_json, write_durably
from features.workspace import Workspace

FILE = "ledger.json"


@dataclass(slots=True)
class Ledger:
    """One run's record; every finished step is on disk before the next begins."""

    path: Path
    said: dict[str, Any]

    @property
    def run(self) -> str:
        return str(self.said["run"])

    def step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the step returned: now, or in the run that is being resumed."""
        if name in self.said["steps"]:
            return dict(self.said["steps"][name]["result"])
        began, clock = time.time(), time.perf_counter()
        result = work()
        self.said["steps"][name] = {
            "began_at": began,
            "seconds": round(time.perf_counter() - clock, 3),
            "result": result,
        }
        self._save()
        return result

    def done(self, name: str) -> bool:
        """True when the step finished before."""
        return name in self.said["steps"]

    def finish(self) -> None:
        """Marks the run as complete."""
        self.said["finished_at"] = time.time()
        self._save()

    def _save(self) -> None:
        write_durably(self.path / FILE, json.dumps(self.said, indent=1, default=str).encode())


def begin(workspace: Workspace, settings: Any, *, resume: bool) -> Ledger:
    """The ledger of a new run, or of the newest one that is unfinished and had the same settings.

    Args:
        settings: a dataclass; its values tell whether a run may be resumed.

    Raises:
        BadInput: `resume`, and there is no such run.
    """
    given = dataclasses.asdict(settings)
    given.pop("redis_url", None)  # may hold a password, and where Redis is does not make another run
    digest = hashlib.blake2b(
        json.dumps(given, sort_keys=True, default=str).encode(), digest_size=8
    ).hexdigest()
    if resume:
        for path in sorted((workspace.root / "runs").glob(f"*/{FILE}"), reverse=True):
            said = read_json(path, "a run's ledger")
            if said["settings_hash"] == digest:
                if "finished_at" in said:
                    break  # what is newer has finished: an older run would put its bundle over it
                return Ledger(path.parent, said)
        raise BadInput(f"no unfinished run with these settings is in {workspace.root}; run without --resume")
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{digest[:6]}"
    ledger = Ledger(
        workspace.run(run),
        {"run": run, "settings": given, "settings_hash": digest, "began_at": time.time(), "steps": {}},
    )
    ledger._save()
    return ledger
