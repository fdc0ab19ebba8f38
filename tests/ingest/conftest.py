"""Small real media files, made through PyAV where a test needs one with known content."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ingest import pipeline
from ingest.claims import Claim, Claims
from ingest.crew import Crew
from ingest.describe import Children, Event, NotDescribed, Task
from ingest.journal import Journal
from ingest.pipeline import Recruit

ClipMaker = Callable[..., Path]
RATE = 25


@pytest.fixture
def make_clip(tmp_path: Path) -> ClipMaker:
    """Writes an H.264 clip whose frames can be told from their neighbours by their grey: 37 i modulo 251."""

    def make(
        name: str = "clip.mp4",
        *,
        frames: int = 50,
        size: tuple[int, int] = (64, 64),
        tone_hz: float | None = None,
        hide_s: float = 0.0,
        key_every: int = 25,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            picture = container.add_stream(
                codec, rate=RATE, options={"g": str(key_every), "crf": "1", **(options or {})}
            )
            picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
            sound = container.add_stream("aac", rate=44_100, layout="mono") if tone_hz else None
            _mux(container, picture, _pictures(frames, size), hide_s)
            if sound:
                _mux(container, sound, _tone(tone_hz or 0.0, frames / RATE), 0.0)
        return path

    return make


def _pictures(frames: int, size: tuple[int, int]) -> list[Any]:
    made = []
    for i in range(frames):
        grey = np.full((size[1], size[0], 3), 37 * i % 251, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, RATE)
        made.append(frame)
    return made


def _tone(hz: float, seconds: float) -> list[Any]:
    wave = (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 44_100)) / 44_100)).astype(np.float32)
    made = []
    for start in range(0, len(wave) - 1023, 1024):
        part = wave[None, start : start + 1024]
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
        made.append(frame)
    return made


def _mux(container: Any, stream: Any, frames: list[Any], hide_s: float) -> None:
    """Encodes and writes; what comes before `hide_s` gets a negative time: in MP4, an edit list."""
    for frame in [*frames, None]:
        for packet in stream.encode(frame):
            shift = round(hide_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            container.mux(packet)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos are described in this process, where a test is not about Ray."""

    class OneWorker:
        def __init__(self, recruit: Recruit, claims: Claims, journal: Journal, crew: Crew) -> None:
            self._describer, self._claims, self._journal = recruit(), claims, journal
            self.children, self.deaths = Children(), 0

        def __enter__(self) -> OneWorker:
            return self

        def __exit__(self, *raised: object) -> None:
            self._describer.__exit__(None, None, None)

        def run(self, tasks: Iterable[Task]) -> Iterator[Event]:
            waiting, later = deque(tasks), deque[Task]()
            while waiting or later:
                task = waiting.popleft() if waiting else later.popleft()
                opened = self._describer.open(task)
                yield opened
                if isinstance(opened, NotDescribed):
                    continue
                claim = self._claims.ask(task, opened, alone=not waiting)
                if claim is Claim.DESCRIBE:
                    self._journal.begin(opened.content_hash, alone=False)
                    [outcome] = self._describer.describe([task.number])
                    self._journal.end(opened.content_hash)
                    waiting.extend(self._claims.settle(outcome))
                    yield outcome
                elif claim is Claim.LATER:
                    later.append(task)

    monkeypatch.setattr(pipeline, "Pool", OneWorker)
    monkeypatch.setattr(pipeline, "start_ray", lambda address, cpus: None)
    monkeypatch.setattr(pipeline, "choose_crew", lambda device, workers, tasks: Crew(1))
