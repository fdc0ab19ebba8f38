"""The sentence a launch is decided on, and what a reader has to be warned of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.contracts import NO_KEY
from ranker.evaluation.compare import PRIMARY, Ablation, Comparison, metric_place
from ranker.evaluation.metrics import LABELS
from ranker.evaluation.slates import Slates
from ranker.evaluation.statistics import Lift, users_needed
from ranker.evaluation.words import percent, signed

FEW_USERS: Final = 100
"""Under so many, the percentile bootstrap covers less than it says."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do."""

    decision: str
    """`launch`, `keep` or `undecided`."""
    arm: str
    """The arm it speaks of: the best of the challengers that decide it."""
    sentence: str


def decide(compared: Comparison, k: int) -> Verdict:
    """The verdict over all challengers at once.

    Launch the best arm that is clearly better than the control; keep the control where all are clearly
    worse; else it is undecided. "Clearly" holds at 95 % for all challengers together.
    """
    control, metric = compared.arms[0].name, f"{LABELS[PRIMARY]}@{k}"
    others = range(1, len(compared.arms))
    lifts = {i: compared.lift(i, 0, PRIMARY, len(others)) for i in others}
    best = max(others, key=lambda i: (lifts[i].absolute.value, -i))
    better = [i for i in others if lifts[i].clear and lifts[i].absolute.value > 0]
    if better:
        name = compared.arms[best].name
        return Verdict(
            "launch", name, f"Launch {name}: its {metric} is {_against(lifts[best], control, compared)}."
        )
    open_ones = [i for i in others if not lifts[i].clear]
    if not open_ones:
        name = compared.arms[best].name
        return Verdict(
            "keep",
            name,
            f"Keep {control}: no arm beats it. The nearest is {name}, whose {metric} is "
            f"{_against(lifts[best], control, compared)}.",
        )
    nearest = max(open_ones, key=lambda i: (lifts[i].absolute.value, -i))
    name = compared.arms[nearest].name
    if not compared.differences(nearest, 0).any():
        return Verdict(
            "undecided", name, f"No decision: {name} and {control} have the same {metric} for every user."
        )
    return Verdict(
        "undecided",
        name,
        f"No decision: the {metric} of {name} is "
        f"{_against(lifts[nearest], control, compared)}, too close to call."
        f"{_needed(compared, nearest, lifts[nearest])}",
    )


def warnings_of(
    compared: Comparison, slates: list[Slates], tested: list[Ablation], k: int, notes: list[str]
) -> list[dict[str, str]]:
    """What a reader must know, worst first: `level` alarm or note, and `text`."""
    alarms = [
        f"{ablation.component} hurts: without it, {compared.arms[ablation.less].name} is better than "
        f"{compared.arms[ablation.full].name} ({signed_lift(_turned(ablation.gain))})."
        for ablation in tested
        if ablation.hurts
    ]
    at = metric_place(PRIMARY)
    alarms += [
        f"Every user has the same {LABELS[PRIMARY]}@{k} in {arm.name} ({compared.values[i, 0, at]:.3f}): its "
        "interval has no width and says nothing."
        for i, arm in enumerate(compared.arms)
        if compared.users > 1 and np.ptp(compared.values[i, :, at]) == 0
    ]
    shorts: dict[int, list[str]] = {}
    for slate in slates:
        shorts.setdefault(int((slate.keys == NO_KEY).any(axis=1).sum()), []).append(slate.arm.name)
    cautions = [
        f"{short:,} of {compared.users:,} users get fewer than {k} videos from {', '.join(names)}; empty "
        "places count as misses."
        for short, names in shorts.items()
        if short
    ]
    if compared.users < FEW_USERS:
        cautions.insert(
            0, f"Only {compared.users} user(s) have held-out videos: intervals are rough under {FEW_USERS}."
        )
    return [{"level": "alarm", "text": text} for text in alarms] + [
        {"level": "note", "text": text} for text in (*cautions, *notes)
    ]


def signed_lift(value: Lift) -> str:
    """A lift and its interval in words: relative where there is one, else absolute."""
    if value.relative is not None:
        return _spoken(value.relative, percent)
    return _spoken(value.absolute, signed)


def _against(value: Lift, control: str, compared: Comparison) -> str:
    shown = value.relative or value.absolute
    size = f"{abs(shown.value):.1%}" if value.relative else f"{abs(shown.value):.4f}"
    side = "above" if value.absolute.value > 0 else "below"
    where = f"{size} {side} that of {control}" if value.absolute.value else f"equal to that of {control}"
    bounds = signed_lift(value).partition(" (")[2]
    inside = f"{bounds.rstrip(')')}, {compared.users:,} users" if bounds else f"{compared.users:,} user(s)"
    return f"{where} ({inside})"


def _needed(compared: Comparison, arm: int, value: Lift) -> str:
    users = users_needed(compared.differences(arm, 0), value.absolute.value)
    if users is None or users <= compared.users:
        return ""
    return f" About {users:,} users would settle a difference of this size."


def _spoken(estimate: Any, write: Any) -> str:
    if estimate.low is None:
        return str(write(estimate.value))
    return f"{write(estimate.value)} (95% interval {write(estimate.low)} to {write(estimate.high)})"


def _turned(value: Lift) -> Lift:
    """The lift of the other side: absolute only, since a ratio's inverse is another number."""
    a = value.absolute
    low, high = (None, None) if a.low is None or a.high is None else (-a.high, -a.low)
    return Lift(type(a)(-a.value, low, high, a.users), None, value.clear)
