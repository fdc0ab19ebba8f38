"""Side effect of a slate, after its response: what was shown, to whom, by which policy, how likely."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from features.errors import StoreUnavailable
from features.packing import Exposure, pack_exposure
from serving.desk import Desk
from serving.metrics import EXPOSURES
from serving.pipeline import Answer, Kitchen

log = logging.getLogger(__name__)

POLICY: Final = "greedy"
"""Every slot holds the best video for it: nothing is drawn by chance."""


def log_exposure(answer: Answer, desk: Desk, kitchen: Kitchen) -> bool:
    """Whether the slate was logged. One that was not is counted: it must not hold up or fail a request."""
    packed = pack_exposure(exposure_of(answer, desk))
    try:
        kitchen.breaker.call(lambda: kitchen.store.log_exposure(packed))
    except StoreUnavailable as error:
        kitchen.metrics.count(EXPOSURES, "lost")
        log.warning("exposure lost request_id=%s error=%s", answer.ask.request_id, error)
        return False
    kitchen.metrics.count(EXPOSURES, "logged")
    return True


def exposure_of(answer: Answer, desk: Desk) -> Exposure:
    """The record of one slate."""
    rows = answer.picked.rows
    return Exposure(
        request_id=answer.ask.request_id,
        user_id=answer.ask.user_id,
        ts_ms=answer.ask.now_ms,
        bundle=answer.bundle,
        served_by=answer.served_by,
        video_keys=desk.videos.keys[rows],
        scores=answer.picked.scores,
        propensities=np.ones(len(rows)),
        arm=answer.ask.arm,
        policy=POLICY,
        latency_ms=answer.latency_ms,
        history_ms=answer.history_ms,
        activity_ms=desk.activity_ms,
        statistics_ms=desk.statistics_load.as_of_ms if desk.statistics_load else 0,
        utc_offset_min=int(answer.ask.context.utc_offset_min[0]),
        device=next(iter(answer.ask.context.device), None),
        surface=answer.ask.surface,
        country=answer.ask.country,
    )
