"""Planted study: real clips, copied as people copy them, are found again, and nothing else is.

`python -m tests.bench.reuploads` does the same with all clips and all ways of copying.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ingest.likeness.duplicates import Groups, group_duplicates
from ingest.likeness.fingerprint import Fingerprint, fingerprint
from ingest.media.decode import Clip, DecodeSettings, decode_clip
from ingest.media.probe import Limits, probe

CLIPS = ("chaplin.mp4", "nasa_13013.mp4", "example2.mp4")
UPRIGHT = {
    0: (),
    90: (("transpose", "clock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "cclock"),),
}
OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "0"},
}
HALF = (("scale", "trunc(iw/4)*2:trunc(ih/4)*2"),)
EVEN = (("scale", "trunc(iw/2)*2:trunc(ih/2)*2"), ("format", "yuv420p"))
MS = Fraction(1, 1000)


@dataclass(frozen=True)
class Way:
    """One way of making a copy."""

    suffix: str = ".mp4"
    video: str | None = "libx264"
    """Codec of the picture; None leaves it out."""
    audio: str | None = "aac"
    filters: tuple[tuple[str, str], ...] = HALF
    crf: int = 28
    """Quality of the picture: larger is worse."""
    bit_rate: int = 96_000
    """Of the sound, bit/s."""
    start_s: float = 0.0
    """What comes before and what comes after is left out."""
    end_s: float = float("inf")


WAYS = {
    "low bit rate, H.264": Way(crf=38, bit_rate=32_000),
    "VP9 and Opus in WebM": Way(".webm", "libvpx-vp9", "libopus", crf=50, bit_rate=32_000),
    "5 % cropped a side": Way(filters=(("crop", "iw*0.9:ih*0.9"), *HALF)),
    "start trimmed by 0.3 s": Way(start_s=0.3),
}


def copy(source: Path, target: Path, way: Way) -> bool:
    """Writes a copy of a media file; False, and nothing, where this way keeps nothing of it."""
    found = probe(source, Limits())
    seen, heard = found.has_video and way.video is not None, found.has_audio and way.audio is not None
    pictures = _pictures(source, way, found.rotation) if seen else iter(())
    first = next(pictures, None)
    if first is None and not heard:
        return False
    with av.open(str(target), "w") as made:
        if first is not None:
            video = made.add_stream(way.video, rate=30, options={**OPTIONS[way.video], "crf": str(way.crf)})
            video.width, video.height, video.pix_fmt = first.width, first.height, "yuv420p"
            video.thread_count, video.codec_context.time_base = 1, MS
        if heard:
            rate = 48_000 if way.audio == "libopus" else 44_100
            audio = made.add_stream(way.audio, rate=rate, layout="mono")
            audio.bit_rate = way.bit_rate
        if first is not None:
            _write(made, video, (first, *pictures))
        if heard:
            _write(made, audio, _sound(source, way, audio))
    return True


def _write(made: Any, stream: Any, frames: Any) -> None:
    for frame in (*frames, None):
        for packet in stream.encode(frame):
            made.mux(packet)


def _pictures(source: Path, way: Way, rotation: int) -> Iterator[Any]:
    """Upright filtered frames with times in ms from the start of the copy."""
    graph, last = None, -1
    with av.open(str(source)) as given:
        for frame in given.decode(video=0):
            if frame.time is None or not way.start_s <= frame.time < way.end_s:
                continue
            graph = graph or _graph(frame, (*UPRIGHT[rotation], *way.filters, *EVEN))
            graph.push(frame)
            shown = graph.pull()
            shown.pts, shown.time_base, shown.pict_type = round((frame.time - way.start_s) * 1000), MS, 0
            if shown.pts > last:
                last = shown.pts
                yield shown


def _graph(frame: Any, steps: tuple[tuple[str, str], ...]) -> Any:
    graph = av.filter.Graph()
    size = {"width": frame.width, "height": frame.height}
    first = graph.add_buffer(**size, format=frame.format, time_base=frame.time_base)
    made = [graph.add(name, asked) if asked else graph.add(name) for name, asked in steps]
    graph.link_nodes(first, *made, graph.add("buffersink"))
    graph.configure()
    return graph


def _sound(source: Path, way: Way, stream: Any) -> Iterator[Any]:
    form = stream.codec_context.format.name
    resampler = av.AudioResampler(form, "mono", stream.rate, stream.codec_context.frame_size or None)
    given_at = made_at = 0
    with av.open(str(source)) as given:
        for frame in given.decode(audio=0):
            if frame.time is None or not way.start_s <= frame.time < way.end_s:
                continue
            frame.pts, frame.time_base = given_at, Fraction(1, frame.sample_rate)
            given_at += frame.samples
            for part in resampler.resample(frame):
                part.pts, part.time_base = made_at, Fraction(1, stream.rate)
                made_at += part.samples
                yield part


def print_of(path: Path) -> tuple[Fingerprint, float]:
    """Fingerprint and length, s, of a file."""
    clip: Clip = decode_clip(path, DecodeSettings(rungs=("pyav",)))
    return fingerprint(clip), clip.duration_s


def group(prints: list[tuple[Fingerprint, float]]) -> Groups:
    return group_duplicates(
        [found.frame_hashes for found, _ in prints],
        [found.sound_hashes for found, _ in prints],
        np.array([length for _, length in prints]),
    )


@pytest.fixture(scope="module")
def originals(shared_data: Path) -> dict[str, tuple[Fingerprint, float]]:
    return {name: print_of(shared_data / "clips" / name) for name in CLIPS}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_every_copy_joins_its_original_and_no_other(
    shared_data: Path, tmp_path: Path, originals: dict[str, tuple[Fingerprint, float]], way: Way
) -> None:
    copies = []
    for name in CLIPS:
        assert copy(shared_data / "clips" / name, tmp_path / f"{name}{way.suffix}", way)
        copies.append(print_of(tmp_path / f"{name}{way.suffix}"))
    found = group([*originals.values(), *copies])
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert set(found.matched_by) <= {"both", "picture"}


def test_the_sound_track_of_a_film_alone_is_not_the_film(
    shared_data: Path, tmp_path: Path, originals: dict[str, tuple[Fingerprint, float]]
) -> None:
    target = tmp_path / "track.mp4"
    assert copy(shared_data / "clips" / "chaplin.mp4", target, Way(video=None))
    track = print_of(target)
    assert track[0].sound_hashes
    found = group([*originals.values(), track, track])
    assert found.labels.tolist() == [-1, -1, -1, 3, 3]


def test_parts_of_one_long_video_are_different_videos(shared_data: Path, tmp_path: Path) -> None:
    parts = []
    for start in (0.0, 6.0, 12.0):
        target = tmp_path / f"{start}.mp4"
        way = Way(start_s=start, end_s=start + 5.0)
        assert copy(shared_data / "clips" / "clip1024.flv", target, way)
        parts.append(print_of(target))
    assert (group(parts).labels == -1).all()


def test_different_recordings_of_rain_and_fire_are_different(shared_data: Path) -> None:
    paths = [
        path
        for kind in ("rain", "fire_crackling")
        for path in sorted((shared_data / "esc10" / kind).glob("*"))[:8]
    ]
    assert (group([print_of(path) for path in paths]).labels == -1).all()
