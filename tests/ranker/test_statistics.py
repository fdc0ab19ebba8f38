"""Intervals that hold what they say, lifts that are paired, and the sentence that follows from them."""

import numpy as np
import pytest

from features.errors import BadInput
from ranker.evaluation.arms import Arm
from ranker.evaluation.compare import Comparison, ablations, compare
from ranker.evaluation.metrics import METRICS, Doubles
from ranker.evaluation.statistics import (
    MOST_GROUPS,
    detectable_effect,
    lift,
    mean_interval,
    percentile_interval,
    resample_means,
    t_quantile,
    users_needed,
)
from ranker.evaluation.verdict import decide, warnings_of


def _compared(
    *levels: float, users: int = 400, arms: list[Arm] | None = None, noise: float = 0.05
) -> Comparison:
    """Arms whose users' values lie around these levels, with a spread that all arms of a user share."""
    draw = np.random.default_rng(5)
    shared = draw.normal(0, 0.1, (users, 1))
    values = [
        np.clip(level + shared + draw.normal(0, noise, (users, len(METRICS))), 0, 1) for level in levels
    ]
    return compare(arms or [Arm(f"a{i}", "random") for i in range(len(levels))], values, seed=1)


def test_the_t_quantile_is_that_of_the_tables() -> None:
    tabled = {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 1000: 1.962}
    for freedom, value in tabled.items():
        assert t_quantile(0.975, freedom) == pytest.approx(value, abs=0.012)


def test_nineteen_of_twenty_mean_intervals_hold_the_truth() -> None:
    draw = np.random.default_rng(11)
    held = 0
    for _ in range(2000):
        found = mean_interval(draw.exponential(1.0, 60))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 0.92 < held / 2000 < 0.97


def test_nineteen_of_twenty_lift_intervals_hold_the_truth() -> None:
    draw = np.random.default_rng(12)
    held = 0
    for run in range(200):
        base = draw.gamma(2.0, 0.2, 200)
        arm = base * 1.1 + draw.normal(0, 0.1, 200)
        draws = resample_means(np.column_stack([base, arm]), seed=run, resamples=300)
        found = lift(float(arm.mean()), float(base.mean()), draws[:, 1], draws[:, 0], 200)
        assert found.relative is not None
        assert found.relative.low is not None
        assert found.relative.high is not None
        held += found.relative.low <= 0.1 <= found.relative.high
    assert 0.9 < held / 200 < 0.99


def test_pairing_makes_the_interval_of_a_difference_narrower_than_those_of_its_arms() -> None:
    compared = _compared(0.3, 0.32)
    difference, arm = compared.lift(1, 0, "ndcg").absolute, compared.mean(1, "ndcg")
    assert difference.low is not None
    assert difference.high is not None
    assert arm.low is not None
    assert arm.high is not None
    assert difference.high - difference.low < arm.high - arm.low


def test_the_same_seed_gives_the_same_resamples() -> None:
    values = np.random.default_rng(3).random((50, 2))
    assert (resample_means(values, 9, 50) == resample_means(values, 9, 50)).all()
    assert (resample_means(values, 9, 50) != resample_means(values, 10, 50)).any()


def test_very_many_users_are_drawn_in_groups_with_the_same_spread() -> None:
    values = np.random.default_rng(4).random((MOST_GROUPS * 3, 1))
    draws = resample_means(values, 2, 300)
    expected = values.std() / len(values) ** 0.5
    assert draws.mean() == pytest.approx(values.mean(), abs=4 * expected)
    assert draws.std() == pytest.approx(expected, rel=0.15)


def test_one_user_has_no_interval_and_none_has_no_mean() -> None:
    alone = mean_interval(np.array([0.4]))
    assert alone is not None
    assert (alone.value, alone.low, alone.high) == (0.4, None, None)
    assert mean_interval(np.array([])) is None
    assert percentile_interval(0.4, np.array([0.4, 0.4]), users=1).low is None


def test_a_value_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(BadInput, match="must be finite"):
        mean_interval(np.array([0.1, np.nan]))


def test_a_base_of_zero_has_a_difference_but_no_ratio() -> None:
    found = lift(0.2, 0.0, np.full(100, 0.2), np.zeros(100), users=40)
    assert found.relative is None
    assert found.absolute.value == pytest.approx(0.2)
    assert found.clear


def test_users_needed_and_detectable_effect_are_inverse_to_each_other() -> None:
    differences = np.random.default_rng(6).normal(0.01, 0.2, 5000)
    effect = detectable_effect(differences)
    assert effect is not None
    assert users_needed(differences, effect) == pytest.approx(5000, abs=1)
    assert users_needed(np.zeros(10), 0.1) is None
    assert detectable_effect(np.zeros(1)) is None


def test_the_verdict_launches_an_arm_that_is_clearly_better() -> None:
    verdict = decide(_compared(0.3, 0.4, 0.2), k=10)
    assert (verdict.decision, verdict.arm) == ("launch", "a1")
    assert verdict.sentence.startswith("Launch a1: its nDCG@10 is 3")
    assert "above that of a0 (95% interval +" in verdict.sentence


def test_the_verdict_keeps_a_control_that_beats_all() -> None:
    verdict = decide(_compared(0.4, 0.3, 0.2), k=10)
    assert (verdict.decision, verdict.arm) == ("keep", "a1")
    assert "below that of a0" in verdict.sentence


def test_the_verdict_is_open_where_an_interval_holds_zero_and_says_how_many_users_would_do() -> None:
    verdict = decide(_compared(0.3, 0.3005, 0.2, users=60), k=5)
    assert (verdict.decision, verdict.arm) == ("undecided", "a1")
    assert "too close to call" in verdict.sentence
    assert "users would settle" in verdict.sentence


def test_arms_that_are_equal_for_every_user_are_no_decision() -> None:
    same = np.full((30, len(METRICS)), 0.25)
    compared = compare([Arm("x", "random"), Arm("y", "recent")], [same, same], seed=1)
    verdict = decide(compared, k=10)
    assert verdict.decision == "undecided"
    assert verdict.sentence == "No decision: y and x have the same nDCG@10 for every user."
    texts = [warning["text"] for warning in warnings_of(compared, [], [], 10, [])]
    assert any("same nDCG@10 in x" in text for text in texts)
    assert any("Only 30 user(s)" in text for text in texts)


def test_a_component_that_hurts_is_an_alarm_and_one_that_helps_is_none() -> None:
    arms = [
        Arm("full", "bundle", "b"),
        Arm("deaf", "bundle", "b", frozenset({"audio"})),
        Arm("blind", "bundle", "b", frozenset({"visual"})),
        Arm("blind and deaf", "bundle", "b", frozenset({"visual", "audio"})),
        Arm("other", "bundle", "c", frozenset({"text"})),
    ]
    compared = _compared(0.3, 0.4, 0.2, 0.3, 0.3, arms=arms)
    tested = ablations(compared)
    by_arms = {(one.component, one.full): one.hurts for one in tested}
    assert by_arms[("audio", 0)]
    assert not by_arms[("visual", 0)]
    assert len(tested) == 4  # the two from the full arm, and the two from an arm that lacks one already
    alarms = [w["text"] for w in warnings_of(compared, [], tested, 10, []) if w["level"] == "alarm"]
    assert any(text.startswith("audio hurts: without it, deaf is better than full") for text in alarms)


def test_many_equal_arms_seldom_give_a_false_launch() -> None:
    draw = np.random.default_rng(21)

    def world(run: int) -> Comparison:
        values: list[Doubles] = [draw.random((80, len(METRICS))) for _ in range(4)]
        return compare([Arm(f"a{i}", "random") for i in range(4)], values, seed=run)

    false = sum(decide(world(run), 10).decision == "launch" for run in range(30))
    assert false <= 4
