"""Image models, and how the picture half of any model is read.

ViT and DINOv2 give the state of their class token after the last layer norm, ResNet the mean of its last map:
what the head of a training task would be given.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from features.errors import BadInput
from ingest.encoders.hf.picture_settings import picture_settings
from ingest.encoders.hf.pixels import PictureReader
from ingest.encoders.hf.settings import read_processor

Network = Callable[[Any, torch.Tensor], torch.Tensor]
"""(model, (n, 3, height, width)) -> (n, d)."""


def read_pictures(directory: Path, usual: str, image_size: Any, network: Network, dim: int) -> PictureReader:
    """How a model reads pictures.

    Args:
        directory: of the model.
        usual: its processor, where the settings name none.
        image_size: side that the network wants, pixels, or height and width; None where it takes any.
        network: gives the vectors.
        dim: their length.

    Raises:
        BadInput: settings that are missing, not known, or of another size than the network's.
    """
    settings = picture_settings(read_processor(directory, "image_processor"), usual)
    expected = tuple(image_size) if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if image_size is not None and settings.size != expected:
        raise BadInput(
            f"{directory}: pictures are prepared as {settings.size[0]} x {settings.size[1]}, and the network "
            f"wants {expected[0]} x {expected[1]}; its two settings files belong to two models"
        )
    return PictureReader(settings, dim, network)


def resnet_pictures(directory: Path, config: Any) -> PictureReader:
    """Of ResNet."""

    def network(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(pixel_values=pixels).pooler_output  # (n, d, 1, 1)
        return found.flatten(1)

    return read_pictures(directory, "ConvNextImageProcessor", None, network, config.hidden_sizes[-1])


def vit_pictures(directory: Path, config: Any) -> PictureReader:
    """Of ViT."""
    size = config.image_size
    return read_pictures(directory, "ViTImageProcessor", size, class_token, config.hidden_size)


def dinov2_pictures(directory: Path, config: Any) -> PictureReader:
    """Of DINOv2, which stretches its places to pictures of any size."""
    return read_pictures(directory, "BitImageProcessor", None, class_token, config.hidden_size)


def class_token(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(n, d), the first token after the last layer norm."""
    found: torch.Tensor = model(pixel_values=pixels).last_hidden_state  # (n, tokens, d)
    return found[:, 0]
