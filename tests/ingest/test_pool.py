"""Workers that die, cannot start or hold suspects: every video still has one outcome."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from ingest.claims import Claims
from ingest.crew import Crew, start_ray
from ingest.describe import Children, Event, NotDescribed, Opened, Outcome, Task
from ingest.failures import DecodeFailure
from ingest.journal import open_journal
from ingest.pool import MAX_UNREAD, NoWorkers, Pool, SourceLost
from ingest.source.stamps import Stamp


@dataclass(frozen=True)
class Recruit:
    """Makes a describer whose files are their own contents: what a name says happens."""

    log: str
    can_start: bool = True

    def __call__(self) -> Describer:
        if not self.can_start:
            raise RuntimeError("no encoder here")
        return Describer(Path(self.log))


class Describer:
    def __init__(self, log: Path) -> None:
        self._log, self._names = log, dict[int, str]()
        self.children = Children(started=1)

    def open(self, task: Task) -> Opened | NotDescribed:
        if task.uri.startswith("lost"):
            failure = DecodeFailure("list", "unreadable", "the store does not answer", attempts=3)
            return NotDescribed(task.number, None, failure, 1.0)
        if task.uri.startswith("missing"):
            return NotDescribed(task.number, None, DecodeFailure("list", "unreadable", "gone"), 1.0)
        self._names[task.number] = task.uri
        return Opened(task.number, task.uri.split("/")[0], Stamp(1, 1), 1.0)

    def drop(self, number: int) -> None:
        del self._names[number]

    def describe(self, numbers: Sequence[int], *, isolated: bool) -> list[Outcome]:
        names = [self._names.pop(number) for number in numbers]
        with open(self._log, "a") as log:
            log.write(f"{' '.join(names)}{' isolated' if isolated else ''}\n")
        if any(name.startswith("deadly") for name in names):
            os._exit(1)
        if any(name.startswith("error") for name in names):
            raise ValueError("a bug of ours")
        failure = DecodeFailure("decode", "corrupt", "it stands for any outcome")
        return [
            NotDescribed(number, name.split("/")[0], failure, 1.0)
            for number, name in zip(numbers, names, strict=True)
        ]

    def __exit__(self, *raised: object) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def two_processors() -> Iterator[None]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    start_ray(None, 2)
    yield
    ray.shutdown()


def run(tmp_path: Path, names: list[str], crew: Crew) -> tuple[list[Event], list[str], int]:
    """Events, what describers were given, and how many workers died."""
    log = tmp_path / "log"
    log.touch()
    with open_journal(tmp_path / "journal") as journal:
        claims = Claims(set(), set(journal.suspects), journal.lethal)
        with Pool(Recruit(str(log)), claims, journal, crew) as pool:
            events = list(pool.run(Task(i, name) for i, name in enumerate(names)))
        return events, log.read_text().splitlines(), pool.deaths


def reasons(events: list[Event]) -> dict[int, str]:
    found = {e.number: e.failure.reason for e in events if isinstance(e, NotDescribed)}
    assert len(found) == sum(isinstance(e, NotDescribed) for e in events), "one outcome each"
    return found


@pytest.mark.parametrize("batch", [1, 3])
def test_a_content_that_ends_its_workers_is_refused_and_all_others_are_described(
    tmp_path: Path, batch: int
) -> None:
    names = ["a", "deadly", "b", "c", "missing", "d", "a/again", "e"]
    events, given, deaths = run(tmp_path, names, Crew(2, batch=batch))
    found = reasons(events)
    assert (found.pop(0, None), found.pop(6, None)) in [("corrupt", None), (None, "corrupt")], (
        "the first of two"
    )
    assert found == {1: "lethal", 2: "corrupt", 3: "corrupt", 4: "unreadable", 5: "corrupt", 7: "corrupt"}
    assert 2 <= deaths <= 3, "the first may be laid at the door of an answer that was under way"
    assert "deadly isolated" in given, "by itself, before it is given up"


def test_an_error_of_ours_costs_its_video_and_no_worker(tmp_path: Path) -> None:
    events, _, deaths = run(tmp_path, ["a", "error", "b"], Crew(1))
    assert reasons(events) == {0: "corrupt", 1: "crash", 2: "corrupt"}
    [told] = [e.failure.message for e in events if isinstance(e, NotDescribed) and e.number == 1]
    assert "ValueError: a bug of ours" in told
    assert deaths == 0


def test_suspects_of_an_earlier_run_come_last_and_one_at_a_time(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal") as journal:
        for content in ("s1", "s2"):
            journal.begin(content, alone=False)
    for _ in range(2):
        with open_journal(tmp_path / "journal") as journal:
            journal.begin("l", alone=True)
    events, given, _ = run(tmp_path, ["s1", "a", "s2", "l", "b", "c"], Crew(2))
    assert reasons(events) == {
        0: "corrupt",
        1: "corrupt",
        2: "corrupt",
        3: "lethal",
        4: "corrupt",
        5: "corrupt",
    }
    assert given[-2:] == ["s1", "s2"]
    assert sorted(given[:-2]) == ["a", "b", "c"]


def test_a_source_that_stops_answering_ends_the_run_and_single_losses_do_not(tmp_path: Path) -> None:
    every_other = ["lost://x" if i % 2 else f"c{i}" for i in range(2 * MAX_UNREAD + 4)]
    events, _, _ = run(tmp_path, [*every_other, *(["missing"] * (MAX_UNREAD + 2))], Crew(1))
    assert len(reasons(events)) == 3 * MAX_UNREAD + 6
    with pytest.raises(
        SourceLost, match="20 files in a row could not be read, the last because the store does"
    ):
        run(tmp_path, ["a", *(["lost://x"] * 30)], Crew(1))


def test_workers_that_cannot_start_end_the_run_and_blame_no_video(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "journal") as journal,
        Pool(Recruit("", can_start=False), Claims(set()), journal, Crew(1)) as pool,
        pytest.raises(NoWorkers, match=r"3 workers in a row failed to start: .*no encoder here"),
    ):
        list(pool.run([Task(0, "a")]))
