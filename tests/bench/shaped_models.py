"""CLIP ViT-B/32 and CLAP HTSAT-tiny as published, but with random weights: they cost what trained ones do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS: Final = ("red", "blue", "drums", "sea", "night", "cat", "dog", "sings", "slowly", "in", "the", "rain")


def save_clip(folder: Path) -> Path:
    """CLIP ViT-B/32: 151 million weights; 77 tokens."""
    text = {"bos_token_id": 49_406, "eos_token_id": 49_407, "pad_token_id": 49_407}
    hf.CLIPImageProcessorPil().save_pretrained(folder)
    _save_tokenizer(folder, 49_406, 49_407, "[EOS]", {})
    return _save(hf.CLIPModel, hf.CLIPConfig(text_config=text), folder)


def save_clap(folder: Path) -> Path:
    """CLAP with an HTSAT-tiny and a RoBERTa-base: 153 million weights; 10 s at 48 kHz."""
    hf.ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50).save_pretrained(folder)
    _save_tokenizer(folder, 0, 2, "[PAD]", {"[PAD]": 1, "[UNK]": 3})
    return _save(hf.ClapModel, hf.ClapConfig(), folder)


def _save(model: Any, config: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    model(config).save_pretrained(folder)
    return folder


def _save_tokenizer(folder: Path, begin: int, end: int, pad: str, more: dict[str, int]) -> None:
    special = {"[UNK]": 0, "[BOS]": begin, "[EOS]": end, **more}
    tokenizer = Tokenizer(
        models.WordLevel(special | {word: 10 + i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [("[BOS]", begin), ("[EOS]", end)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=marks)
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token=pad)
    fast.save_pretrained(folder)


SHAPES: Final[dict[str, Callable[[Path], Path]]] = {"clip": save_clip, "clap": save_clap}
"""By name on the command line."""
