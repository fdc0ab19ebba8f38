"""CLIP and SigLIP: pictures and texts in one space. SigLIP 2 of a fixed size is a SigLIP to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from features.errors import BadInput
from ingest.encoders.hf.image_models import read_pictures
from ingest.encoders.hf.pixels import PictureReader
from ingest.encoders.hf.texts import TextReader
from ingest.encoders.hf.tokens import read_tokenizer

OLD_END: Final = 2
"""What CLIP's first configs call the end of a text; their networks look for the largest token instead."""


def clip_pictures(directory: Path, config: Any) -> PictureReader:
    """Of CLIP, projected."""

    def network(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        return found

    size = config.vision_config.image_size
    return read_pictures(directory, "CLIPImageProcessor", size, network, config.projection_dim)


def clip_texts(directory: Path, config: Any) -> TextReader:
    """Of CLIP, projected.

    Raises:
        BadInput: a tokenizer that does not end a text where the network reads it.
    """

    def network(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = model.text_model(input_ids=ids, attention_mask=mask)
        found: torch.Tensor = model.text_projection(states.pooler_output)
        return found

    text = config.text_config
    tokenizer = read_tokenizer(directory, text.to_dict(), text.max_position_embeddings)
    ids, end = tokenizer.encode(["a"])[0], text.eos_token_id
    if ids[-1:] != ([max(ids, default=0)] if end == OLD_END else [end]):
        raise BadInput(
            f"{directory}: tokenizer.json ends a text with token {ids[-1:]}, the network looks for {end}; "
            "config.json and tokenizer.json belong to two models"
        )
    return TextReader(tokenizer, config.projection_dim, network)


def siglip_pictures(directory: Path, config: Any) -> PictureReader:
    """Of SigLIP."""

    def network(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model.vision_model(pixel_values=pixels).pooler_output
        return found

    vision = config.vision_config
    return read_pictures(directory, "SiglipImageProcessor", vision.image_size, network, vision.hidden_size)


def siglip_texts(directory: Path, config: Any) -> TextReader:
    """Of SigLIP, which was trained on texts filled up to their longest, without a mask."""

    def network(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model.text_model(input_ids=ids).pooler_output
        return found

    text = config.text_config
    tokenizer = read_tokenizer(directory, text.to_dict(), text.max_position_embeddings)
    return TextReader(tokenizer, text.projection_size, network, full=True)
