"""Where a worker computes: on a GPU where there is one, and whether its video engine decodes. Asked once.

In a worker, never in the driver, whose machine need not have the workers' GPU. Whether the engine decodes is
not read from a list of drivers and versions: a clip is made in memory, decoded on the GPU and compared.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal

import av
import numpy as np
import torch

from features.errors import BadInput
from ingest.media.nvdec_rung import load_torchcodec

log = logging.getLogger(__name__)

ASKED: Final = ("auto", "cpu", "cuda")
GREYS: Final = (40, 90, 140, 190, 230, 20, 60, 110)
"""Of the frames of the clip that is decoded to try the engine."""
SIDE: Final = 256
"""Of that clip, pixels: video engines refuse very small pictures."""
GREY_ERROR: Final = 4.0
"""A decoded grey may be off by this much, of 255."""


@dataclass(frozen=True, slots=True)
class Device:
    """What a worker computes on."""

    name: Literal["cpu", "cuda"]
    """Torch device of the encoder. A worker sees only the GPU that it was given."""
    decoder: Literal["cpu", "nvdec"]
    """nvdec: `ingest.media.nvdec_rung` gives frames on the device; cpu: the isolated rungs do."""
    why: str
    """One sentence on the choice."""


def choose_device(asked: str) -> Device:
    """The device for this process; what was chosen, and why, is one line of the log.

    Args:
        asked: "cpu", "cuda", or "auto": cuda where torch sees a GPU.

    Raises:
        BadInput: another word, or cuda where torch sees no GPU.
    """
    if asked not in ASKED:
        raise BadInput(f"device {asked!r} is not one of {', '.join(ASKED)}")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cuda" and not seen:
        built = f"torch {torch.__version__} (CUDA {torch.version.cuda or 'none'})"
        raise BadInput(
            f"device 'cuda' was asked for, and {built} sees 0 GPUs; "
            "run where nvidia-smi lists one, or ask for 'auto' or 'cpu'"
        )
    device = _on_gpu() if seen and asked != "cpu" else Device("cpu", "cpu", _why_cpu(asked))
    said = (asked, device.name, device.decoder, device.why)
    log.info("device asked=%s chosen=%s decoder=%s why=%r", *said)
    return device


def _why_cpu(asked: str) -> str:
    return "it was asked for" if asked == "cpu" else f"torch {torch.__version__} sees no GPU"


def _on_gpu() -> Device:
    name = torch.cuda.get_device_name()
    fault = decoding_fault("cuda")
    if fault:
        return Device("cuda", "cpu", f"{name} embeds; frames are decoded on the CPU: {fault}")
    return Device("cuda", "nvdec", f"{name} embeds and decodes")


@lru_cache(maxsize=4)
def decoding_fault(device: str) -> str:
    """Why torchcodec does not decode on a torch device, in one sentence; empty where it does. Tried once."""
    try:
        decoder = load_torchcodec().VideoDecoder(_clip(), dimension_order="NHWC", device=device)
        if device != "cpu" and decoder.cpu_fallback:
            return f"its video engine does not serve torchcodec ({decoder.cpu_fallback})"
        frames = decoder.get_frames_at(list(range(len(GREYS)))).data.float()  # (t, SIDE, SIDE, 3)
    except BadInput as refusal:
        return str(refusal)
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        return f"torchcodec failed on a sound clip: {_first_line(error)}"
    off = (frames.mean(dim=(1, 2, 3)).cpu() - torch.tensor(GREYS)).abs().max()
    return "" if float(off) <= GREY_ERROR else f"a test clip's greys came back off by {float(off):.0f} of 255"


def _clip() -> bytes:
    """An H.264 clip in MP4 whose frames are the GREYS.

    Raises:
        RuntimeError: PyAV was built without an H.264 encoder.
    """
    target = io.BytesIO()
    try:
        with av.open(target, "w", format="mp4") as container:
            stream: Any = container.add_stream("libx264", rate=25, options={"crf": "10"})
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            for packet in (p for frame in [*_grey_frames(), None] for p in stream.encode(frame)):
                container.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        raise RuntimeError("PyAV cannot make a test clip: it has no libx264") from error
    return target.getvalue()


def _grey_frames() -> list[Any]:
    made = []
    for i, grey in enumerate(GREYS):
        frame: Any = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), grey, np.uint8), format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        made.append(frame)
    return made


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
