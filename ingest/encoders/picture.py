"""Raw descriptor of frames: colours, where they lie, edges, texture and motion. No weights.

Source: histograms of oriented gradients as in Dalal and Triggs, CVPR 2005, section 6 (unsigned, each vote
shared by the two nearest orientations, normalised by neighbourhood), pooled over a coarse grid and averaged
over frames; colours are CIE L*a*b* over D65, its linear foot replaced by a shifted cube root.

Videos with equally many frames are computed together: (b, t) frames, and every mean is of one video.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
CPU = torch.device("cpu")
Video = tuple[Frames | torch.Tensor, Float64s | None]


def describe_picture(frames: Frames | torch.Tensor, timestamps_s: Float64s | None = None) -> Floats | None:
    """Raw descriptor, float32, (D,), of the frames of one video; None where there is no frame or no pixel.

    Args:
        frames: RGB, uint8, (t, h, w, 3), any size; of more than 64, 64 evenly spaced ones are used.
        timestamps_s: instant of each frame, s, (t,): motion is then by second, else by frame.
    """
    return describe_pictures([(frames, timestamps_s)])[0]


def describe_pictures(
    videos: Sequence[Video], device: torch.device = CPU, together: int = 1
) -> list[Floats | None]:
    """Raw descriptor of each video, as `describe_picture` gives it.

    Args:
        videos: frames, an array or a tensor on any device, and their instants.
        device: where to compute.
        together: videos computed at once, >= 1; they take memory, and change no result.
    """
    found: list[Floats | None] = [None] * len(videos)
    for places in _batches(videos, together):
        kept = [_thin(*videos[place]) for place in places]
        codes = torch.cat([_shrink(frames, device) for frames, _ in kept], dim=1)  # (3, b * t, SIDE, SIDE)
        seconds = torch.stack([_steps(instants, len(frames) - 1) for frames, instants in kept])  # (b, t-1)
        raw = _descriptors(_to_lab(codes), seconds.to(device)).cpu().numpy()
        for place, row in zip(places, raw, strict=True):
            found[place] = row
    return found


def _batches(videos: Sequence[Video], together: int) -> Iterator[list[int]]:
    """Places of videos with equally many frames."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, (frames, _) in enumerate(videos):
        if frames.ndim == 4 and 0 not in frames.shape:
            alike[min(len(frames), MAX_FRAMES)].append(place)
    for places in alike.values():
        for start in range(0, len(places), together):
            yield places[start : start + together]


def _thin(frames: Frames | torch.Tensor, timestamps_s: Float64s | None) -> Video:
    """At most MAX_FRAMES, evenly spaced."""
    if len(frames) <= MAX_FRAMES:
        return frames, timestamps_s
    kept = np.linspace(0, len(frames) - 1, MAX_FRAMES).round().astype(np.int64)
    return frames[kept], None if timestamps_s is None else timestamps_s[kept]


def _descriptors(lab: torch.Tensor, seconds: torch.Tensor) -> torch.Tensor:
    """Raw descriptors, (b, D), of frames (3, b * t, SIDE, SIDE) with these seconds between them, (b, t-1)."""
    b = len(seconds)
    cells = _pyramid(lab[0])
    parts = [_colour(lab, b), _layout(lab, b), _edges(cells[0], b), _texture(cells, b), _motion(lab, seconds)]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _shrink(frames: Frames | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Gamma-coded RGB as codes 0..1020, int32, (3, t, SIDE, SIDE)."""
    if isinstance(frames, np.ndarray):
        frames = torch.from_numpy(np.require(frames, np.uint8, ["C", "W"]))
    frames = frames.to(device)
    t, h, w, _ = frames.shape
    if (h, w) != (2 * SIDE, 2 * SIDE):
        return torch.cat([_resize(frame) for frame in frames], dim=1)
    rows = frames.reshape(t, SIDE, 2, w * 3)
    halved = (rows[:, :, 0].short() + rows[:, :, 1].short()).view(t, SIDE, SIDE, 6)
    return torch.stack([halved[..., c] + halved[..., c + 3] for c in range(3)]).int()


def _resize(frame: torch.Tensor) -> torch.Tensor:
    rgb = frame.permute(2, 0, 1)[None].float()  # (1, 3, h, w)
    if min(rgb.shape[2:]) >= SIDE:
        small = F.adaptive_avg_pool2d(rgb, SIDE)
    else:
        small = F.interpolate(rgb, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return (small[0] * ((CODES - 1) / 255.0)).round().int()[:, None]


def _to_lab(codes: torch.Tensor) -> torch.Tensor:
    """L*/100, a*/100, b*/100 of codes, (3, n, SIDE, SIDE)."""
    linear = _linear_light(codes.device).index_select(0, codes.flatten()).view(3, -1)
    foot = (_xyz_matrix(codes.device) @ linear).add_(0.003)
    x, y, z = foot.log2_().mul_(1.0 / 3.0).exp2_()  # cube roots, in half the time of a power
    lab = torch.empty_like(foot)
    torch.mul(y, 1.19, out=lab[0]).sub_(0.19)
    torch.sub(x, y, out=lab[1]).mul_(5.0)
    torch.sub(y, z, out=lab[2]).mul_(2.0)
    return lab.view(codes.shape)


def _colour(lab: torch.Tensor, b: int) -> torch.Tensor:
    """Square roots of the shares of L, a and b in soft bins, (b, 3, BINS)."""
    fine, device = 4 * BINS, lab.device
    half = torch.tensor([0.0, 0.5, 0.5], device=device)[:, None, None]
    some = lab[:, :, ::2, ::2].reshape(3, b, -1) + half  # (3, b, n), about 0..1
    histogram = torch.arange(3 * b, device=device).view(3, b, 1) * fine
    place = (some * fine).clamp_(0.0, fine - 1.0).long() + histogram
    counts = torch.bincount(place.flatten(), minlength=3 * b * fine).view(3, b, fine).float()
    return (counts @ _triangles(fine, device) / some.shape[2]).sqrt().transpose(0, 1)


def _layout(lab: torch.Tensor, b: int) -> torch.Tensor:
    """Mean colour of a coarse grid, and how much it changes over the frames, (b, 2, 3, GRID, GRID)."""
    cells = F.avg_pool2d(lab, SIDE // GRID).view(3, b, -1, GRID, GRID)  # (3, b, t, GRID, GRID)
    both = torch.stack([cells.mean(dim=2), cells.std(dim=2, unbiased=False)])  # (2, 3, b, GRID, GRID)
    return both.permute(2, 0, 1, 3, 4)


def _pyramid(light: torch.Tensor) -> list[torch.Tensor]:
    """Edge votes by cell at full, half and quarter size, each (n, HOG_GRID, HOG_GRID, ORIENTATIONS)."""
    found = []
    for _ in range(SCALES):
        found.append(_vote(light))
        light = F.avg_pool2d(light, 2)
    return found


def _vote(light: torch.Tensor) -> torch.Tensor:
    """Mean gradient strength by cell and unsigned orientation, shared by the two nearest orientations."""
    n, side, _ = light.shape
    device = light.device
    padded = F.pad(light, (1, 1, 1, 1), mode="replicate")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = (across * across).addcmul_(down, down).sqrt_()
    place = torch.atan2(down, across).mul_(ORIENTATIONS / math.pi).add_(ORIENTATIONS)  # 0..2 * ORIENTATIONS
    low = place.long()
    share = place.sub_(low).mul_(strength)
    # Two extra orientations a half-turn take the wrap-around: three folds bring all back to ORIENTATIONS.
    wide = 2 * ORIENTATIONS + 2
    frame = torch.arange(n, device=device)[:, None, None] * (wide * HOG_GRID**2)
    at = low.add_(_cell_of_pixel(side, device) * wide).add_(frame).flatten()
    size = wide * HOG_GRID**2 * n
    votes = torch.bincount(at, strength.sub_(share).flatten(), size)
    votes[1:] += torch.bincount(at, share.flatten(), size)[:-1]
    spread = votes.reshape(n, HOG_GRID, HOG_GRID, wide).float()
    folded = spread[..., :ORIENTATIONS] + spread[..., ORIENTATIONS : 2 * ORIENTATIONS]
    folded[..., :2] += spread[..., 2 * ORIENTATIONS :]
    return folded * (HOG_GRID / side) ** 2


def _edges(cells: torch.Tensor, b: int) -> torch.Tensor:
    """Votes over those of their neighbourhood, mean over frames, (b, HOG_GRID, HOG_GRID, ORIENTATIONS)."""
    energy = cells.square().sum(dim=3)[:, None]  # (n, 1, HOG_GRID, HOG_GRID)
    around = F.avg_pool2d(energy, 3, 1, 1, count_include_pad=False)[:, 0, :, :, None]
    return (cells / (around + 1e-5).sqrt()).view(b, -1, *cells.shape[1:]).mean(dim=1)


def _texture(cells: list[torch.Tensor], b: int) -> torch.Tensor:
    """Edge strength by orientation at each scale: mean, spread over cells, (b, SCALES, 2, ORIENTATIONS)."""
    flat = [scale.view(b, -1, ORIENTATIONS) for scale in cells]  # (b, t * cells, ORIENTATIONS)
    both = [torch.stack([f.mean(dim=1), f.std(dim=1)], dim=1) for f in flat]
    return torch.log(torch.stack(both, dim=1) + 1e-3)


def _motion(lab: torch.Tensor, seconds: torch.Tensor) -> torch.Tensor:
    """How much each cell of a grid changes, mean and spread over time, and four numbers on all, (b, 36)."""
    b, steps = seconds.shape
    if steps < 1:
        return lab.new_full((b, 2 * GRID * GRID + 4), math.log(1e-3))
    small = F.avg_pool2d(lab, 4).view(3, b, -1, SIDE // 4, SIDE // 4)  # (3, b, t, ...)
    change = (small[:, :, 1:] - small[:, :, :-1]).abs().mean(dim=0)  # (b, t-1, ...)
    pace = change.mean(dim=(2, 3))  # (b, t-1)
    cells = F.avg_pool2d(change, SIDE // 4 // GRID).flatten(2)  # (b, t-1, GRID * GRID)
    whole = [
        pace.mean(dim=1),
        pace.std(dim=1, unbiased=False),
        pace.amax(dim=1),
        (pace / seconds).mean(dim=1),
    ]
    parts = [cells.mean(dim=1), cells.std(dim=1, unbiased=False), torch.stack(whole, dim=1)]
    return torch.log(torch.cat(parts, dim=1) + 1e-3)


def _steps(timestamps_s: Float64s | None, count: int) -> torch.Tensor:
    """Seconds between frames, (count,), bounded; ones where instants are not known."""
    if timestamps_s is None or len(timestamps_s) != count + 1:
        return torch.ones(count)
    steps = np.nan_to_num(np.diff(np.asarray(timestamps_s, np.float64)), nan=1.0)
    return torch.from_numpy(np.clip(steps, 1e-2, 60.0).astype(np.float32))


@lru_cache(maxsize=8)
def _linear_light(device: torch.device) -> torch.Tensor:
    """Linear light of each code, (CODES,)."""
    coded = torch.arange(CODES) / (CODES - 1.0)
    return torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055).pow(2.4)).to(device)


@lru_cache(maxsize=8)
def _xyz_matrix(device: torch.device) -> torch.Tensor:
    """Linear sRGB to XYZ over the D65 white point."""
    to_xyz = torch.tensor(
        [[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07218], [0.01933, 0.11919, 0.95030]]
    )
    return (to_xyz / torch.tensor([[0.95047], [1.0], [1.08883]])).to(device)


@lru_cache(maxsize=8)
def _triangles(fine: int, device: torch.device) -> torch.Tensor:
    """Overlapping triangles that gather fine bins into BINS, (fine, BINS); each row adds up to 1."""
    at = (torch.arange(fine) + 0.5) / fine * BINS - 0.5
    weight = (1.0 - (at[:, None] - torch.arange(BINS)).abs()).clamp_min(0.0)
    return (weight / weight.sum(dim=1, keepdim=True)).to(device)


@lru_cache(maxsize=8 * SCALES)
def _cell_of_pixel(side: int, device: torch.device) -> torch.Tensor:
    """Number of the cell each pixel lies in, int64, (side, side)."""
    cell = torch.arange(side) * HOG_GRID // side
    return (cell[:, None] * HOG_GRID + cell).to(device)
