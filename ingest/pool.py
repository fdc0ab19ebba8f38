"""Describing on Ray: actors that open and describe, are replaced when they die, and cost no video.

A lane is one actor and what it was given. It opens the next file while it describes the one before. A lane
gets work only once its actor answers, so a cluster without room for it holds nothing back. The content in
hand when an actor dies is to blame; a content that ends `MAX_DEATHS` of them is refused.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from types import TracebackType
from typing import Any, Final, Self

import ray

from features.errors import RecError
from ingest.claims import Claim, Claims
from ingest.crew import Crew, Worker
from ingest.describe import Children, Event, NotDescribed, Opened, Outcome, Task
from ingest.failures import DecodeFailure
from ingest.journal import Journal
from ingest.source.locations import is_remote

log = logging.getLogger(__name__)

OPEN, DESCRIBE = "open", "describe"
"""Threads of an actor: the next file is opened while the one before is described."""
IN_FLIGHT: Final = 2
"""Batches given to a lane at a time: one in hand and one opened, so that it is never idle."""
MAX_DEATHS: Final = 2
"""Workers that one content may cost."""
MAX_UNREAD: Final = 20
"""Files in a row that a source may fail to give, each after several attempts."""
MAX_FAILED_STARTS: Final = 3
"""Workers that may fail to start, one after the other."""
START_S: Final = 180.0
"""Longest wait for a first worker, s: a loaded machine imports slowly, a full cluster frees a processor."""
CLOSE_S: Final = 10.0
"""Longest wait for the workers to tidy up after the last video, s."""
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class SourceLost(RecError):
    """The store where the files lie has stopped answering; nothing is wrong with the videos."""

    retryable = True


class NoWorkers(RecError):
    """Ray gave no worker that starts; nothing is wrong with the videos."""

    retryable = True


@dataclass(slots=True)
class _Lane:
    """One actor and what it was given."""

    actor: Any
    calls: dict[Any, list[Task]]
    """Tasks of each call that is under way, oldest first; none for the first call, which says it is ready."""
    is_ready: bool = False
    opened: list[Task] = field(default_factory=list)
    """Waiting for the describer."""
    unwanted: list[int] = field(default_factory=list)
    """Opened, and not to be described: the next call says so."""
    describing: deque[Any] = field(default_factory=deque)
    """Calls to the describer, oldest first."""
    children: Children = field(default_factory=Children)

    def tasks(self) -> list[Task]:
        return [task for tasks in self.calls.values() for task in tasks] + self.opened


class Pool:
    """Lanes over one queue of tasks; a context manager. One thread."""

    def __init__(self, describer: Any, claims: Claims, journal: Journal, crew: Crew) -> None:
        """Opens the lanes.

        Args:
            describer: makes a worker's Describer, in the worker; picklable, called without arguments.
            claims: which contents still have to be described.
            journal: of what is being described.
            crew: how many workers, and on what.
        """
        self._describer, self._claims, self._journal = ray.put(describer), claims, journal
        self._batch, self._gpus = crew.batch, crew.gpus
        self._opened: dict[int, Opened] = {}
        self._deaths: Counter[int] = Counter()
        self._failed_starts = self._unread = 0
        self._later: deque[Task] = deque()
        self._gone = Children()
        self.deaths = 0
        """Workers that died."""
        self._lanes = [self._open_lane() for _ in range(crew.lanes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        closing = [
            lane.actor.close.options(concurrency_group=DESCRIBE).remote()
            for lane in self._lanes
            if lane.is_ready
        ]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=0.5 if kind else CLOSE_S)
        for lane in self._lanes:
            ray.kill(lane.actor)

    @property
    def children(self) -> Children:
        """Of all workers, also of those that are gone as far as they told."""
        return sum((lane.children for lane in self._lanes), self._gone)

    def run(self, tasks: Iterable[Task]) -> Iterator[Event]:
        """Every file as it is opened, and the outcome of every content that was to be described.

        Contents that may have ended an earlier run come last, one at a time.

        Raises:
            NoWorkers: none starts.
            SourceLost: many files in a row could not be read, though they were there a moment ago.
        """
        yield from self._run(deque(tasks), alone=False)
        while self._later:
            yield from self._run(deque([self._later.popleft()]), alone=True)

    def _run(self, waiting: deque[Task], *, alone: bool) -> Iterator[Event]:
        idle_since = time.monotonic()
        while waiting or any(lane.tasks() for lane in self._lanes):
            self._give(waiting, alone=alone)
            refs = {ref: lane for lane in self._lanes for ref in lane.calls}
            done, _ = ray.wait(list(refs), num_returns=1, timeout=1.0)
            if done:
                idle_since = time.monotonic()
                yield from self._answer(refs[done[0]], done[0], waiting, alone=alone)
            elif not any(lane.is_ready for lane in self._lanes) and time.monotonic() - idle_since > START_S:
                free = ray.available_resources().get("CPU", 0)
                raise NoWorkers(
                    f"no worker started within {START_S:.0f} s; the cluster has {free:.0f} processors free; "
                    "free one, or ask for fewer workers"
                )

    def _open_lane(self) -> _Lane:
        how = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": 0, "max_task_retries": 0}
        groups = {OPEN: 1, DESCRIBE: 1}
        actor = ray.remote(concurrency_groups=groups, **how)(Worker).remote(self._describer)
        return _Lane(actor, {actor.ready.options(concurrency_group=DESCRIBE).remote(): []})

    def _give(self, waiting: deque[Task], *, alone: bool) -> None:
        """Gives every lane its share; alone, one task to one lane."""
        most = 1 if alone else IN_FLIGHT * self._batch
        ready = [lane for lane in self._lanes if lane.is_ready]
        takers = ready[:1] if alone else ready  # what another lane has opened is still described there
        for _ in range(most):
            for lane in takers:
                if waiting and len(lane.tasks()) < most:
                    self._open(lane, waiting.popleft())
        for lane in ready:
            if lane.opened and self._may_describe(lane):
                self._describe(lane, alone=alone)

    def _open(self, lane: _Lane, task: Task) -> None:
        call = lane.actor.open.options(concurrency_group=OPEN).remote(task, lane.unwanted)
        lane.calls[call], lane.unwanted = [task], []

    def _may_describe(self, lane: _Lane) -> bool:
        """Whether the describer takes another call: none waits beside what was in hand at a death.

        A worker may die before it has sent the answer to the call before; what is blamed for that once is by
        itself in the next worker, and cannot be blamed for another a second time.
        """
        if not lane.describing:
            return True
        given = [task for call in lane.describing for task in lane.calls[call]]
        fresh = not any(self._deaths[task.number] for task in (*given, lane.opened[0]))
        return fresh and len(lane.describing) < IN_FLIGHT

    def _describe(self, lane: _Lane, *, alone: bool) -> None:
        """The next batch; a content that was in hand when a worker died goes by itself, and isolated."""
        fresh = list(takewhile(lambda task: not self._deaths[task.number], lane.opened[: self._batch]))
        some = fresh or lane.opened[:1]
        lane.opened = lane.opened[len(some) :]
        opened = [self._opened[task.number] for task in some]
        for one in opened:
            self._journal.begin(one.content_hash, alone=alone)
        call = lane.actor.describe.options(concurrency_group=DESCRIBE).remote(opened, not fresh)
        lane.calls[call] = some
        lane.describing.append(call)

    def _answer(self, lane: _Lane, call: Any, waiting: deque[Task], *, alone: bool) -> Iterator[Event]:
        try:
            answer = ray.get(call)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as death:
            yield from self._harvest(lane, waiting, alone=alone)
            yield from self._bury(lane, waiting, _how(death))
            return
        yield from self._take(lane, call, answer, waiting, alone=alone)

    def _harvest(self, lane: _Lane, waiting: deque[Task], *, alone: bool) -> Iterator[Event]:
        """What a dead worker had answered before: the first call without an answer is the one it died of."""
        for call in list(lane.calls):
            try:
                answer = ray.get(call, timeout=CLOSE_S)
            except ray.exceptions.RayError:
                continue
            yield from self._take(lane, call, answer, waiting, alone=alone)

    def _take(
        self, lane: _Lane, call: Any, answer: Any, waiting: deque[Task], *, alone: bool
    ) -> Iterator[Event]:
        tasks = lane.calls.pop(call)
        if not lane.is_ready:
            lane.is_ready, self._failed_starts = True, 0
        elif call in lane.describing:
            lane.describing.remove(call)
            outcomes, lane.children = answer
            for outcome in outcomes:
                yield from self._settle(outcome, waiting)
        elif isinstance(answer, Opened):
            self._unread = 0
            yield answer
            self._opened[answer.number] = answer
            yield from self._ask(lane, tasks[0], answer, waiting, alone=alone)
        else:
            yield from self._settle(answer, waiting)
            self._check_source(tasks[0], answer.failure)

    def _check_source(self, task: Task, failure: DecodeFailure) -> None:
        """Ends the run where a store does not answer: to try every file would take hours."""
        passing = failure.reason == "unreadable" and failure.attempts > 1 and is_remote(task.uri)
        self._unread = self._unread + 1 if passing else 0
        if self._unread >= MAX_UNREAD:
            raise SourceLost(
                f"{MAX_UNREAD} files in a row could not be read, the last because {failure.message}; "
                "what was embedded stays, see to the source and run again"
            )

    def _ask(
        self, lane: _Lane, task: Task, opened: Opened, waiting: deque[Task], *, alone: bool
    ) -> Iterator[Event]:
        claim = self._claims.ask(task, opened, alone=alone)
        if claim is Claim.DESCRIBE:
            lane.opened.append(task)
            return
        lane.unwanted.append(task.number)
        if claim is Claim.LATER:
            self._later.append(task)
        elif claim is Claim.LETHAL:
            lethal = self._lethal(task, "several runs ended while they read it alone")
            yield from self._settle(lethal, waiting)

    def _settle(self, outcome: Outcome, waiting: deque[Task]) -> Iterator[Event]:
        opened = self._opened.pop(outcome.number, None)
        if opened is not None:
            self._journal.end(opened.content_hash)
        waiting.extend(self._claims.settle(outcome))
        yield outcome

    def _bury(self, lane: _Lane, waiting: deque[Task], how: str) -> Iterator[Event]:
        """A new lane in the place of a dead one; its tasks put back, but for one that cost enough workers."""
        self._lanes.remove(lane)
        self._gone += lane.children
        self.deaths += 1
        if not lane.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise NoWorkers(f"{MAX_FAILED_STARTS} workers in a row failed to start: {how}")
        guilty = lane.calls[lane.describing[0]] if lane.describing else []
        self._deaths.update(task.number for task in guilty)
        log.warning("worker died guilty=%s: %s", [task.uri for task in guilty], how)
        for task in reversed(lane.tasks()):
            if self._deaths[task.number] < MAX_DEATHS:
                waiting.appendleft(task)
                waiting.extend(self._claims.release(task.number))
        self._lanes.append(self._open_lane())
        for task in guilty:
            if self._deaths[task.number] >= MAX_DEATHS:
                lethal = self._lethal(task, f"it ended {MAX_DEATHS} workers")
                yield from self._settle(lethal, waiting)

    def _lethal(self, task: Task, why: str) -> NotDescribed:
        said = f"{why}; it is tried again with --retry-quarantined only"
        failure = DecodeFailure("embed", "lethal", said, attempts=MAX_DEATHS)
        return NotDescribed(task.number, self._opened[task.number].content_hash, failure, 0.0)


def _how(death: BaseException) -> str:
    """One line: of a worker that failed to start, its own error; else what Ray says."""
    lines = [line for line in COLOUR.sub("", str(death)).splitlines() if line.strip()]
    started_badly = "creation task" in lines[0]
    return (lines[-1] if started_badly else lines[0]).strip()[:300]
