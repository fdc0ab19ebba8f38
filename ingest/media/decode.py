"""Frames at uniform midpoints and sound at its native rate: PyAV first, then decord.

Runs in the decoder child (`ingest.isolation`), which never imports torch. Both rungs are asked for the frames
that a player shows at the same instants; PyAV also reads past damaged packets and honours edit lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import BadInput
from ingest.failures import MediaRefused
from ingest.media import decord_rung, pyav_rung
from ingest.media.pictures import Pictures, Size, Sound, decode_size, pick_poster, squeeze
from ingest.media.probe import Limits, Media, Probe, opened, plain_name
from ingest.media.sampling import MAX_SHOTS, Sampler, at_midpoints, in_every_shot, near_midpoints
from ingest.media.scan import Index, scan
from ingest.media.shots import find_cuts
from ingest.media.sound_track import read_sound

RUNGS: Final = ("pyav", "decord")
SAMPLINGS: Final = ("exact", "keyframe", "shots")

Frames = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What is taken from a file. Everything here changes the descriptors that are made of it."""

    frames: int = 16
    """Wanted, at the midpoints of as many equal parts of the running time; 0 takes no pictures."""
    width: int = 224
    """Of the frames that encoders see, pixels; the whole picture is squeezed into it."""
    height: int = 224
    max_audio_s: float = 60.0
    """Longest stretch of sound, s; of a longer track the middle is taken."""
    sampling: str = "exact"
    """One of SAMPLINGS: frames at the midpoints, the key frames nearest to them, or at least one a shot."""
    rungs: tuple[str, ...] = RUNGS
    """Decoders to try, in order for exact frames; see `ladder`."""

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise BadInput(f"sampling {self.sampling!r} is none of {', '.join(SAMPLINGS)}")
        if not self.rungs or not set(self.rungs) <= set(RUNGS):
            raise BadInput(f"rungs {self.rungs!r} are not of {', '.join(RUNGS)}")
        if self.frames < 0 or min(self.width, self.height) < 1 or not self.max_audio_s > 0:
            raise BadInput(
                f"{self.frames} frames of {self.width} x {self.height}, {self.max_audio_s} s of sound"
            )


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded file; at least one of `frames` and `audio` is there, unless no pictures were asked for."""

    frames: Frames | None
    """RGB, uint8, (t, height, width, 3), upright, in order of time, 1 <= t <= frames wanted."""
    timestamps_s: Float64s
    """Instant at which each frame is shown, s from the start, float64, (t,), strictly increasing."""
    poster: Frames | None
    """The most telling frame in its own proportions, RGB, uint8, (h, w, 3)."""
    audio: Samples | None
    """Mono (mean of the channels), full scale is 1.0, float32, (n,), finite."""
    sample_rate_hz: int
    """Of `audio`; 0 without sound."""
    duration_s: float
    """The longer of picture and sound as far as known, s; 0 for a still picture of unknown length."""
    rung: str
    """Which decoder gave the frames, or the sound where there are none."""
    frames_wanted: int
    """0 for a file without picture."""
    damaged_packets: int
    """Packets that could not be decoded and were passed over."""
    found: Probe
    """What the container said."""
    sampling: str
    """How the frames were chosen, one of SAMPLINGS."""
    shots: int | None
    """Shots found; None unless the frames were chosen by shots."""
    video_s: float
    """Length of the picture track, s; 0 without picture."""
    audio_s: float
    """Length of the whole sound track, s; 0 without sound."""


def decode_clip(
    path: Path,
    settings: DecodeSettings,
    limits: Limits | None = None,
    on_probe: Callable[[Probe], None] | None = None,
    on_rung: Callable[[str], None] | None = None,
) -> Clip:
    """Frames and sound of a file.

    Args:
        path: a local file.
        settings: what to take.
        limits: what the file may ask of us; the default limits where None.
        on_probe: called once the container is read, before anything is decoded.
        on_rung: called with the name of each decoder before it is asked.

    Raises:
        MediaRefused: probe refused it, or no rung gives a frame or a sample.
    """
    ask = on_rung or (lambda rung: None)
    with plain_name(path) as name, opened(name, limits or Limits()) as media:
        if on_probe:
            on_probe(media.found)
        return _decode(media, settings, ask)


def _decode(media: Media, settings: DecodeSettings, ask: Callable[[str], None]) -> Clip:
    pictures, shots, sound = None, None, None
    said: list[str] = []
    try:
        if media.found.has_video and settings.frames:
            ask("pyav")
            index, sound = scan(media, settings.max_audio_s)
            pictures, shots = _pictures(media, index, settings, ask)
    except MediaRefused as refusal:
        said.append(str(refusal))
    try:
        if media.found.has_audio and sound is None:
            ask("pyav")
            sound = read_sound(media, settings.max_audio_s)
    except MediaRefused as refusal:
        said.append(str(refusal))
    if said and pictures is None and sound is None:
        raise MediaRefused("decode", "corrupt", "; ".join(said))
    return _clip(media.found, settings, pictures, shots, sound)


def _clip(
    found: Probe,
    settings: DecodeSettings,
    pictures: Pictures | None,
    shots: int | None,
    sound: Sound | None,
) -> Clip:
    return Clip(
        frames=squeeze(pictures.frames, Size(settings.width, settings.height)) if pictures else None,
        timestamps_s=pictures.timestamps_s if pictures else np.zeros(0),
        poster=pick_poster(pictures.frames) if pictures else None,
        audio=sound.samples if sound else None,
        sample_rate_hz=sound.sample_rate_hz if sound else 0,
        duration_s=_duration(found, pictures, sound),
        rung=pictures.rung if pictures else "pyav",
        frames_wanted=_wanted(settings, shots) if found.has_video else 0,
        damaged_packets=(pictures.damaged if pictures else 0) + (sound.damaged if sound else 0),
        found=found,
        sampling=settings.sampling,
        shots=shots,
        video_s=(pictures.duration_s if pictures else 0.0) or found.video_s,
        audio_s=(sound.track_s if sound else 0.0) or found.audio_s,
    )


def _wanted(settings: DecodeSettings, shots: int | None) -> int:
    return max(settings.frames, min(shots or 0, MAX_SHOTS))


def _duration(found: Probe, pictures: Pictures | None, sound: Sound | None) -> float:
    """The container's word, unless it has none: then what was decoded."""
    if found.duration_s > 0:
        return found.duration_s
    return max(pictures.duration_s if pictures else 0.0, sound.track_s if sound else 0.0)


def _pictures(
    media: Media, index: Index, settings: DecodeSettings, ask: Callable[[str], None]
) -> tuple[Pictures, int | None]:
    """Frames from the first rung that gives some, and how many shots were found where they were looked for.

    Raises:
        MediaRefused: no rung gives one; with what each of them said.
    """
    size = decode_size(Size(media.found.width, media.found.height), min(settings.width, settings.height))
    sampler, shots = _sampler(media, index, settings)
    places = sampler(index.track)
    said: list[str] = []
    for rung in ladder(settings):
        ask(rung)
        read = decord_rung.read_frames if rung == "decord" else pyav_rung.read_frames
        try:
            return read(media, index, places, size), shots
        except MediaRefused as refusal:
            said.append(f"{rung}: {refusal}")
    raise MediaRefused("decode", "corrupt", "; ".join(said))


def _sampler(media: Media, index: Index, settings: DecodeSettings) -> tuple[Sampler, int | None]:
    if settings.sampling == "shots":
        cuts_s = find_cuts(media, index)
        return in_every_shot(cuts_s, settings.frames), len(cuts_s) + 1
    return (near_midpoints if settings.sampling == "keyframe" else at_midpoints)(settings.frames), None


def ladder(settings: DecodeSettings) -> tuple[str, ...]:
    """The rungs in the order in which they are asked.

    Only for exact frames may decord come first, where the settings say so. For a key frame it takes twice as
    long as PyAV, and for one frame of each of many shots several times the memory.
    """
    if settings.sampling == "exact":
        return settings.rungs
    return tuple(sorted(settings.rungs, key=lambda rung: rung != "pyav"))
