"""What each supported architecture reads, and what may lie beside its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from features.errors import BadInput
from ingest.encoders.hf import image_models, sound_models, text_models, vision_language_models
from ingest.encoders.hf.pixels import PictureReader
from ingest.encoders.hf.sounds import SoundReader
from ingest.encoders.hf.texts import TextReader

Reader = PictureReader | SoundReader | TextReader
Opener = Callable[[Path, Any], Reader]
"""(directory, transformers' config of the model) -> how a modality is read."""

COUNTER: Final = r"(.*\.)?position_ids"
"""A list of places that old files carry."""
HEADS: Final = (
    rf"(\w+\.)?((classifier|pooler|cls|lm_head|qa_outputs|vocab_\w+|distill_classifier)\..*|{COUNTER})"
)
"""Of training tasks, and poolers trained with them: left unread."""
_NO_POOLER: Final = {"add_pooling_layer": False}


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture."""

    class_name: str
    """Of transformers."""
    readers: Mapping[str, Opener]
    """By modality; those of one model share a space."""
    ignored: str
    """Regular expression of tensors beside the network's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the class."""


FAMILIES: Final[Mapping[str, Family]] = {
    "clip": Family(
        "CLIPModel",
        {"visual": vision_language_models.clip_pictures, "text": vision_language_models.clip_texts},
        COUNTER,
    ),
    "siglip": Family(
        "SiglipModel",
        {"visual": vision_language_models.siglip_pictures, "text": vision_language_models.siglip_texts},
        COUNTER,
    ),
    "clap": Family(
        "ClapModel", {"audio": sound_models.clap_sounds, "text": sound_models.clap_texts}, COUNTER
    ),
    "audio-spectrogram-transformer": Family("ASTModel", {"audio": sound_models.ast_sounds}, HEADS),
    "resnet": Family("ResNetModel", {"visual": image_models.resnet_pictures}, HEADS),
    "vit": Family("ViTModel", {"visual": image_models.vit_pictures}, HEADS, _NO_POOLER),
    "dinov2": Family("Dinov2Model", {"visual": image_models.dinov2_pictures}, HEADS),
    "bert": Family("BertModel", {"text": text_models.bert_texts}, HEADS, _NO_POOLER),
    "distilbert": Family("DistilBertModel", {"text": text_models.bert_texts}, HEADS),
    "mpnet": Family("MPNetModel", {"text": text_models.roberta_texts}, HEADS, _NO_POOLER),
    "roberta": Family("RobertaModel", {"text": text_models.roberta_texts}, HEADS, _NO_POOLER),
    "xlm-roberta": Family("XLMRobertaModel", {"text": text_models.roberta_texts}, HEADS, _NO_POOLER),
}
"""By the model_type of config.json."""


def family_of(directory: Path, model_type: str) -> Family:
    """The architecture of a model.

    Raises:
        BadInput: one that is not supported.
    """
    if model_type not in FAMILIES:
        raise BadInput(
            f"{directory} holds a model of type {model_type}; supported are {', '.join(FAMILIES)}. "
            "Any other can be brought as package.module:ClassName"
        )
    return FAMILIES[model_type]
