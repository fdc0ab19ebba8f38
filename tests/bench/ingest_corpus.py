"""A corpus of distinct files of realistic kinds, cheap to make: long masters, cut at key frames as they are.

Every file has bytes of its own, so that neither ingest nor a page cache saves work. Real clips are among them
where they lie at hand, each many times with a box at its end that players pass over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from tests.bench.media import Recipe, make_clip

REAL: Final = ("10034", "10040", "audrey", "chaplin", "fire2", "nasa_13013", "sintel_5s", "smpte-2997")
"""Real clips of MP4 with picture and sound that every plain decoder reads."""
REAL_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Kind:
    """A master and how often it is cut, in parts."""

    master: Recipe
    parts: int


KINDS: Final = (
    Kind(Recipe(90, 640, 360, key_frame_s=4, seed=1), 4),
    Kind(Recipe(90, 854, 480, key_frame_s=8, seed=2), 3),
    Kind(Recipe(90, 1280, 720, key_frame_s=2, seed=3), 5),
    Kind(Recipe(90, 720, 1280, key_frame_s=1, seed=4), 4),
    Kind(Recipe(90, 1920, 1080, key_frame_s=2, seed=5), 3),
    Kind(Recipe(70, 1920, 1080, frame_rate=24, key_frame_s=8, seed=6), 1),
    Kind(Recipe(60, 1280, 720, codec="libvpx-vp9", key_frame_s=4, seed=7), 1),
    Kind(Recipe(40, 1280, 720, codec="libx265", key_frame_s=4, seed=8), 1),
)


def make_corpus(
    scratch: Path, files: int, *, real: Path | None = None, seed: int = 7, sound: bool = True
) -> Path:
    """A folder of so many distinct files, 5 to 60 s long (median 12 s); made where it is not there yet.

    Args:
        scratch: masters and corpora are kept below it.
        files: how many, >= 1.
        real: folder of real clips; None or an absent one means made files only.
        seed: of lengths and places.
        sound: False leaves the sound out.
    """
    clips = [path for name in REAL if real and (path := real / f"{name}.mp4").exists()] if sound else []
    folder = scratch / f"corpus-{files}-{seed}-{len(clips)}{'' if sound else '-silent'}"
    if folder.exists():
        return folder
    aside = folder.with_name(f"making-{folder.name}")
    aside.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    parts = np.repeat(np.arange(len(KINDS)), [kind.parts for kind in KINDS])
    for number in range(files):
        if clips and rng.random() < REAL_SHARE:
            source = clips[number % len(clips)]
            lengthen(source, aside / f"{number:05d}.mp4", number)
            continue
        master = KINDS[rng.choice(parts)].master
        length_s = float(np.clip(rng.lognormal(np.log(12.0), 0.7), 5.0, 60.0))
        source = make_clip(master, scratch / "masters")
        start_s = rng.uniform(0.0, max(0.0, master.seconds - length_s))
        cut(source, aside / f"{number:05d}{source.suffix}", start_s, length_s, number, sound=sound)
    aside.rename(folder)
    return folder


def lengthen(source: Path, target: Path, number: int) -> None:
    """The same MP4 with other bytes: a `free` box that holds a number is put at its end."""
    target.write_bytes(source.read_bytes() + struct.pack(">I4sQ", 16, b"free", number))


def cut(
    source: Path, target: Path, start_s: float, length_s: float, number: int, *, sound: bool = True
) -> None:
    """Copies the packets of a stretch that starts at the first key frame from `start_s` on."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        container.metadata["comment"] = f"part {number}"
        video = given.streams.video[0]
        first = _key_frame_from(given, video, start_s)
        streams = {video.index: container.add_stream_from_template(video)}
        if sound and given.streams.audio:
            audio = given.streams.audio[0]
            streams[audio.index] = container.add_stream_from_template(audio)
        given.seek(0)
        for packet in given.demux(*(given.streams[index] for index in streams)):
            _copy(packet, streams[packet.stream.index], container, first, length_s)


def _key_frame_from(given: Any, video: Any, start_s: float) -> float:
    """Instant of the first key frame not before `start_s`, else of the last one, s."""
    base = float(video.time_base)
    packets = (packet for packet in given.demux(video) if packet.is_keyframe and packet.pts is not None)
    keys: list[float] = [packet.pts * base for packet in packets]
    return next((at for at in keys if at >= start_s), keys[-1])


def _copy(packet: Any, stream: Any, container: Any, first_s: float, length_s: float) -> None:
    if packet.dts is None:
        return
    base = float(packet.time_base)
    # The end goes by the decoder's order, so that no frame is kept whose references are left out.
    if packet.pts * base < first_s - 1e-4 or packet.dts * base >= first_s + length_s:
        return
    shift = round(first_s / base)
    packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
    container.mux(packet)


def repeat(source: Path, target: Path, times: int) -> None:
    """The same packets so many times one after the other: a long film that is cheap to make."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in given.streams}
        length_s = float(given.duration) / 1e6 + 0.1
        for turn in range(times):
            given.seek(0)
            for packet in given.demux():
                if packet.dts is not None:
                    shift = round(turn * length_s / float(packet.time_base))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    container.mux(packet)
