"""What a worker counts and times, as Prometheus text.

Each worker counts for itself; behind one port, a scrape meets one of several workers at a time.
Source: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SECONDS: Final = (
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.02,
    0.03,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
)
"""Upper bounds of the histogram buckets, s."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name, kind, what it means and the names of its labels."""

    name: str
    kind: str
    meaning: str
    labels: Labels = ()


REQUESTS: Final = Metric("reelrank_requests_total", "counter", "Responses sent.", ("route", "status"))
REQUEST_SECONDS: Final = Metric("reelrank_request_seconds", "histogram", "Time to the last byte.", ("route",))
STAGE_SECONDS: Final = Metric(
    "reelrank_stage_seconds", "histogram", "Time of one stage of a slate.", ("stage",)
)
SLATES: Final = Metric("reelrank_slates_total", "counter", "Slates, by rung of the ladder.", ("served_by",))
SLATE_SECONDS: Final = Metric("reelrank_slate_seconds", "histogram", "Time to make a slate.", ("served_by",))
EVENTS: Final = Metric("reelrank_events_total", "counter", "Events received, by outcome.", ("outcome",))
EXPOSURES: Final = Metric(
    "reelrank_exposures_total", "counter", "Slates logged after the response.", ("outcome",)
)
SWAPS: Final = Metric("reelrank_bundle_swaps_total", "counter", "Bundles taken into service.", ("outcome",))
STORE_WAITING: Final = Metric("reelrank_store_waiting", "gauge", "Events and slates that wait for the drain.")
STORE_LOST: Final = Metric("reelrank_store_exposures_lost", "gauge", "Slates that full streams have cost.")
STORE_AGE: Final = Metric("reelrank_store_age_seconds", "gauge", "Since what is live was put up.", ("what",))

METRICS: Final = (
    REQUESTS, REQUEST_SECONDS, STAGE_SECONDS, SLATES, SLATE_SECONDS, EVENTS, EXPOSURES, SWAPS,
    STORE_WAITING, STORE_LOST, STORE_AGE,
)  # fmt: skip


class Metrics:
    """Counters and histograms of one worker; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Labels], float] = {}
        self._buckets: dict[tuple[str, Labels], list[float]] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            key = metric.name, labels
            self._counts[key] = self._counts.get(key, 0) + by

    def gauge(self, metric: Metric, value: float, *labels: str) -> None:
        """Sets what is measured now."""
        with self._lock:
            self._counts[metric.name, labels] = value

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Adds one measured time, s, to a histogram."""
        with self._lock:
            row = self._buckets.setdefault((metric.name, labels), [0.0] * (len(SECONDS) + 2))
            row[bisect_left(SECONDS, seconds)] += 1
            row[-1] += seconds

    def text(self) -> str:
        """All metrics in the exposition format."""
        with self._lock:
            counts = dict(self._counts)
            buckets = {key: list(row) for key, row in self._buckets.items()}
        lines: list[str] = []
        for metric in METRICS:
            lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
            lines += (
                _counter_lines(metric, counts)
                if metric.kind != "histogram"
                else _histogram_lines(metric, buckets)
            )
        return "\n".join(lines) + "\n"


def _counter_lines(metric: Metric, counts: dict[tuple[str, Labels], float]) -> Iterator[str]:
    for (name, values), count in sorted(counts.items()):
        if name == metric.name:
            yield f"{name}{_braces(metric.labels, values)} {_number(count)}"


def _histogram_lines(metric: Metric, buckets: dict[tuple[str, Labels], list[float]]) -> Iterator[str]:
    for (name, values), row in sorted(buckets.items()):
        if name != metric.name:
            continue
        below = 0.0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), row[:-1], strict=True):
            below += count
            yield f"{name}_bucket{_braces((*metric.labels, 'le'), (*values, bound))} {_number(below)}"
        yield f"{name}_sum{_braces(metric.labels, values)} {_number(row[-1])}"
        yield f"{name}_count{_braces(metric.labels, values)} {_number(below)}"


def _braces(names: Labels, values: Labels) -> str:
    pairs = [f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    """In full: rates are differences of large counts."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
