"""Does a short real clip find another clip of the same film? Pictures, sounds and both, signal encoder.

Protocol: every film of the folder is cut into pieces of SECONDS that do not overlap, each re-encoded to a
file of its own (H.264 at a short side of 240 pixels, AAC) and described through the decoder that ingest
uses. Test patterns and films with fewer than two pieces are left out. Statistics are fitted on all pieces,
and of each the nearest other piece by cosine is looked at: `any` among all, `not_adjacent` without its
neighbours in time, `three_away` without whatever begins less than three pieces from it. A piece with no
other of its film left is not asked. `both` lays the two unit vectors end to end, over the pieces that have
picture and sound.

Usage: python -m tests.bench.same_source [--clips FOLDER] [--seconds 1.0] --scratch DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import torch

from features.contracts import Floats
from ingest.encoders.signal import SignalEncoder
from ingest.media.decode import Clip, DecodeSettings, decode_clip
from tests.bench.record import write_result

CLIPS: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"
PATTERNS: Final = ("smpte-2997.mp4", "testsrc2.mp4")
"""Drawn by a test generator, not filmed."""
SHORT_SIDE: Final = 240
SOUND_HZ: Final = 44_100
APART: Final = {"any": 0, "not_adjacent": 1, "three_away": 2}
"""Pieces to either side that do not count."""
MODALITIES: Final = ("visual", "audio")


@dataclass(frozen=True, slots=True)
class Piece:
    """A short clip, and where it was cut."""

    film: str
    place: int
    """Number of the piece in its film."""
    path: Path


def cut_films(films: list[Path], seconds: float, scratch: Path) -> list[Piece]:
    """Pieces of all films, cut where they are not there yet."""
    found: list[Piece] = []
    for film in films:
        folder = scratch / f"{seconds:g}s" / film.name
        if not (folder / "done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _cut(film, seconds, folder)
            (folder / "done").touch()
        paths = sorted(folder.glob("*.mp4"))
        if len(paths) > 1:
            found += [Piece(film.name, int(path.stem), path) for path in paths]
    return found


def _cut(film: Path, seconds: float, folder: Path) -> None:
    sound = _sound(film)
    for place, frames, rate in _whole_pieces(film, seconds):
        size = round(seconds * SOUND_HZ)
        heard = None if sound is None else sound[place * size : (place + 1) * size]
        _encode(folder / f"{place:04d}.mp4", frames, rate, heard)


def _whole_pieces(film: Path, seconds: float) -> Iterator[tuple[int, list[av.VideoFrame], Fraction]]:
    """(number, frames, frames a second) of each piece that lies wholly within the film."""
    kept: dict[int, list[av.VideoFrame]] = {}
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            place = int(max(frame.time or 0.0, 0.0) / seconds)
            if place not in kept:  # the one before is complete
                yield from _given(kept, seconds)
                kept = {place: []}
            kept[place].append(_smaller(frame))
    (place, frames), *_ = kept.items()
    last = (frames[-1].time or 0.0) - place * seconds
    if last > 0.9 * seconds:
        yield from _given(kept, seconds)


def _given(
    kept: dict[int, list[av.VideoFrame]], seconds: float
) -> Iterator[tuple[int, list[av.VideoFrame], Fraction]]:
    for place, frames in kept.items():
        yield place, frames, Fraction(len(frames) / seconds).limit_denominator(1000)


def _smaller(frame: av.VideoFrame) -> av.VideoFrame:
    share = min(1.0, SHORT_SIDE / min(frame.width, frame.height))
    width, height = (2 * round(side * share / 2) for side in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="yuv420p")
    small.time_base, small.pts = frame.time_base, frame.pts
    return small


def _sound(film: Path) -> Floats | None:
    """Mono sound at SOUND_HZ, float32, (n,); None where there is none."""
    with av.open(str(film)) as container:
        if not container.streams.audio:
            return None
        mono = av.AudioResampler(format="flt", layout="mono", rate=SOUND_HZ)
        decoded = (*container.decode(container.streams.audio[0]), None)
        return np.concatenate([out.to_ndarray()[0] for frame in decoded for out in mono.resample(frame)])


def _encode(path: Path, frames: list[av.VideoFrame], rate: Fraction, sound: Floats | None) -> None:
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        picture.codec_context.thread_count = 1
        track = container.add_stream("aac", rate=SOUND_HZ, layout="mono") if sound is not None else None
        for place, frame in enumerate(frames):
            frame.pts, frame.time_base = place, 1 / rate
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if track is not None and sound is not None and len(sound):
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="flt", layout="mono")
            heard.sample_rate, heard.pts = SOUND_HZ, 0
            container.mux(track.encode(heard))
            container.mux(track.encode(None))


def describe(pieces: list[Piece]) -> list[dict[str, Floats]]:
    """Raw descriptors by modality, piece by piece."""
    encoder, settings = SignalEncoder().start(), DecodeSettings()
    clips: Iterator[Clip] = (decode_clip(piece.path, settings) for piece in pieces)
    return [encoder.describe(clip) for clip in clips]


def unit_vectors(raw: list[dict[str, Floats]], modality: str) -> tuple[list[int], Floats]:
    """Places of the pieces that have the modality, and their vectors; fitted on those pieces."""
    places = [place for place, found in enumerate(raw) if modality in found]
    rows = np.stack([raw[place][modality] for place in places])
    return places, SignalEncoder().fit({modality: rows}).project(modality, rows)


def accuracy(pieces: list[Piece], vectors: Floats, apart: int) -> float:
    """Share of pieces whose nearest other piece, `apart` places to either side left out, is of their film."""
    films, places = np.array([p.film for p in pieces]), np.array([p.place for p in pieces])
    same = films[:, None] == films
    near = same & (np.abs(places[:, None] - places) <= apart)
    asked = (same & ~near).any(axis=1)
    likeness = np.where(near, -np.inf, vectors @ vectors.T)
    return round(float((films[likeness.argmax(axis=1)] == films)[asked].mean()), 4)


def compare(pieces: list[Piece], raw: list[dict[str, Floats]]) -> dict[str, Any]:
    """Accuracy by modality and by what is left out."""
    found = {modality: unit_vectors(raw, modality) for modality in MODALITIES}
    figures = {}
    for modality, (places, vectors) in found.items():
        figures[modality] = _figures([pieces[place] for place in places], vectors)
    both = sorted(set(found["visual"][0]) & set(found["audio"][0]))
    for name, used in (("visual_where_both", ("visual",)), ("both", MODALITIES)):
        vectors = np.hstack([found[m][1][[found[m][0].index(place) for place in both]] for m in used])
        figures[name] = _figures([pieces[place] for place in both], vectors)
    return figures


def _figures(pieces: list[Piece], vectors: Floats) -> dict[str, Any]:
    counted = {"pieces": len(pieces), "films": len({piece.film for piece in pieces})}
    return counted | {name: accuracy(pieces, vectors, apart) for name, apart in APART.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--scratch", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    films = [p for p in sorted(asked.clips.glob("*.*")) if p.name not in PATTERNS and _has_picture(p)]
    pieces = cut_films(films, asked.seconds, asked.scratch)
    figures = compare(pieces, describe(pieces))
    parameters = {"seconds": asked.seconds, "encoder": SignalEncoder().descriptor_version}
    print(write_result("same_source", parameters, figures).read_text())


def _has_picture(path: Path) -> bool:
    """Whether the file has a moving picture: a cover of a song is none."""
    with av.open(str(path)) as container:
        return any(not stream.disposition & 0x400 for stream in container.streams.video)


if __name__ == "__main__":
    main()
