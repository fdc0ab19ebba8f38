"""Frames to a network's input: size, middle, scale and mean, as the model's own processor does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F

from features.errors import BadInput
from ingest.encoders.hf.batching import Batch, regroup
from ingest.encoders.hf.picture_settings import PictureSettings
from ingest.encoders.hf.resample import Axis, resample
from ingest.encoders.protocol import Frames

STEP: Final = 1 << 26
"""Bytes of frames prepared at once: an 8K frame alone, all frames of a usual video together."""


def prepare_frames(
    frames: Frames | torch.Tensor, settings: PictureSettings, device: torch.device
) -> torch.Tensor:
    """float32, (t, 3, height, width), of frames of any size.

    Args:
        frames: RGB, uint8, (t, h, w, 3), an array or a tensor on any device.
        settings: of the model.
        device: where to compute.

    Raises:
        BadInput: another type or shape.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype not in (np.uint8, torch.uint8):
        raise BadInput(
            f"frames are {frames.dtype} of shape {tuple(frames.shape)}; expected uint8, (t, h, w, 3)"
        )
    if isinstance(frames, np.ndarray):
        frames = torch.from_numpy(np.require(frames, np.uint8, ["C", "W"]))
    step = max(1, STEP // (frames[0].numel() or 1))
    parts = [_shape(frames[at : at + step].to(device), settings) for at in range(0, len(frames), step)]
    return _normalise(torch.cat(parts), settings)


def _shape(frames: torch.Tensor, settings: PictureSettings) -> torch.Tensor:
    """uint8, (t, 3, height, width), a view where nothing has to be done."""
    t, h, w, _ = frames.shape
    new_h, new_w = settings.resized(h, w)
    height, width = settings.crop or (new_h, new_w)
    rows, columns = _middle(h, new_h, height), _middle(w, new_w, width)
    found = frames.permute(0, 3, 1, 2)  # (t, 3, h, w)
    if (new_h, new_w) != (h, w):
        planes = found.reshape(t * 3, h, w)
        found = resample(planes, rows, columns, settings.filter).view(t, 3, -1, columns.last - columns.first)
    else:
        found = found[:, :, rows.first : rows.last, columns.first : columns.last]
    above, left = max(0, -((new_h - height) // 2)), max(0, -((new_w - width) // 2))
    below, right = height - found.shape[2] - above, width - found.shape[3] - left
    return F.pad(found, (left, right, above, below)) if above or left or below or right else found


def _middle(size: int, new: int, kept: int) -> Axis:
    first = max(0, (new - kept) // 2)
    return Axis(size, new, first, min(first + kept, new))


def _normalise(pixels: torch.Tensor, settings: PictureSettings) -> torch.Tensor:
    """(value * scale - mean) / std as one factor and one term for each channel."""
    std = np.array(settings.std)
    factor = torch.tensor(settings.scale / std, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
    term = torch.tensor(-np.array(settings.mean) / std, dtype=torch.float32, device=pixels.device).view(
        3, 1, 1
    )
    return torch.addcmul(term, pixels.to(torch.float32, memory_format=torch.contiguous_format), factor)


@dataclass(frozen=True, slots=True)
class PictureReader:
    """How a model reads videos: one row a frame."""

    settings: PictureSettings
    dim: int
    network: Callable[[Any, torch.Tensor], torch.Tensor]
    """(model, (n, 3, height, width)) -> (n, dim)."""

    def batches(self, items: Sequence[Any], size: int, device: torch.device) -> Iterator[Batch]:
        """Prepared frames of all videos; one without frames or pixels has none."""
        return regroup(self._rows(items, device), size)

    def vectors(self, model: Any, batch: Batch) -> torch.Tensor:
        """(n, dim), one a frame."""
        return self.network(model, batch.inputs)

    def _rows(self, items: Sequence[Any], device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
        for place, frames in enumerate(items):
            if 0 not in frames.shape:
                yield place, prepare_frames(frames, self.settings, device)
