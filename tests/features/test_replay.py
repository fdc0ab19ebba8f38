"""A log through the live path and through the batch path: every feature of every slate, equal to the bit.

Events come late, twice, out of order and too fast; slates are made in between from what the store holds at
that moment. Afterwards all that is left is the tables, and from these the batch path computes them again.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from features.activity_board import ActivitySnapshot, publish_activity, read_activity
from features.assemble import FEATURE_NAMES, assemble
from features.catalogue import register
from features.contracts import DAY_MS, DEVICES, EVENTS, SURFACES, Context, VideoTable
from features.outbox import exposures
from features.packing import AcceptedEvent, Exposure, pack_exposure
from features.point_in_time import Moments, features_at, read_past
from features.statistics import video_statistics
from features.store import Store
from features.workspace import Workspace

START = 1_767_225_600_000
USERS, SLATES, EVENTS_SENT, DAYS, K = 25, 120, 3000, 3, 7


@dataclass(frozen=True)
class Sent:
    """One event on its way, and when it arrives."""

    user: str
    event: AcceptedEvent
    arrives_ms: int


@dataclass
class Live:
    """The live system: a store, its keeper, and what each slate was made from."""

    store: Store
    workspace: Workspace
    videos: VideoTable
    activity: ActivitySnapshot = field(default_factory=ActivitySnapshot)
    statistics: np.ndarray = field(default_factory=lambda: np.zeros(0))
    statistics_ms: int = 0
    slates: dict[str, np.ndarray] = field(default_factory=dict)

    def night(self, day_ms: int) -> None:
        self.keep(day_ms)
        self.statistics = video_statistics(self.workspace.interactions.read(), self.videos, day_ms)
        self.statistics_ms = day_ms

    def keep(self, now_ms: int) -> None:
        self.store.drain(self.workspace)
        publish_activity(self.workspace, self.store, now_ms)
        self.activity = read_activity(self.store, self.activity)

    def serve(self, user: str, rows: np.ndarray, context: Context) -> None:
        state = self.store.read_user(user)
        counts = self.activity.matrix(self.videos.keys)[rows]
        request = f"r{len(self.slates)}"
        self.slates[request] = assemble(
            self.videos,
            self.statistics,
            counts[None],
            state.histories,
            state.counters,
            context,
            rows[None].astype(np.int32),
        )[0]
        slate = Exposure(
            request,
            user,
            int(context.now_ms[0]),
            "b",
            "full",
            self.videos.keys[rows],
            np.ones(len(rows), np.float32),
            np.ones(len(rows)),
            history_ms=state.received_ms,
            activity_ms=self.activity.watermark_ms,
            statistics_ms=self.statistics_ms,
            utc_offset_min=int(context.utc_offset_min[0]),
            device=context.device[0],
            surface=context.surface[0],
        )
        self.store.log_exposure(pack_exposure(slate))


@pytest.fixture
def live(redis_url: str, workspace: Workspace, catalogue: pl.DataFrame, videos: VideoTable) -> Iterator[Live]:
    register(workspace, catalogue.select("video_id"))
    keys = dict(workspace.catalogue.read(["video_id", "video_key"]).iter_rows())
    assert list(keys.values()) == list(range(len(videos)))
    store = Store.connect(redis_url, namespace=f"replay{secrets.token_hex(4)}", timeout_s=5)
    yield Live(store, workspace, renumbered(videos))
    store.close()


def renumbered(videos: VideoTable) -> VideoTable:
    """The same videos under the keys that the catalogue of the test gave them."""
    from dataclasses import replace

    rng = np.random.default_rng(3)
    rows = rng.integers(0, len(videos), (len(videos), 6)).astype(np.int32)
    weights = rng.uniform(0, 1, rows.shape).astype(np.float32)
    return replace(
        videos, keys=np.arange(len(videos), dtype=np.int64), neighbours=rows, neighbour_weights=weights
    )


def world(rng: np.random.Generator) -> list[Sent]:
    """Events with all the trouble of the real world, in the order of their arrival."""
    sent: list[Sent] = []
    for number in range(EVENTS_SENT):
        ts = START + int(rng.integers(0, DAYS * DAY_MS))
        delays = [0, 40, 3_000, 5_400_000, 40_000_000, 130_000_000]
        late = int(rng.choice(delays, p=[0.4, 0.3, 0.2, 0.04, 0.03, 0.03]))
        extra = {
            "device": rng.choice([*DEVICES, "fridge"]) if rng.random() < 0.7 else None,
            "utc_offset_min": int(rng.choice([-480, 0, 330])),
        }
        video = int(rng.integers(0, 120))
        watch = float(np.float32(rng.uniform(0, 30))) if rng.random() < 0.8 else None
        event = AcceptedEvent(
            f"e{number}",
            video,
            f"v{video}",
            EVENTS[rng.choice(len(EVENTS), p=[0.3, 0.45, 0.1, 0.02, 0.03, 0.07, 0.03])],
            ts - ts % 1000 if rng.random() < 0.3 else ts,  # ties in time
            watch,
            extra={name: str(v) if name == "device" else v for name, v in extra.items() if v is not None},
        )
        one = Sent(f"u{rng.integers(0, USERS)}", event, ts + late)
        sent += [one] if rng.random() < 0.9 else [one, Sent(one.user, event, ts + late + 7_000_000)]
    burst = START + DAY_MS + 5_000_000
    sent += [
        Sent("u0", AcceptedEvent(f"burst{n}", n % 120, f"v{n % 120}", "play", burst + n), burst + n)
        for n in range(180)
    ]
    return sorted(sent, key=lambda one: one.arrives_ms)


def replay(live: Live, sent: list[Sent], rng: np.random.Generator) -> None:
    """Events, slates and the keeper's minutes in the order of time."""
    asked = np.sort(START + rng.integers(0, DAYS * DAY_MS, SLATES))
    kept = np.arange(START, START + DAYS * DAY_MS, 900_000)  # now and then: watermarks of many ages
    acts = [(one.arrives_ms, 0, one) for one in sent]
    acts += [(int(at), 1, None) for at in kept]
    acts += [(int(at), 2, None) for at in asked]
    for at, kind, one in sorted(acts, key=lambda act: act[:2]):
        if kind == 0 and one is not None:
            live.store.accept_events(one.user, [one.event], now_ms=at)
        elif kind == 1 and (at - START) % DAY_MS == 0:
            live.night(at)
        elif kind == 1:
            live.keep(at)
        else:
            device, surface = str(rng.choice([*DEVICES, "fridge"])), str(rng.choice([*SURFACES, "elsewhere"]))
            offset = np.array([rng.choice([-480, 0, 330])], np.int16)
            context = Context(np.array([at]), offset, (device,), (surface,))
            live.serve(f"u{rng.integers(0, USERS + 2)}", rng.choice(120, K, replace=False), context)
    live.store.drain(live.workspace)


def test_every_feature_of_every_slate_is_the_same_from_the_tables(
    live: Live, catalogue: pl.DataFrame
) -> None:
    rng = np.random.default_rng(11)
    replay(live, world(rng), rng)
    rows = live.workspace.interactions.read()
    assert rows["excess"].sum() > 0
    assert len(rows) < EVENTS_SENT + 181  # repeats are not there
    past = read_past(rows, live.workspace.catalogue.read(["video_id", "video_key"]), live.videos)
    shown = exposures(live.workspace).read().sort("request_id", "position")
    assert len(shown) == SLATES * K
    matrix = features_at(
        past, moments_of(shown, past.log.user_codes(shown["user_id"].to_list()), live.videos)
    )
    ever_known = 0
    for request, made in live.slates.items():
        again = matrix[(shown["request_id"] == request).to_numpy()]
        wrong = [FEATURE_NAMES[i] for i in np.flatnonzero((again != made).any(axis=0))]
        assert not wrong, f"{request} differs in {wrong}"
        assert again.tobytes() == made.tobytes()
        ever_known += int((made[:, FEATURE_NAMES.index("user_events")] > 0).all())
    assert ever_known > SLATES // 2


def moments_of(shown: pl.DataFrame, codes: np.ndarray, videos: VideoTable) -> Moments:
    """What each slate knew, as it was noted."""
    context = Context(
        shown["ts"].dt.epoch("ms").to_numpy().astype(np.int64),
        shown["utc_offset_min"].to_numpy().astype(np.int16),
        tuple(shown["device"]),
        tuple(shown["surface"]),
    )
    return Moments(
        codes,
        videos.rows_of(shown["video_key"].to_numpy().astype(np.int64)),
        context,
        shown["history_at"].dt.epoch("ms").fill_null(0).to_numpy().astype(np.int64) + 1,
        shown["activity_at"].dt.epoch("ms").fill_null(0).to_numpy().astype(np.int64),
        shown["statistics_at"].dt.epoch("ms").to_numpy().astype(np.int64),
    )
