"""Which contents still have to be described: each once, whatever names it goes by."""

from __future__ import annotations

from collections.abc import Set
from enum import Enum

from ingest.describe import Opened, Outcome, Task


class Claim(Enum):
    """What is to be done with an opened file."""

    DESCRIBE = "describe"
    """It is the first of its content."""
    SETTLED = "settled"
    """Its content is known, or in the hands of another worker."""
    LETHAL = "lethal"
    """Its content ended earlier runs: not to be read again."""
    LATER = "later"
    """It was being read when an earlier run ended: to be read last, and alone."""


class Claims:
    """The driver's book of contents. One thread."""

    def __init__(
        self, settled: Set[str], suspects: Set[str] = frozenset(), lethal: Set[str] = frozenset()
    ) -> None:
        """Nothing is held yet.

        Args:
            settled: contents that are described or refused already.
            suspects: contents that may have ended an earlier run.
            lethal: those of them that did.
        """
        self._settled = set(settled)
        self._suspects, self._lethal = suspects, lethal
        self._held: dict[str, int] = {}
        self._followers: dict[str, list[Task]] = {}

    def ask(self, task: Task, opened: Opened, *, alone: bool = False) -> Claim:
        """Whether this file's content is to be described now; a worker that died asks again and may."""
        content = opened.content_hash
        if content in self._settled:
            return Claim.SETTLED
        holder = self._held.get(content)
        if holder is not None and holder != task.number:
            self._followers.setdefault(content, []).append(task)
            return Claim.SETTLED
        if content in self._lethal:
            return Claim.LETHAL
        if content in self._suspects and not alone:
            return Claim.LATER
        self._held[content] = task.number
        return Claim.DESCRIBE

    def release(self, number: int) -> list[Task]:
        """Lets go of what a task holds, as when its worker died: its file may be another when opened anew.

        Returns:
            Files of the same bytes, which have to be opened anew.
        """
        held = [content for content, holder in self._held.items() if holder == number]
        for content in held:
            del self._held[content]
        return [follower for content in held for follower in self._followers.pop(content, [])]

    def settle(self, outcome: Outcome) -> list[Task]:
        """Books an outcome.

        Returns:
            Files of the same bytes that have to be opened anew, for only the file failed and not its content.
        """
        if outcome.content_hash is None:
            return self.release(outcome.number)
        self._settled.add(outcome.content_hash)
        self._held.pop(outcome.content_hash, None)
        self._followers.pop(outcome.content_hash, None)
        return []
