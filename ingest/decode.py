"""Frames at uniform midpoints and sound at its native rate: decord first, then PyAV.

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

from ingest import decord_rung, pyav_rung
from ingest.failures import MediaRefused
from ingest.pictures import Pictures, Size, decode_size, pick_poster, squeeze
from ingest.probe import Limits, Probe, plain_name, probe
from ingest.pyav_rung import Sound

RUNGS: Final = ("decord", "pyav")
SHORT_OF: Final = 0.2
"""Share of the sound by which decord may miss the container's length before PyAV is asked."""

Frames = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What is taken from a file. Everything here changes the descriptors that are made of it."""

    frames: int = 16
    """Wanted, at the midpoints of as many equal parts of the running time; > 0."""
    width: int = 224
    """Of the frames that encoders see, pixels; the whole picture is squeezed into it."""
    height: int = 224
    max_audio_s: float = 60.0
    """Longest stretch of sound, s; of a longer track the middle is taken."""
    rungs: tuple[str, ...] = RUNGS
    """Decoders to try, in order."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded file; at least one of `frames` and `audio` is there."""

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


def decode_clip(
    path: Path,
    settings: DecodeSettings,
    limits: Limits | None = None,
    on_probe: Callable[[Probe], None] | None = None,
) -> Clip:
    """Frames and sound of a file.

    Args:
        path: a local file.
        settings: what to take.
        limits: what the file may ask of us; the default limits where None.
        on_probe: called once the container is read, before anything is decoded.

    Raises:
        MediaRefused: probe refused it, or no rung gives a frame or a sample.
    """
    with plain_name(path) as name:
        found = probe(name, limits or Limits())
        if on_probe:
            on_probe(found)
        pictures, why_no_picture = _ladder(name, found, settings) if found.has_video else (None, "")
        sound, why_no_sound = _sound(name, found, settings) if found.has_audio else (None, "")
    if pictures is None and sound is None:
        raise MediaRefused("decode", "corrupt", "; ".join(filter(None, (why_no_picture, why_no_sound))))
    return _clip(found, settings, pictures, sound)


def _clip(found: Probe, settings: DecodeSettings, pictures: Pictures | None, sound: Sound | None) -> Clip:
    return Clip(
        frames=squeeze(pictures.frames, Size(settings.width, settings.height)) if pictures else None,
        timestamps_s=pictures.timestamps_s if pictures else np.zeros(0),
        poster=pick_poster(pictures.frames) if pictures else None,
        audio=sound.samples if sound else None,
        sample_rate_hz=sound.sample_rate_hz if sound else 0,
        duration_s=_duration(found, pictures, sound),
        rung=pictures.rung if pictures else sound.rung if sound else "",
        frames_wanted=settings.frames if found.has_video else 0,
        damaged_packets=(pictures.damaged if pictures else 0) + (sound.damaged if sound else 0),
    )


def _duration(found: Probe, pictures: Pictures | None, sound: Sound | None) -> float:
    """The container's word, unless it has none: then what was decoded."""
    if found.duration_s > 0:
        return found.duration_s
    heard = len(sound.samples) / sound.sample_rate_hz if sound else 0.0
    return max(pictures.duration_s if pictures else 0.0, heard)


def _ladder(path: Path, found: Probe, settings: DecodeSettings) -> tuple[Pictures | None, str]:
    """Frames from the first rung that gives some, or None and what each of them said."""
    size = decode_size(Size(found.width, found.height), min(settings.width, settings.height))
    said: list[str] = []
    for rung in settings.rungs:
        read = decord_rung.read_frames if rung == "decord" else pyav_rung.read_frames
        try:
            return read(path, found, settings.frames, size), ""
        except MediaRefused as refusal:
            said.append(f"{rung}: {refusal}")
    return None, "; ".join(said)


def _sound(path: Path, found: Probe, settings: DecodeSettings) -> tuple[Sound | None, str]:
    """decord reads the whole of a track that it chooses: it is asked where there is one, and short."""
    said: list[str] = []
    fit = found.audio_tracks == 1 and 0 < found.duration_s <= settings.max_audio_s
    for rung in settings.rungs:
        if rung == "decord" and not fit:
            continue
        read = decord_rung.read_sound if rung == "decord" else pyav_rung.read_sound
        try:
            sound = read(path, found, settings.max_audio_s)
        except MediaRefused as refusal:
            said.append(f"{rung}: {refusal}")
            continue
        if rung == "decord" and _length_is_odd(sound, found):
            said.append("decord: the sound's length does not fit the container's")
            continue
        return sound, ""
    return None, "; ".join(said) or "no rung reads the sound"


def _length_is_odd(sound: Sound, found: Probe) -> bool:
    """True where the rate that the header gives cannot be that of the samples (spectral band replication)."""
    length_s = len(sound.samples) / sound.sample_rate_hz
    return abs(length_s - found.audio_s) > SHORT_OF * found.audio_s
