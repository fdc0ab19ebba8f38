"""The ladder and the breaker: there is always a slate, it names itself; a dead store is left alone."""

import asyncio
import threading

import pytest

from features.errors import StoreUnavailable
from serving.degrade import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker, first_that_works
from serving.executor import BoundedExecutor
from serving.problems import Overloaded
from serving.timing import OutOfTime, Stopwatch


def failing(error):
    def make():
        raise error

    return make


def test_the_first_rung_that_works_is_served_and_the_reasons_above_it_are_told():
    served = first_that_works(
        (
            ("full", failing(StoreUnavailable("Redis is gone"))),
            ("popular", lambda: "slate"),
            ("static", lambda: "list"),
        ),
        "r1",
    )
    assert (served.value, served.served_by, served.reasons) == ("slate", "popular", ("Redis is gone",))


def test_nothing_is_degraded_while_the_best_rung_works():
    served = first_that_works((("full", lambda: "slate"), ("static", lambda: "list")), "r1")
    assert (served.served_by, served.reasons) == ("full", ())


def test_a_fault_of_ours_costs_quality_and_not_the_slate(caplog):
    served = first_that_works((("full", failing(IndexError("9"))), ("static", lambda: "list")), "r7")
    assert served.served_by == "static"
    assert served.reasons == ("full met a fault (IndexError)",)
    assert "request_id=r7" in caplog.text


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_breaker_does_not_repeat_what_just_failed():
    clock, tried = Clock(), []
    breaker = Breaker(clock)

    def ask():
        tried.append(clock.now)
        raise StoreUnavailable("no answer")

    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="no answer"):
            breaker.call(ask)
    assert tried == [100.0]
    assert breaker.is_open


def test_a_breaker_waits_longer_after_each_failure_up_to_a_bound_and_forgets_on_success():
    clock = Clock()
    breaker = Breaker(clock)
    pauses = []
    for _ in range(12):
        with pytest.raises(StoreUnavailable):
            breaker.call(failing(StoreUnavailable("no")))
        start = clock.now
        while breaker.is_open:
            clock.now += 0.01
        pauses.append(clock.now - start)
    assert pauses[0] <= FIRST_PAUSE_S + 0.02
    assert max(pauses) <= LONGEST_PAUSE_S + 0.02
    assert pauses[-1] > 4 * pauses[0]
    assert breaker.call(lambda: "ok") == "ok"
    with pytest.raises(StoreUnavailable):
        breaker.call(failing(StoreUnavailable("no")))
    start = clock.now
    while breaker.is_open:
        clock.now += 0.01
    assert clock.now - start <= FIRST_PAUSE_S + 0.02


def test_other_errors_pass_through_a_breaker_and_leave_it_closed():
    breaker = Breaker(Clock())
    with pytest.raises(KeyError):
        breaker.call(failing(KeyError("x")))
    assert not breaker.is_open


def test_a_stopwatch_names_the_stage_that_was_not_begun():
    watch = Stopwatch(budget_ms=1e-6)
    with watch.stage("retrieve"):
        sum(range(1000))
    assert watch.stages_ms["retrieve"] > 0
    with pytest.raises(OutOfTime, match="before scoring"):
        watch.check("scoring")


def test_requests_beyond_threads_and_queue_are_turned_away_at_once():
    async def scene():
        pool, gate = BoundedExecutor("test", threads=1, waiting=1), threading.Event()
        waiting = [asyncio.create_task(pool.run(gate.wait, 5)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 requests"):
            await pool.run(int)
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await pool.run(int, "7") == 7
        pool.close()

    asyncio.run(scene())
