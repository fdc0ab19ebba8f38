"""Raw descriptor of frames: colours, where they lie, edges, texture and motion. No weights.

Source: histograms of oriented gradients as in Dalal and Triggs, CVPR 2005, section 6 (unsigned, each vote
shared by the two nearest orientations, normalised by neighbourhood), pooled over a coarse grid and averaged
over frames; colours are CIE L*a*b* over D65, its linear foot replaced by a shifted cube root.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from features.contracts import Floats
from ingest.encoders.protocol import Float64s, Frames

PICTURE_VERSION = "picture-1"
SIDE = 112
"""Frames are brought to this many pixels a side by area: finer detail tells cameras apart, not contents."""
MAX_FRAMES = 64
BINS, GRID, ORIENTATIONS, HOG_GRID, SCALES = 24, 4, 9, 7, 3
CODES = 1021
"""Levels of a shrunken pixel: the sum of four bytes."""

PICTURE_BLOCKS = (
    ("colour", 3 * BINS),
    ("layout", 2 * 3 * GRID * GRID),
    ("edges", ORIENTATIONS * HOG_GRID * HOG_GRID),
    ("texture", SCALES * 2 * ORIENTATIONS),
    ("motion", 2 * GRID * GRID + 4),
)


def describe_picture(frames: Frames, timestamps_s: Float64s | None = None) -> Floats | None:
    """Raw descriptor, float32, (D,), of the frames of one video; None where there is no frame or no pixel.

    Args:
        frames: RGB, uint8, (t, h, w, 3), any size; of more than 64, 64 evenly spaced ones are used.
        timestamps_s: instant of each frame, s, (t,): motion is then by second, else by frame.
    """
    if frames.ndim != 4 or not frames.size:
        return None
    if len(frames) > MAX_FRAMES:
        kept = np.linspace(0, len(frames) - 1, MAX_FRAMES).round().astype(np.int64)
        frames, timestamps_s = frames[kept], None if timestamps_s is None else timestamps_s[kept]
    lab = _to_lab(_shrink(frames))  # (3, t, SIDE, SIDE)
    cells = _pyramid(lab[0])
    parts = [_colour(lab), _layout(lab), _edges(cells[0]), _texture(cells), _motion(lab, timestamps_s)]
    return torch.cat([part.flatten() for part in parts]).numpy().astype(np.float32)


def _shrink(frames: Frames) -> torch.Tensor:
    """Gamma-coded RGB as codes 0..1020, int32, (3, t, SIDE, SIDE)."""
    t, h, w, _ = frames.shape
    if (h, w) != (2 * SIDE, 2 * SIDE):
        return torch.cat([_resize(frame) for frame in frames], dim=1)
    rows = np.ascontiguousarray(frames).reshape(t, SIDE, 2, w * 3)
    halved = np.add(rows[:, :, 0], rows[:, :, 1], dtype=np.int32).reshape(t, SIDE, SIDE, 6)
    return torch.from_numpy(np.stack([halved[..., c] + halved[..., c + 3] for c in range(3)]))


def _resize(frame: Frames) -> torch.Tensor:
    rgb = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()  # (1, 3, h, w)
    if min(rgb.shape[2:]) >= SIDE:
        small = F.adaptive_avg_pool2d(rgb, SIDE)
    else:
        small = F.interpolate(rgb, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return (small[0] * ((CODES - 1) / 255.0)).round().int()[:, None]


def _to_lab(codes: torch.Tensor) -> torch.Tensor:
    """L*/100, a*/100, b*/100 of codes, (3, t, SIDE, SIDE)."""
    linear = _linear_light()[codes].flatten(1)  # (3, t * SIDE * SIDE)
    root = (_xyz_matrix() @ linear).add_(0.003).pow_(1.0 / 3.0)
    x, y, z = root
    return torch.stack([1.19 * y - 0.19, 5.0 * (x - y), 2.0 * (y - z)]).reshape(codes.shape)


def _colour(lab: torch.Tensor) -> torch.Tensor:
    """Square roots of the shares of L, a and b in soft bins, (3, BINS)."""
    fine = 4 * BINS
    some = lab[:, :, ::2, ::2].flatten(1) + torch.tensor([0.0, 0.5, 0.5])[:, None]  # (3, n), about 0..1
    place = (some * fine).clamp_(0.0, fine - 1.0).long() + fine * torch.arange(3)[:, None]
    counts = torch.bincount(place.flatten(), minlength=3 * fine).reshape(3, fine).float()
    return (counts @ _triangles(fine) / some.shape[1]).sqrt()


def _layout(lab: torch.Tensor) -> torch.Tensor:
    """Mean colour of a coarse grid, and how much it changes over the frames, (2, 3, GRID, GRID)."""
    cells = F.avg_pool2d(lab, SIDE // GRID)  # (3, t, GRID, GRID)
    return torch.stack([cells.mean(dim=1), cells.std(dim=1, unbiased=False)])


def _pyramid(light: torch.Tensor) -> list[torch.Tensor]:
    """Edge votes by cell at full, half and quarter size, each (t, HOG_GRID, HOG_GRID, ORIENTATIONS)."""
    found = []
    for _ in range(SCALES):
        found.append(_vote(light))
        light = F.avg_pool2d(light, 2)
    return found


def _vote(light: torch.Tensor) -> torch.Tensor:
    """Mean gradient strength by cell and unsigned orientation, shared by the two nearest orientations."""
    t, side, _ = light.shape
    padded = F.pad(light, (1, 1, 1, 1), mode="replicate")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = torch.hypot(across, down)
    place = (torch.atan2(down, across) * (ORIENTATIONS / math.pi)).add_(ORIENTATIONS)  # 0..2 * ORIENTATIONS
    low = place.long()
    share = place.sub_(low).mul_(strength)
    # Two extra orientations a half-turn take the wrap-around: three folds bring all back to ORIENTATIONS.
    wide = 2 * ORIENTATIONS + 2
    at = (
        (low + wide * _cell_of_pixel(side))
        .add_(wide * HOG_GRID**2 * torch.arange(t)[:, None, None])
        .flatten()
    )
    size = wide * HOG_GRID**2 * t
    votes = torch.bincount(at, (strength - share).flatten(), size)
    votes[1:] += torch.bincount(at, share.flatten(), size)[:-1]
    spread = votes.reshape(t, HOG_GRID, HOG_GRID, wide).float()
    folded = spread[..., :ORIENTATIONS] + spread[..., ORIENTATIONS : 2 * ORIENTATIONS]
    folded[..., :2] += spread[..., 2 * ORIENTATIONS :]
    return folded * (HOG_GRID / side) ** 2


def _edges(cells: torch.Tensor) -> torch.Tensor:
    """Votes over those of their neighbourhood, mean over frames, (HOG_GRID, HOG_GRID, ORIENTATIONS)."""
    energy = cells.square().sum(dim=3)[:, None]  # (t, 1, HOG_GRID, HOG_GRID)
    around = F.avg_pool2d(energy, 3, 1, 1, count_include_pad=False)[:, 0, :, :, None]
    return (cells / (around + 1e-5).sqrt()).mean(dim=0)


def _texture(cells: list[torch.Tensor]) -> torch.Tensor:
    """Edge strength by orientation at each scale: mean and spread over cells, (SCALES, 2, ORIENTATIONS)."""
    flat = [scale.flatten(0, 2) for scale in cells]  # (t * cells, ORIENTATIONS)
    return torch.log(torch.stack([torch.stack([f.mean(dim=0), f.std(dim=0)]) for f in flat]) + 1e-3)


def _motion(lab: torch.Tensor, timestamps_s: Float64s | None) -> torch.Tensor:
    """How much each cell of a grid changes, mean and spread over time, and four numbers on the whole."""
    if lab.shape[1] < 2:
        return torch.full((2 * GRID * GRID + 4,), math.log(1e-3))
    small = F.avg_pool2d(lab, 4)  # (3, t, SIDE / 4, SIDE / 4)
    change = (small[:, 1:] - small[:, :-1]).abs().mean(dim=0)  # (t-1, ...)
    pace = change.mean(dim=(1, 2))  # (t-1,)
    cells = F.avg_pool2d(change, SIDE // 4 // GRID).flatten(1)  # (t-1, GRID * GRID)
    seconds = _steps(timestamps_s, len(pace))
    whole = torch.stack([pace.mean(), pace.std(unbiased=False), pace.max(), (pace / seconds).mean()])
    return torch.log(torch.cat([cells.mean(dim=0), cells.std(dim=0, unbiased=False), whole]) + 1e-3)


def _steps(timestamps_s: Float64s | None, count: int) -> torch.Tensor:
    if timestamps_s is None or len(timestamps_s) != count + 1:
        return torch.ones(count)
    steps = np.nan_to_num(np.diff(np.asarray(timestamps_s, np.float64)), nan=1.0)
    return torch.from_numpy(np.clip(steps, 1e-2, 60.0).astype(np.float32))


@lru_cache(maxsize=1)
def _linear_light() -> torch.Tensor:
    """Linear light of each code, (CODES,)."""
    coded = torch.arange(CODES) / (CODES - 1.0)
    return torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055).pow(2.4))


@lru_cache(maxsize=1)
def _xyz_matrix() -> torch.Tensor:
    """Linear sRGB to XYZ over the D65 white point."""
    to_xyz = torch.tensor(
        [[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07218], [0.01933, 0.11919, 0.95030]]
    )
    return to_xyz / torch.tensor([[0.95047], [1.0], [1.08883]])


@lru_cache(maxsize=1)
def _triangles(fine: int) -> torch.Tensor:
    """Overlapping triangles that gather fine bins into BINS, (fine, BINS); each row adds up to 1."""
    at = (torch.arange(fine) + 0.5) / fine * BINS - 0.5
    weight = (1.0 - (at[:, None] - torch.arange(BINS)).abs()).clamp_min(0.0)
    return weight / weight.sum(dim=1, keepdim=True)


@lru_cache(maxsize=SCALES)
def _cell_of_pixel(side: int) -> torch.Tensor:
    """Number of the cell each pixel lies in, int64, (side, side)."""
    cell = torch.arange(side) * HOG_GRID // side
    return cell[:, None] * HOG_GRID + cell
