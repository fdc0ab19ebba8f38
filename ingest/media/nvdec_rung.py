"""Frames on a GPU: decoded by its video engine, and scaled where the encoder needs them.

torchcodec reads here in the worker itself, not in the isolated child. So a file comes this way only where the
child's `probe` found no fault and its first bytes name a container that opens nothing else. Whatever is odd
(trimmed, more than 8 bits, without times, a codec that the engine lacks) is refused, and goes to the child.
The frames are the ones that the other rungs take, chosen from the packets' times by `sampling`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from features.errors import BadInput
from ingest.failures import MediaRefused
from ingest.media.decode import DecodeSettings
from ingest.media.movie_header import FIRST_BOXES
from ingest.media.packets import packets
from ingest.media.pictures import Float64s, Frames, Size, decode_size, pick_poster
from ingest.media.probe import Probe, best_stream, open_media, plain_name
from ingest.media.sampling import Places, Timeline, at_midpoints, near_midpoints

SAMPLERS: Final = {"exact": at_midpoints, "keyframe": near_midpoints}
SIGNATURES: Final = (b"\x1a\x45\xdf\xa3", b"FLV\x01")
"""First bytes of Matroska with WebM, and of Flash video; MP4 and MOV have theirs in FIRST_BOXES."""
PIXELS: Final = frozenset({"yuv420p", "yuvj420p"})
"""8 bits at half the colour: what video engines read, and what all rungs turn into the same RGB."""
PIXELS_AT_ONCE: Final = 1 << 25
"""Decoded before they are scaled: 0.5 GB with their single-precision copy."""
TIMES_AGREE_S: Final = 2e-3

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DevicePictures:
    """Frames of one file on a device, upright."""

    frames: torch.Tensor
    """RGB, uint8, (t, height, width, 3) of the settings, t >= 1, in order of time."""
    timestamps_s: Float64s
    """Instant at which each is shown, s from the start of the picture, (t,), strictly increasing."""
    poster: Frames
    """The most telling frame in its own proportions, RGB, uint8, (h, w, 3), on the host."""
    duration_s: float
    """Of the picture track, s."""
    rung: str
    """nvdec, or torchcodec where it decodes on the CPU."""


@dataclass(frozen=True, slots=True)
class _Track:
    stream: int
    """Number of the stream in its container."""
    pts: Ints
    """Of the frames, in the stream's time base, (n,), strictly increasing."""
    lengths: Ints
    timeline: Timeline


def load_torchcodec() -> Any:
    """torchcodec's module `decoders`.

    decord shows its codec libraries to the whole process: torchcodec's FFmpeg then calls those, of another
    version, and an AV1 file ends the process. So the two never meet; decord lives in the isolated child.

    Raises:
        BadInput: it is not installed, finds no FFmpeg libraries, or decord is in this process.
    """
    if "decord" in sys.modules:
        raise BadInput("decoding on a GPU needs a process without decord; decode there through DecoderChild")
    try:
        return importlib.import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError) as error:
        raise BadInput(
            f"decoding on a GPU needs torchcodec and FFmpeg's shared libraries ({_first_line(error)}); "
            "install reelrank[gpu] and ffmpeg, or decode on the CPU"
        ) from error


def read_frames(path: Path, found: Probe, settings: DecodeSettings, device: str) -> DevicePictures:
    """The frames that `settings` wants, on the device.

    Args:
        path: a local file.
        found: what the isolated child's probe said of it.
        settings: sampling exact or keyframe, frames > 0.
        device: "cuda", "cuda:1"; "cpu" takes the same way without a GPU.

    Raises:
        MediaRefused: it is to be decoded by the isolated rungs.
        BadInput: torchcodec is missing.
    """
    if why := _unfit(path, found, settings):
        raise MediaRefused("decode", "corrupt", why)
    decoders = load_torchcodec()
    size = decode_size(Size(found.width, found.height), min(settings.width, settings.height))
    with plain_name(path) as name, _ours():
        track = _read_track(name)
        places = SAMPLERS[settings.sampling](settings.frames)(track.timeline)
        decoder = _open(decoders, name, track, device)
        frames, instants_s = _decode(decoder, places, size)
    starts_s = track.timeline.starts_s
    promised_s = starts_s[places]
    if len(instants_s) != len(places) or np.abs(instants_s - promised_s).max() > TIMES_AGREE_S:
        raise MediaRefused("decode", "corrupt", "its frames do not come at the times of its packets")
    return DevicePictures(
        frames=scale(frames, Size(settings.width, settings.height)),
        timestamps_s=promised_s - starts_s[0],
        poster=pick_poster(frames.cpu().numpy()),
        duration_s=track.timeline.duration_s,
        rung="torchcodec" if torch.device(device).type == "cpu" else "nvdec",
    )


def scale(frames: torch.Tensor, size: Size) -> torch.Tensor:
    """Every frame as a whole at this size, by area-weighted bilinear means, uint8, (t, height, width, 3)."""
    if frames.shape[1:3] == (size.height, size.width):
        return frames
    planes = frames.permute(0, 3, 1, 2).float()  # (t, 3, h, w)
    small = F.interpolate(planes, (size.height, size.width), mode="bilinear", antialias=True)
    return small.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def _unfit(path: Path, found: Probe, settings: DecodeSettings) -> str:
    """Why the file is not for this rung; empty where it is."""
    if not found.has_video or settings.frames < 1:
        return "no picture is wanted of it"
    if settings.sampling not in SAMPLERS:
        return f"sampling {settings.sampling} is not for this rung; {' and '.join(SAMPLERS)} are"
    if found.trimmed:
        return "its edit list shows less than the file holds"
    try:
        with open(path, "rb") as stream:
            first = stream.read(8)
    except OSError as error:
        raise MediaRefused("decode", "unreadable", f"it cannot be opened: {error.strerror}") from error
    if first[4:] not in FIRST_BOXES and not first.startswith(SIGNATURES):
        return f"container {found.container} is read by the isolated decoder only"
    return ""


def _read_track(name: Path) -> _Track:
    """The times of the frames, from their packets: no frame is decoded."""
    with open_media(name, "decode") as container:
        stream = best_stream(container, "video")
        if stream is None:
            raise MediaRefused("decode", "corrupt", "no picture")
        if stream.codec_context.pix_fmt not in PIXELS:
            said = f"pixels {stream.codec_context.pix_fmt} are turned into RGB by the isolated decoder only"
            raise MediaRefused("decode", "corrupt", said)
        rows = [
            (packet.pts, packet.duration or 0, packet.is_keyframe, packet.is_discard)
            for packet in packets(container, stream)
            if packet.size
        ]
        return _track(stream.index, rows, float(stream.time_base))


def _track(stream: int, rows: list[tuple[int | None, int, bool, bool]], base: float) -> _Track:
    if not rows or any(row[0] is None for row in rows):
        raise MediaRefused("decode", "corrupt", "its packets have no times")
    pts, lengths, keys, hidden = (np.array(column) for column in zip(*sorted(rows), strict=True))
    if hidden.any():
        raise MediaRefused("decode", "corrupt", "an edit list hides some of its frames")
    if (np.diff(pts) <= 0).any() or not keys.any() or lengths[-1] <= 0:
        raise MediaRefused("decode", "corrupt", "its packets' times do not tell its frames apart")
    end = int((pts + lengths).max())
    return _Track(stream, pts, lengths, Timeline(pts * base, end * base, np.flatnonzero(keys)))


def _open(decoders: Any, name: Path, track: _Track, device: str) -> Any:
    """A decoder that knows the frames already and need not read the file for them once more."""
    keys = np.zeros(len(track.pts), np.int64)
    keys[track.timeline.keys] = 1
    rows = zip(track.pts.tolist(), track.lengths.tolist(), keys.tolist(), strict=True)
    known = [{"pts": pts, "duration": length, "key_frame": key} for pts, length, key in rows]
    decoder = decoders.VideoDecoder(
        str(name),
        stream_index=track.stream,
        dimension_order="NHWC",
        device=device,
        custom_frame_mappings=json.dumps({"frames": known}),
    )
    if torch.device(device).type == "cuda" and decoder.cpu_fallback:
        raise MediaRefused("decode", "corrupt", f"the GPU does not decode it: {decoder.cpu_fallback}")
    return decoder


def _decode(decoder: Any, places: Places, size: Size) -> tuple[torch.Tensor, Float64s]:
    """Frames at this size, and their container times, s."""
    pixels = max(1, (decoder.metadata.width or 1) * (decoder.metadata.height or 1))
    step = max(1, PIXELS_AT_ONCE // pixels)
    parts, instants = [], []
    for start in range(0, len(places), step):
        batch = decoder.get_frames_at(places[start : start + step].tolist())
        parts.append(scale(batch.data, size))
        instants.append(batch.pts_seconds.cpu().numpy())
    return torch.cat(parts), np.concatenate(instants)


@contextmanager
def _ours() -> Iterator[None]:
    """torchcodec's errors as a refusal; memory of the device that is short is no fault of the file."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise MediaRefused("decode", "limit", "its frames do not fit into the GPU's memory") from error
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        raise MediaRefused("decode", "corrupt", f"torchcodec: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Without the place in torchcodec's source, which says nothing to the reader."""
    lines = str(error).strip().splitlines()
    return lines[0].split(".cpp:", 1)[-1].split(", ", 1)[-1][:200] if lines else type(error).__name__
