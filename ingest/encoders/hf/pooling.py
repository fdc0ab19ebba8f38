"""Tokens to one vector, as sentence-transformers stores it beside a model; without it, their mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from features.errors import BadInput
from ingest.encoders.hf.settings import read_optional

FLAGS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
MODES: Final = ("mean", "cls", "max", "mean_sqrt_len_tokens")
STAGES: Final = ("Transformer", "Pooling", "Normalize")


def read_pooling(directory: Path) -> str:
    """How tokens become one vector: `mean`, `cls`, `max` or `mean_sqrt_len_tokens`.

    Vectors are of unit length here, whether the model's `modules.json` says Normalize or not.

    Raises:
        BadInput: another way, several at once, or a stage behind it that is not known.
    """
    modules = directory / "modules.json"
    stages = _read_stages(modules) if modules.is_file() else []
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise BadInput(f"{modules} names {', '.join(unknown)}; known are {', '.join(STAGES)}")
    found = read_optional(directory / "1_Pooling" / "config.json")
    if "Pooling" in stages and not found:
        raise BadInput(f"{directory} holds no 1_Pooling/config.json, and modules.json names it; fetch it")
    modes = _modes(found)
    if len(modes) != 1 or modes[0] not in MODES:
        raise BadInput(f"{directory} pools tokens by {', '.join(modes)}; known is one of {', '.join(MODES)}")
    return modes[0]


def _read_stages(path: Path) -> list[str]:
    try:
        return [str(module["type"]).rsplit(".", 1)[-1] for module in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} cannot be read as a list of modules: {error}; fetch it again") from error


def _modes(found: Mapping[str, Any]) -> list[str]:
    said = found.get("pooling_mode")
    if said:
        return [said] if isinstance(said, str) else list(said)
    return [mode for flag, mode in FLAGS.items() if found.get(flag)] or ["mean"]


def pool(tokens: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """(n, d), of tokens (n, t, d) that the mask (n, t) keeps; at least one of each row."""
    if mode == "cls":
        return tokens[:, 0]
    kept = mask[:, :, None].to(tokens.dtype)
    if mode == "max":
        return tokens.masked_fill(kept == 0, -torch.inf).amax(dim=1)
    total, many = (tokens * kept).sum(dim=1), kept.sum(dim=1)
    return total / (many.sqrt() if mode == "mean_sqrt_len_tokens" else many)
