"""The sound of a file, mixed to mono at its native rate; of a long track the middle."""

from __future__ import annotations

from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from ingest.failures import MediaRefused
from ingest.media.packets import Damage, frames_of, packets, seek, single_threaded
from ingest.media.pictures import Samples, Sound
from ingest.media.probe import Media, Probe, best_stream

BLOCK: Final = 1 << 16
"""Samples converted at once: frames are short, and each conversion has its price."""


class Listener:
    """Decodes the packets of a track that lie in its middle; PyAV in every case.

    decord would open the file once more, read all of it, and believe the rate in the header, which of AAC
    with spectral band replication is half of that of the samples.
    """

    def __init__(self, stream: Any, late_s: float, max_s: float) -> None:
        """From `late_s` seconds after the track's start, at most `max_s` seconds."""
        self._stream = single_threaded(stream)
        self._from = int(late_s / stream.time_base) + (stream.start_time or 0) if late_s else None
        self._max_s = max_s
        self._fifo = av.AudioFifo()
        self._blocks: list[Samples] = []
        self._kind: tuple[int, int, str] | None = None
        self._damage = Damage()
        self._full = False

    def hear(self, packet: Any) -> bool:
        """Decodes a packet of the track; False where no more is needed."""
        if self._full:
            return False
        if self._from is None or packet.pts is None or packet.pts + (packet.duration or 0) > self._from:
            for frame in frames_of(packet, self._damage):
                self._add(frame)
        return not self._full

    def sound(self) -> Sound | None:
        """What was heard; None where that is nothing."""
        if self._fifo.samples:
            self._blocks.append(_mono(self._fifo.read()))
        if not self._blocks or not self._kind:
            return None
        mono, rate = np.concatenate(self._blocks), self._kind[0]
        whole = not self._full and self._from is None
        kept = mono[: max(1, int(self._max_s * rate))]
        return Sound(kept, rate, len(mono) / rate if whole else 0.0, self._damage.packets)

    def _add(self, frame: Any) -> None:
        kind = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
        self._kind = self._kind or kind
        if kind != self._kind or self._full:
            self._full = True  # another programme starts here
            return
        frame.pts = None  # gaps are closed
        self._fifo.write(frame)
        if self._fifo.samples >= BLOCK:
            self._blocks.append(_mono(self._fifo.read()))
        self._full = self._fifo.samples_written >= self._max_s * frame.sample_rate


def late_start_s(found: Probe, max_s: float) -> float:
    """Where the middle `max_s` seconds of the track begin, s after its start."""
    return max(0.0, (found.audio_s - max_s) / 2)


def read_sound(media: Media, max_s: float) -> Sound:
    """At most `max_s` seconds from the middle of the track, or from its start where it is shorter than said.

    Raises:
        MediaRefused: not one sample can be decoded.
    """
    late_s = late_start_s(media.found, max_s)
    sound = _read(media, late_s, max_s) or (_read(media, 0.0, max_s) if late_s else None)
    if sound is None:
        raise MediaRefused("decode", "corrupt", "no sample of sound can be decoded")
    return sound


def _read(media: Media, late_s: float, max_s: float) -> Sound | None:
    with media.container() as container:
        stream: Any = best_stream(container, "audio")
        listener = Listener(stream, late_s, max_s)
        if late_s:
            seek(container, stream, int(late_s / stream.time_base) + (stream.start_time or 0))
        for packet in packets(container, stream):
            if not listener.hear(packet):
                break
    return listener.sound()


def _mono(frame: Any) -> Samples:
    """Mean of the channels, finite, float32, (n,)."""
    channels = _as_float(frame)
    mono: Samples = channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)
    if np.isfinite(np.dot(mono, mono)):
        return mono
    return np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)


def _as_float(frame: Any) -> Samples:
    """Samples by channel, full scale 1.0, float32, (c, n)."""
    raw: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    samples = raw.astype(np.float32, copy=False)
    if raw.dtype.kind == "f":
        return samples
    if raw.dtype == np.uint8:
        return (samples - np.float32(128.0)) / np.float32(128.0)
    return samples / np.float32(-float(np.iinfo(raw.dtype).min))
