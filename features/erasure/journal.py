"""What a deletion found, removed and left, step by step on disk: a proof, also of one that was cut off.

While it is under way the journal is `erasures/<hash>.open.json`; when nothing is left it becomes
`erasures/<time>-<hash>.json`. The id stands in neither: who knows it can make the hash, and find the proof.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.erasure.tombstones import hash_of_user
from features.tables import storing, write_durably
from features.workspace import Workspace


@dataclass(slots=True)
class Journal:
    """One user's deletion; what is noted is on disk before the next step begins."""

    path: Path
    said: dict[str, Any]

    def note(self, what: str, value: Any) -> None:
        """Adds to what is said of the present run; dicts of counts grow place by place."""
        run = self.said["runs"][-1]
        run[what] = {**run[what], **value} if isinstance(value, dict) and what in run else value
        self._save()

    def noted(self, what: str) -> list[Any]:
        """What was noted under a name in all runs."""
        return [run[what] for run in self.said["runs"] if what in run]

    def finish(self, left: dict[str, int]) -> Path:
        """Makes the journal a proof; its path."""
        removed: dict[str, int] = {}
        for counts in self.noted("removed"):
            removed |= {place: removed.get(place, 0) + count for place, count in counts.items()}
        now = datetime.now(UTC)
        self.said |= {"removed": removed, "left": left, "finished_at": now.isoformat()}
        self._save()
        proof = self.path.parent / f"{now:%Y%m%dT%H%M%S%f}-{self.said['user_hash']}.json"
        with storing(proof):
            os.rename(self.path, proof)
        return proof

    def _save(self) -> None:
        write_durably(self.path, json.dumps(self.said, indent=1).encode())


def open_journal(workspace: Workspace, ids: list[str], future: str) -> Journal:
    """The journal of a user's deletion: a new one, or that of a deletion that was cut off.

    Args:
        workspace: where it lies.
        ids: the user's, and those that were merged into it.
        future: what becomes of later events: refuse or accept.
    """
    hashes = [hash_of_user(user_id) for user_id in ids]
    path = workspace.root / "erasures" / f"{hashes[0]}.open.json"
    said = json.loads(path.read_text()) if path.exists() else {"runs": [], "merged_hashes": []}
    said |= {
        "user_hash": hashes[0],
        "hash": "BLAKE2b, 16 bytes, of the id in UTF-8",
        "merged_hashes": sorted({*said["merged_hashes"], *hashes[1:]}),
        "future": future,
    }
    said["runs"].append({"began_at": datetime.now(UTC).isoformat()})
    return Journal(path, said)
