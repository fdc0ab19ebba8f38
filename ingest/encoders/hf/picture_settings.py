"""How a model wants its pictures, read from the settings of its own processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.errors import BadInput
from ingest.encoders.hf.resample import FILTERS

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF: Final = (0.5, 0.5, 0.5)
BILINEAR, BICUBIC = 2, 3
CONVNEXT: Final = "ConvNextImageProcessor"
CONVNEXT_WARPS: Final = 384
"""From this size on, that processor squeezes a picture and cuts nothing off."""

_CLIP: Final = {
    "resample": BICUBIC,
    "size": {"shortest_edge": 224},
    "do_center_crop": True,
    "crop_size": 224,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}
_SQUARE: Final = {"size": {"height": 224, "width": 224}, "image_mean": HALF, "image_std": HALF}
DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "CLIPImageProcessor": _CLIP,
    "BitImageProcessor": _CLIP,
    "SiglipImageProcessor": {"resample": BICUBIC, **_SQUARE},
    "ViTImageProcessor": {"resample": BILINEAR, **_SQUARE},
    CONVNEXT: {
        "resample": BICUBIC,
        "size": {"shortest_edge": 384},
        "crop_pct": 224 / 256,
        "image_mean": HALF,
        "image_std": HALF,
    },
}
"""What a processor does where its settings are silent."""
SQUARES: Final = ("SiglipImageProcessor", "ViTImageProcessor")
"""Processors for which a size that is one number is both sides, and not the shorter one."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """In the order they are applied."""

    shortest: int | None
    """Pixels that the shorter side is brought to, the longer one in proportion."""
    exact: Size | None
    """Height and width that a picture is squeezed to, pixels."""
    filter: int
    """Of `resample.FILTERS`."""
    crop: Size | None
    """Height and width of the middle that is kept; black around a smaller picture."""
    scale: float
    """Factor of values 0..255."""
    mean: tuple[float, float, float]
    """Subtracted, by channel."""
    std: tuple[float, float, float]
    """Divided by, by channel, > 0."""

    @property
    def size(self) -> Size:
        """Height and width of what the network is given, pixels."""
        found = self.crop or self.exact
        assert found
        return found

    def resized(self, height: int, width: int) -> Size:
        """Height and width of a picture before its middle is cut out."""
        if self.exact:
            return self.exact
        if self.shortest is None:
            return height, width
        longer = int(self.shortest * max(height, width) / min(height, width))
        return (longer, self.shortest) if width <= height else (self.shortest, longer)


def picture_settings(found: Mapping[str, Any], usual: str) -> PictureSettings:
    """The settings of a processor.

    Args:
        found: its settings, as it saved them.
        usual: name of the processor where they do not name one.

    Raises:
        BadInput: a processor that is not known, or settings that give no picture of a fixed size.
    """
    name = _name(found, usual)
    whole = {**DEFAULTS[name], **{key: value for key, value in found.items() if value is not None}}
    shortest, exact, crop = _sizes(name, whole)
    if not (crop or exact):
        raise BadInput(f"{name} with size={whole.get('size')!r} and no crop gives pictures of no fixed size")
    if whole["resample"] not in FILTERS:
        raise BadInput(
            f"{name} resamples by filter {whole['resample']!r}; known are "
            f"{', '.join(f'{n} ({f.name})' for n, f in FILTERS.items())}"
        )
    normal = whole.get("do_normalize", True)
    return PictureSettings(
        shortest,
        exact,
        int(whole["resample"]),
        crop,
        float(whole.get("rescale_factor", 1 / 255)) if whole.get("do_rescale", True) else 1.0,
        _channels(name, "image_mean", whole) if normal else (0.0, 0.0, 0.0),
        _channels(name, "image_std", whole) if normal else (1.0, 1.0, 1.0),
    )


def _name(found: Mapping[str, Any], usual: str) -> str:
    """Of the processor, without the marks of its age and of what computes it."""
    said = str(found.get("image_processor_type") or found.get("feature_extractor_type") or usual)
    name = said.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    if name not in DEFAULTS:
        raise BadInput(
            f"pictures are prepared by {said}, which is not known; known are {', '.join(DEFAULTS)}"
        )
    return name


def _sizes(name: str, whole: Mapping[str, Any]) -> tuple[int | None, Size | None, Size | None]:
    """(shorter side, exact size, crop)."""
    crop = _pair(name, whole["crop_size"]) if whole.get("do_center_crop") else None
    if not whole.get("do_resize", True):
        return None, None, crop
    size = whole["size"]
    if isinstance(size, int):
        size = {"height": size, "width": size} if name in SQUARES else {"shortest_edge": size}
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        edge = _pixels(name, size["shortest_edge"])
        if name != CONVNEXT:
            return edge, None, crop
        if edge >= CONVNEXT_WARPS:
            return None, (edge, edge), crop
        return int(edge / float(whole["crop_pct"])), None, crop or (edge, edge)
    return None, _pair(name, size), crop


def _pair(name: str, size: Any) -> Size:
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        return _pixels(name, size["height"]), _pixels(name, size["width"])
    if isinstance(size, int):
        return _pixels(name, size), _pixels(name, size)
    raise BadInput(f"{name} has size {size!r}; known are height with width, shortest_edge, and one number")


def _pixels(name: str, value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= 4096:
        raise BadInput(f"{name} has a side of {value!r} pixels; it lies between 1 and 4096")
    return value


def _channels(name: str, key: str, whole: Mapping[str, Any]) -> tuple[float, float, float]:
    value = whole[key]
    numbers = list(value) if isinstance(value, (list, tuple)) else [value] * 3
    usable = len(numbers) == 3 and all(isinstance(n, (int, float)) for n in numbers)
    if not usable or (key == "image_std" and min(numbers) <= 0):
        raise BadInput(f"{name} has {key}={value!r}; it holds three numbers, and none that divides by zero")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
