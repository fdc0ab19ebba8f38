"""Pictures for Hugging Face models are prepared to the bit as their own processors do it, through Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from features.errors import BadInput
from ingest.encoders.hf.picture_settings import picture_settings
from ingest.encoders.hf.pixels import prepare_frames
from ingest.encoders.hf.resample import FILTERS, Axis, resample
from ingest.encoders.protocol import Frames

CPU = torch.device("cpu")
SIZES = [(1, 1), (1, 90), (300, 17), (31, 64), (224, 224), (240, 427), (481, 359)]
PROCESSORS: dict[str, Any] = {
    "clip": lambda: hf.CLIPImageProcessorPil(),
    "clip, small": lambda: hf.CLIPImageProcessorPil(
        size={"shortest_edge": 33}, crop_size={"height": 32, "width": 31}
    ),
    "clip, black around": lambda: hf.CLIPImageProcessorPil(
        size={"shortest_edge": 30}, crop_size={"height": 41, "width": 60}
    ),
    "clip, squeezed": lambda: hf.CLIPImageProcessorPil(
        size={"height": 50, "width": 40}, do_center_crop=False
    ),
    "clip, cut only": lambda: hf.CLIPImageProcessorPil(do_resize=False),
    "siglip": lambda: hf.SiglipImageProcessorPil(),
    "vit": lambda: hf.ViTImageProcessorPil(image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7]),
    "vit, raw": lambda: hf.ViTImageProcessorPil(do_rescale=False, do_normalize=False),
    "vit, lanczos": lambda: hf.ViTImageProcessorPil(resample=1),
    "convnext": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875),
    "convnext, warped": lambda: hf.ConvNextImageProcessorPil(),
    "bit": lambda: hf.BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}),
}


def noise(h: int, w: int, seed: int = 0, t: int = 1) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (t, h, w, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", PROCESSORS)
def test_frames_are_prepared_as_the_models_own_processor_does_it(name: str, size: tuple[int, int]) -> None:
    processor = PROCESSORS[name]()
    frames = noise(*size, t=2)
    expected = processor(list(frames), return_tensors="np", input_data_format="channels_last")["pixel_values"]
    found = prepare_frames(frames, picture_settings(processor.to_dict(), "CLIPImageProcessor"), CPU)
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max() / 10)


@settings(max_examples=60, deadline=None)
@given(
    before=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    after=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    kernel=st.sampled_from(sorted(FILTERS)),
    seed=st.integers(0, 99),
    part=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_any_part_of_a_resampled_picture_has_the_bits_that_pillow_gives(
    before: tuple[int, int], after: tuple[int, int], kernel: int, seed: int, part: tuple[float, ...]
) -> None:
    frame = noise(*before, seed)[0]
    whole = np.asarray(Image.fromarray(frame).resize(after[::-1], resample=kernel))
    axes, kept = [], []
    for size, new, share, more in zip(before, after, part[:2], part[2:], strict=True):
        first = int(share * (new - 1))
        last = first + 1 + int(more * (new - first - 1))
        axes.append(Axis(size, new, first, last))
        kept.append(slice(first, last))
    planes = torch.from_numpy(frame).permute(2, 0, 1)
    found = resample(planes, axes[0], axes[1], kernel).permute(1, 2, 0).numpy()
    assert (found == whole[kept[0], kept[1]]).all()


def test_an_8k_picture_and_a_very_long_one_need_no_more_than_what_is_kept_of_them() -> None:
    processor = hf.CLIPImageProcessorPil()
    wanted = picture_settings(processor.to_dict(), "CLIPImageProcessor")
    frames = noise(4320, 7680)
    expected = processor(list(frames), return_tensors="np", input_data_format="channels_last")["pixel_values"]
    assert np.abs(prepare_frames(frames, wanted, CPU).numpy() - expected).max() <= 1e-4
    # Resized whole, this one would have 224 x 4,480,000 pixels.
    long = prepare_frames(noise(1, 20_000), wanted, CPU)
    assert long.shape == (1, 3, 224, 224)
    assert bool(torch.isfinite(long).all())


def test_a_tensor_is_prepared_as_an_array_is_and_neither_is_changed() -> None:
    wanted = picture_settings({}, "ViTImageProcessor")
    frames = noise(60, 50, t=3)
    before = frames.copy()
    found = prepare_frames(frames, wanted, CPU)
    assert torch.equal(found, prepare_frames(torch.from_numpy(frames), wanted, CPU))
    assert torch.equal(found[1:2], prepare_frames(frames[1:2], wanted, CPU))
    assert (frames == before).all()


@pytest.mark.parametrize(
    ("said", "shortest", "exact"),
    [
        ({"feature_extractor_type": "CLIPFeatureExtractor", "size": 224}, 224, None),
        ({"image_processor_type": "ViTImageProcessorFast", "size": 384}, None, (384, 384)),
        ({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875}, 256, None),
    ],
    ids=["clip", "vit", "convnext"],
)
def test_a_size_of_one_number_means_what_that_processor_meant_by_it(
    said: dict[str, Any], shortest: int | None, exact: tuple[int, int] | None
) -> None:
    found = picture_settings(said, "SiglipImageProcessor")
    assert (found.shortest, found.exact) == (shortest, exact)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"image_processor_type": "SamImageProcessor"}, "SamImageProcessor, which is not known"),
        ({"resample": 0}, "filter 0; known are lanczos|filter 0; known are 1"),
        ({"size": {"longest_edge": 5}}, "known are height with width"),
        ({"size": {"height": 0, "width": 5}}, "a side of 0 pixels; it lies between 1 and 4096"),
        ({"do_center_crop": False}, "no fixed size"),
        ({"image_std": [0.5, 0.0, 0.5]}, "none that divides by zero"),
        ({"image_mean": ["a", 0, 0]}, "three numbers"),
    ],
)
def test_settings_that_cannot_be_followed_are_named(said: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        picture_settings(said, "CLIPImageProcessor")


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 4), np.uint8)],
)
def test_frames_of_another_type_or_shape_are_named(frames: Any) -> None:
    with pytest.raises(BadInput, match="expected uint8"):
        prepare_frames(frames, picture_settings({}, "CLIPImageProcessor"), CPU)
