"""CLAP, sounds and texts in one space, and AST, sounds alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from features.errors import BadInput
from ingest.encoders.hf.ast_fbank import ast_fbank
from ingest.encoders.hf.clap_mel import clap_mel
from ingest.encoders.hf.settings import read_processor
from ingest.encoders.hf.sounds import SoundReader
from ingest.encoders.hf.text_models import offset_tokenizer
from ingest.encoders.hf.texts import TextReader


def clap_sounds(directory: Path, config: Any) -> SoundReader:
    """Of CLAP, projected; no window is "longer", see `clap_mel`.

    Raises:
        BadInput: settings of another size than the network's.
    """

    def network(model: Any, mels: torch.Tensor) -> torch.Tensor:
        longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=mels.device)
        states = model.audio_model(input_features=mels, is_longer=longer)
        return F.normalize(model.audio_projection(states.pooler_output), dim=-1)

    mel = clap_mel(read_processor(directory, "feature_extractor"), bool(config.audio_config.enable_fusion))
    if mel.mels != config.audio_config.num_mel_bins:
        raise BadInput(
            f"{directory}: sounds are prepared in {mel.mels} bands, and the network wants "
            f"{config.audio_config.num_mel_bins}; its two settings files belong to two models"
        )
    return SoundReader(mel, config.projection_dim, network)


def clap_texts(directory: Path, config: Any) -> TextReader:
    """Of CLAP, projected."""

    def network(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = model.text_model(input_ids=ids, attention_mask=mask)
        return F.normalize(model.text_projection(states.pooler_output), dim=-1)

    return TextReader(offset_tokenizer(directory, config.text_config), config.projection_dim, network)


def ast_sounds(directory: Path, config: Any) -> SoundReader:
    """Of AST: the mean of its two class tokens after the last layer norm.

    Raises:
        BadInput: settings of another size than the network's.
    """

    def network(model: Any, banks: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(input_values=banks).pooler_output
        return found

    bank = ast_fbank(read_processor(directory, "feature_extractor"))
    if (bank.frames, bank.mels) != (config.max_length, config.num_mel_bins):
        raise BadInput(
            f"{directory}: sounds are prepared as {bank.frames} x {bank.mels}, and the network wants "
            f"{config.max_length} x {config.num_mel_bins}; its two settings files belong to two models"
        )
    return SoundReader(bank, config.hidden_size, network)
