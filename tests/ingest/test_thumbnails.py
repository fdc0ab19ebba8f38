"""Thumbnails and previews: the right proportions, the right length, small."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest.media.decode import Clip, DecodeSettings, decode_clip
from ingest.thumbnails import encode_preview, encode_thumbnail, preview_size

PYAV = DecodeSettings(rungs=("pyav",))


@pytest.fixture
def clip(make_clip) -> Clip:
    return decode_clip(make_clip(frames=50, size=(96, 64)), PYAV)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def shown_ms(content: bytes) -> list[int]:
    """How long each frame of an animated WebP is shown."""
    shown = []
    with opened(content) as image:
        for place in range(image.n_frames):
            image.seek(place)
            image.load()
            shown.append(image.info["duration"])
    return shown


@pytest.mark.parametrize("size", [(398, 224), (224, 398), (224, 224), (672, 224), (1, 1), (1, 640)])
def test_a_thumbnail_keeps_the_posters_proportions(size: tuple[int, int]) -> None:
    poster = np.full((size[1], size[0], 3), 90, np.uint8)
    with opened(encode_thumbnail(poster)) as image:
        assert max(image.size) == 320
        assert image.width / image.height == pytest.approx(size[0] / size[1], abs=max(0.02, 1 / 320))


def test_a_thumbnail_shows_the_poster(shared_data: Path) -> None:
    poster = decode_clip(shared_data / "clips" / "chaplin.mp4", PYAV).poster
    with opened(encode_thumbnail(poster)) as image:
        wanted = np.asarray(Image.fromarray(poster).resize(image.size, Image.Resampling.LANCZOS), np.float64)
        error = np.square(np.asarray(image.convert("RGB")) - wanted).mean()
    assert 10 * np.log10(255**2 / error) > 30  # dB; what is lost is not seen


def test_without_a_picture_there_is_a_placeholder() -> None:
    with opened(encode_thumbnail(None)) as image:
        assert image.size == (320, 180)
        assert len(np.unique(np.asarray(image.convert("L")) // 64)) > 1


def test_a_preview_loops_for_ever_in_three_seconds(clip: Clip) -> None:
    content = encode_preview(clip)
    with opened(content) as image:
        assert image.format == "WEBP"
        assert image.n_frames == 16
        assert image.info["loop"] == 0
    assert sum(shown_ms(content)) == 3000


@pytest.mark.parametrize("frames", [2, 3, 7, 16, 64])
def test_the_loop_lasts_three_seconds_whatever_the_number_of_frames(clip: Clip, frames: int) -> None:
    levels = np.linspace(0, 255, frames).astype(np.uint8)
    content = encode_preview(replace(clip, frames=np.tile(levels[:, None, None, None], (1, 32, 32, 3))))
    shown = shown_ms(content)
    assert sum(shown) == 3000
    assert len(shown) == min(frames, 16)


def test_a_preview_shows_the_frames_in_order_of_time(clip: Clip) -> None:
    levels = np.linspace(10, 240, 16)
    content = encode_preview(
        replace(clip, frames=np.tile(levels[:, None, None, None], (1, 32, 32, 3)).astype(np.uint8))
    )
    with opened(content) as image:
        seen = []
        for place in range(image.n_frames):
            image.seek(place)
            seen.append(np.asarray(image.convert("L")).mean())
    assert seen == pytest.approx(levels, abs=6)


def test_no_preview_without_two_frames(clip: Clip) -> None:
    assert encode_preview(replace(clip, frames=None)) is None
    assert encode_preview(replace(clip, frames=clip.frames[:1])) is None


def test_a_frozen_clip_has_a_preview_too(clip: Clip) -> None:
    with opened(encode_preview(replace(clip, frames=np.repeat(clip.frames[:1], 16, axis=0)))) as image:
        assert image.size == (176, 117)


@pytest.mark.parametrize(
    ("shown", "size"),
    [
        ((1920, 1080), (176, 99)),
        ((1080, 1920), (99, 176)),
        ((1, 1), (176, 176)),
        ((1, 1000), (16, 176)),
        ((1000, 1), (176, 16)),
        ((2000, 500), (176, 44)),
        ((0, 0), (176, 176)),
    ],
)
def test_a_preview_has_the_proportions_of_the_display(
    clip: Clip, shown: tuple[int, int], size: tuple[int, int]
) -> None:
    assert preview_size(*shown) == size
    found = replace(clip.found, width=shown[0], height=shown[1])
    with opened(encode_preview(replace(clip, found=found))) as image:
        assert image.size == size


def test_a_turned_clips_preview_stands_upright(shared_data: Path) -> None:
    turned = decode_clip(shared_data / "clips" / "video_90.mov", PYAV)
    with opened(encode_preview(turned)) as image:
        assert image.size == (99, 176)


@pytest.mark.parametrize("name", ["10034.mp4", "chaplin.mp4", "big_buck_bunny_0_30.webm"])
def test_a_real_preview_is_small(shared_data: Path, name: str) -> None:
    assert len(encode_preview(decode_clip(shared_data / "clips" / name, PYAV))) < 60_000
