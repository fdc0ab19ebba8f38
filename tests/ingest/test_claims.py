"""Each content is described once, whatever it is called, whoever opens it first and whatever goes wrong."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ingest.claims import Claim, Claims
from ingest.describe import NotDescribed, Opened, Task
from ingest.failures import DecodeFailure
from ingest.source.stamps import Stamp


def task(number: int) -> Task:
    return Task(number, f"{number}.mp4")


def opened(number: int, content: str) -> Opened:
    return Opened(number, content, Stamp(1, 1), 0.0)


def outcome(number: int, content: str | None) -> NotDescribed:
    return NotDescribed(number, content, DecodeFailure("decode", "corrupt", "no"), 0.0)


def test_the_first_of_a_content_is_described_and_its_other_names_are_settled_with_it() -> None:
    claims = Claims({"old"})
    assert claims.ask(task(0), opened(0, "old")) is Claim.SETTLED
    assert claims.ask(task(1), opened(1, "new")) is Claim.DESCRIBE
    assert claims.ask(task(2), opened(2, "new")) is Claim.SETTLED
    assert claims.ask(task(1), opened(1, "new")) is Claim.DESCRIBE, "its worker died, and it is opened again"
    assert claims.settle(outcome(1, "new")) == []
    assert claims.ask(task(3), opened(3, "new")) is Claim.SETTLED


def test_a_file_that_fails_by_itself_hands_its_content_to_those_that_waited() -> None:
    claims = Claims(set())
    assert claims.ask(task(1), opened(1, "x")) is Claim.DESCRIBE
    assert claims.ask(task(2), opened(2, "x")) is Claim.SETTLED
    assert claims.settle(outcome(1, None)) == [task(2)]
    assert claims.ask(task(2), opened(2, "x")) is Claim.DESCRIBE


def test_a_worker_that_died_lets_go_of_its_content_and_the_other_names_come_back() -> None:
    claims = Claims(set())
    assert claims.ask(task(1), opened(1, "x")) is Claim.DESCRIBE
    assert claims.ask(task(2), opened(2, "x")) is Claim.SETTLED
    assert claims.release(1) == [task(2)]
    assert claims.ask(task(1), opened(1, "changed meanwhile")) is Claim.DESCRIBE
    assert claims.ask(task(2), opened(2, "x")) is Claim.DESCRIBE


def test_suspects_wait_until_they_are_alone_and_the_lethal_are_not_read() -> None:
    claims = Claims(set(), {"s", "l"}, {"l"})
    assert claims.ask(task(1), opened(1, "s")) is Claim.LATER
    assert claims.ask(task(1), opened(1, "s"), alone=True) is Claim.DESCRIBE
    assert claims.ask(task(2), opened(2, "l")) is Claim.LETHAL


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(0, 10**6))
def test_whatever_fails_every_content_that_can_be_is_described_exactly_once(
    contents: list[str], seed: int
) -> None:
    rng = random.Random(seed)
    claims, waiting, held = Claims(set()), [task(i) for i in range(len(contents))], []
    described: list[str] = []
    failed: set[int] = set()
    while waiting or held:
        if waiting and (not held or rng.random() < 0.5):
            one = waiting.pop(rng.randrange(len(waiting)))
            if claims.ask(one, opened(one.number, contents[one.number])) is Claim.DESCRIBE:
                held.append(one)
            continue
        one = held.pop(rng.randrange(len(held)))
        content = contents[one.number]
        if rng.random() < 0.3:
            failed.add(one.number)
            waiting += claims.settle(outcome(one.number, None))
        else:
            described.append(content)
            waiting += claims.settle(outcome(one.number, content))
    assert len(described) == len(set(described))
    for content in set(contents) - set(described):
        assert {i for i, c in enumerate(contents) if c == content} <= failed, "each of its files failed"
