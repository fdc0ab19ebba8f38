"""Tiny models of every supported architecture, random weights, saved in the real format by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = [
    "a",
    "b",
    "red",
    "blue",
    "drums",
    "sea",
    "night",
    "cat",
    "dog",
    "sings",
    "slowly",
    "in",
    "the",
    "rain",
]
WORDS += [",", ".", "🔥", "שלום"]
SIDE = 32
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 64,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}


def save_clip(folder: Path) -> Path:
    text = {**TEXT, "max_position_embeddings": 12, "bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 4}
    config = hf.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)
    save_tokenizer(folder, begin=("[BOS]", 3), end=("[EOS]", 4), pad="[EOS]")
    hf.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return save_model(hf.CLIPModel(config), folder)


def save_siglip(folder: Path) -> Path:
    text = {**TEXT, "max_position_embeddings": 10, "eos_token_id": 4, "bos_token_id": 3, "pad_token_id": 4}
    config = hf.SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=VISION)
    save_tokenizer(folder, end=("[EOS]", 4), pad="[EOS]")
    hf.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return save_model(hf.SiglipModel(config), folder)


def save_clap(folder: Path, fusion: bool = False) -> Path:
    text = {**TEXT, "max_position_embeddings": 16, "pad_token_id": 1, "projection_dim": 12}
    audio = {
        "spec_size": 64,
        "num_mel_bins": 32,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 2,
        "patch_embeds_hidden_size": 8,
        "hidden_size": 32,
        "depths": [1, 1, 1],
        "num_attention_heads": [2, 2, 2],
        "projection_dim": 12,
        "enable_fusion": fusion,
        "fusion_type": "aff_2d" if fusion else None,
        "aff_block_r": 2,
    }
    config = hf.ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    save_tokenizer(folder, begin=("[BOS]", 3), end=("[EOS]", 4), pad="[PAD]")
    clap_extractor(fusion).save_pretrained(folder)
    return save_model(hf.ClapModel(config), folder)


def clap_extractor(fusion: bool = False, **more: Any) -> Any:
    """Of 1 s at 8 kHz: 65 frames."""
    settings = {
        "feature_size": 32,
        "sampling_rate": 8000,
        "hop_length": 125,
        "max_length_s": 1,
        "fft_window_size": 512,
        "frequency_min": 50,
        "frequency_max": 4000,
        "truncation": "fusion" if fusion else "rand_trunc",
    }
    return hf.ClapFeatureExtractor(**{**settings, **more})


def save_ast(folder: Path) -> Path:
    size = {k: v for k, v in TEXT.items() if k != "vocab_size"}
    config = hf.ASTConfig(
        **size, num_mel_bins=32, max_length=64, patch_size=8, frequency_stride=8, time_stride=8
    )
    hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(folder)
    return save_model(hf.ASTForAudioClassification(config), folder)


def save_resnet(folder: Path) -> Path:
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    hf.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875).save_pretrained(folder)
    return save_model(hf.ResNetForImageClassification(config), folder)


def save_vit(folder: Path) -> Path:
    hf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return save_model(hf.ViTForImageClassification(hf.ViTConfig(**VISION)), folder)


def save_dinov2(folder: Path) -> Path:
    size = {"height": SIDE, "width": SIDE}
    hf.BitImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)
    return save_model(hf.Dinov2Model(hf.Dinov2Config(**VISION)), folder)


def save_text(folder: Path, name: str) -> Path:
    """One of `TEXT_MODELS`."""
    config, model, more = TEXT_MODELS[name]
    if name in ("bert", "distilbert"):
        save_tokenizer(folder, begin=("[CLS]", 3), end=("[SEP]", 4), pad="[PAD]", pad_id=0)
    else:
        save_tokenizer(folder, begin=("[BOS]", 3), end=("[EOS]", 4), pad="[PAD]")
    return save_model(getattr(hf, model)(getattr(hf, config)(**more)), folder)


TEXT_MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertConfig", "BertModel", {**TEXT, "max_position_embeddings": 16, "pad_token_id": 0}),
    "distilbert": (
        "DistilBertConfig",
        "DistilBertModel",
        {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 64}
        | {"max_position_embeddings": 16, "pad_token_id": 0},
    ),
    "mpnet": ("MPNetConfig", "MPNetModel", {**TEXT, "max_position_embeddings": 18, "pad_token_id": 1}),
    "roberta": ("RobertaConfig", "RobertaModel", {**TEXT, "max_position_embeddings": 18, "pad_token_id": 1}),
    "xlm-roberta": (
        "XLMRobertaConfig",
        "XLMRobertaModel",
        {**TEXT, "max_position_embeddings": 18, "pad_token_id": 1},
    ),
}


def save_tokenizer(
    folder: Path,
    begin: tuple[str, int] | None = None,
    end: tuple[str, int] | None = None,
    pad: str = "[PAD]",
    pad_id: int = 1,
) -> None:
    """A word tokenizer with these special tokens, as `tokenizer.json` and its settings."""
    special = {"[UNK]": 1 - pad_id, "[PAD]": pad_id, "[X]": 2}
    special |= {token: place for token, place in (begin, end) if token} if begin and end else {}
    if end and not begin:
        special |= {"[Y]": 3, end[0]: end[1]}
    vocabulary = special | {word: len(special) + i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [mark for mark in (begin, end) if mark]
    single = " ".join([begin[0] if begin else "", "$A", end[0] if end else ""]).strip()
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token=pad, model_max_length=512
    )
    fast.save_pretrained(folder)


def save_model(model: Any, folder: Path) -> Path:
    """Random weights of a size that keeps vectors apart: as a config starts them, all vectors are alike."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                weights.copy_(torch.randn(weights.shape, generator=generator) * 0.3)
            elif "bias" in name:
                weights.copy_(torch.randn(weights.shape, generator=generator) * 0.1)
    model.eval().save_pretrained(folder)
    return folder
