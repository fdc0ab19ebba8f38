"""Pictures at another size, to the bit as Pillow does it. In torch, on any device.

Pillow weighs 8-bit values with integers of 22 fractional bits and rounds to 8 bits after each of its two
passes. Sums of such products are whole numbers below 2^53: in float64 they are exact in any order, so a
matrix product gives the same bits on a CPU and on a GPU.

Source: the antialiased convolution of Pillow, src/libImaging/Resample.c; the cubic is that of Keys, IEEE
Trans. ASSP 1981, with a = -1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import torch

from ingest.encoders.protocol import Float64s

FRACTION: Final = 1 << 22
GROUP: Final = 16
"""Outputs of one matrix product: few, so that little is multiplied by zero."""
STEP: Final = 1 << 22
"""Values computed at once; in float64 they take 32 MiB."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A kernel of interpolation."""

    name: str
    support: float
    """Half its width, in pixels of the coarser picture."""
    weigh: Callable[[Float64s], Float64s]


def _triangle(x: Float64s) -> Float64s:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: Float64s) -> Float64s:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: Float64s) -> Float64s:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


FILTERS: Final = {
    1: Filter("lanczos", 3.0, _lanczos),
    2: Filter("bilinear", 1.0, _triangle),
    3: Filter("bicubic", 2.0, _cubic),
}
"""By Pillow's numbers, which models' settings use."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What one axis of a picture becomes."""

    size: int
    """Values before."""
    new: int
    """Values after, were all computed."""
    first: int
    last: int
    """Of them, those wanted: first to last - 1."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Outputs that lie side by side, and what they hear."""

    at: int
    start: int
    weights: torch.Tensor
    """float64, (inputs, outputs), whole numbers."""


def resample(planes: torch.Tensor, rows: Axis, columns: Axis, kernel: int) -> torch.Tensor:
    """Pictures at another size, or a part of them.

    Args:
        planes: uint8, (n, h, w), one for each channel of each picture.
        rows: of h values.
        columns: of w values.
        kernel: of `FILTERS`.

    Returns:
        uint8, (n, rows.last - rows.first, columns.last - columns.first).
    """
    if _rows_first(rows, columns):
        turned = planes.transpose(1, 2)  # (n, w, h)
        return _across_then_down(turned, columns, rows, kernel).transpose(1, 2)
    return _across_then_down(planes, rows, columns, kernel)


def _rows_first(rows: Axis, columns: Axis) -> bool:
    """Which pass comes first changes roundings: since its release 13, Pillow starts where more is lost."""
    lost = rows.size - rows.new
    return lost > 0 and lost > 2 * (columns.size - columns.new)


def _across_then_down(planes: torch.Tensor, rows: Axis, columns: Axis, kernel: int) -> torch.Tensor:
    top, bottom = _reach(rows, kernel)
    heard = planes[:, top:bottom]
    across = _pass(heard.reshape(-1, columns.size), columns, kernel).view(*heard.shape[:2], -1)  # (n, h', w')
    lines = across.transpose(1, 2).reshape(-1, bottom - top)  # (n * w', h')
    down = _pass(lines, rows, kernel, skipped=top)
    return down.view(len(planes), across.shape[2], -1).transpose(1, 2)


def _reach(axis: Axis, kernel: int) -> tuple[int, int]:
    """First and last + 1 of the values that the wanted ones are made of."""
    if axis.new == axis.size:
        return axis.first, axis.last
    groups = _groups(axis, kernel, torch.device("cpu"))
    return groups[0].start, groups[-1].start + len(groups[-1].weights)


def _pass(rows: torch.Tensor, axis: Axis, kernel: int, skipped: int = 0) -> torch.Tensor:
    """The wanted values of each row, uint8, (n, last - first); the first `skipped` of a row are not there."""
    if axis.new == axis.size:
        return rows[:, axis.first - skipped : axis.last - skipped]
    groups = _groups(axis, kernel, rows.device)
    out = rows.new_empty(len(rows), axis.last - axis.first)
    step = max(1, STEP // rows.shape[1])
    for at in range(0, len(rows), step):
        some = rows[at : at + step].double()
        for group in groups:
            heard = some[:, group.start - skipped : group.start - skipped + len(group.weights)]
            sums = (heard @ group.weights).add_(FRACTION // 2).div_(FRACTION).floor_().clamp_(0, 255)
            out[at : at + step, group.at : group.at + sums.shape[1]] = sums
    return out


@lru_cache(maxsize=64)
def _groups(axis: Axis, kernel: int, device: torch.device) -> tuple[_Group, ...]:
    return tuple(
        _group(axis, at, min(at + GROUP, axis.last), FILTERS[kernel], device)
        for at in range(axis.first, axis.last, GROUP)
    )


def _group(axis: Axis, at: int, end: int, kernel: Filter, device: torch.device) -> _Group:
    """Weights of outputs `at` to `end - 1`, each over the inputs within its support."""
    scale = axis.size / axis.new
    wide = max(1.0, scale)
    centres = (np.arange(at, end) + 0.5) * scale  # (outputs,)
    low = np.maximum((centres - kernel.support * wide + 0.5).astype(np.int64), 0)
    high = np.minimum((centres + kernel.support * wide + 0.5).astype(np.int64), axis.size)
    inputs = np.arange(low[0], high[-1])[:, None]  # (inputs, 1)
    raw = kernel.weigh((inputs - centres + 0.5) * (1.0 / wide))  # (inputs, outputs)
    raw = np.where((inputs >= low) & (inputs < high), raw, 0.0)
    share = raw / raw.sum(axis=0)  # summed from first to last input, as Pillow does
    whole = np.trunc(share * FRACTION + np.copysign(0.5, share))
    return _Group(at - axis.first, int(low[0]), torch.from_numpy(whole).to(device))
