"""Who describes: Ray on this machine or a cluster, how many workers there, and what a worker does."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any, Final

import ray

from features.errors import BadInput
from ingest.describe import Children, Describer, NotDescribed, Opened, Outcome, Task
from ingest.failures import DecodeFailure

log = logging.getLogger(__name__)

GPU_BATCH: Final = 8
"""Videos that a GPU describes at a time."""
OBJECT_STORE_BYTES: Final = 100 << 20
"""Results are small; Ray would take 30 % of the memory."""


def start_ray(address: str | None, cpus: int | None) -> None:
    """Joins the cluster at an address, or starts a small one on this machine; nothing where one is running.

    Args:
        address: of a cluster (`ray://host:port`, `host:port` or `auto`); None for this machine.
        cpus: processors that Ray may use on this machine; None for all. Ignored with an address.

    Raises:
        BadInput: no cluster answers at the address.
    """
    if ray.is_initialized():
        return
    # Read by Ray at its start: it would phone home, and warn of a change that does not concern us.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(include_dashboard=False, num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInput(f"no Ray cluster answers at {address}; start one or leave the address out") from error


@dataclass(frozen=True, slots=True)
class Crew:
    """Who works."""

    lanes: int
    """Actors, one processor each."""
    device: str = "cpu"
    """cpu or cuda."""
    batch: int = 1
    """Contents described in one call."""
    gpus: float = 0.0
    """Of an actor."""


def choose_crew(device: str, workers: int | None, tasks: int) -> Crew:
    """One worker a processor, or one a GPU where there are some and they may be used.

    Args:
        device: `auto`, `cpu` or `cuda`.
        workers: how many; None leaves it to the cluster.
        tasks: there are no more workers than these, >= 1.

    Raises:
        BadInput: `cuda` is asked for and no node of the cluster has a GPU.
    """
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0)) if device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise BadInput("device cuda: no node of the Ray cluster has a GPU; use `auto` or `cpu`")
    lanes = min(workers or gpus or int(there.get("CPU", 1)), tasks)
    return Crew(lanes, "cuda", GPU_BATCH, min(1.0, gpus / lanes)) if gpus else Crew(lanes)


class Worker:
    """What a Ray actor holds. Opens in one thread and describes in another."""

    def __init__(self, describer: Any) -> None:
        self._describer: Describer = describer()

    def ready(self) -> bool:
        return True

    def open(self, task: Task, unwanted: list[int]) -> Opened | NotDescribed:
        for number in unwanted:
            self._describer.drop(number)
        try:
            return self._describer.open(task)
        except Exception as error:  # the worker's outer edge: one video must not end the run
            return _failed(task.number, None, "list", error)

    def describe(self, opened: list[Opened], isolated: bool) -> tuple[list[Outcome], Children]:
        try:
            outcomes = self._describer.describe([one.number for one in opened], isolated=isolated)
        except Exception as error:  # as above
            outcomes = [_failed(one.number, one.content_hash, "embed", error) for one in opened]
        return outcomes, self._describer.children

    def close(self) -> None:
        self._describer.__exit__(None, None, None)


def _failed(number: int, content: str | None, stage: str, error: Exception) -> NotDescribed:
    log.error("worker failed number=%d", number, exc_info=error)
    said = f"the worker failed: {type(error).__name__}: {error}"[:500]
    return NotDescribed(number, content, DecodeFailure(stage, "crash", said), 0.0)
