"""BERT and its kin, pooled as sentence-transformers stored it. MiniLM is a BERT to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ingest.encoders.hf.pooling import pool, read_pooling
from ingest.encoders.hf.texts import TextReader
from ingest.encoders.hf.tokens import Tokenizer, read_tokenizer


def bert_texts(directory: Path, config: Any) -> TextReader:
    """Of a model that counts places from 0."""
    return _sentences(directory, config, plain_tokenizer(directory, config))


def roberta_texts(directory: Path, config: Any) -> TextReader:
    """Of a model that counts places from behind its filling token."""
    return _sentences(directory, config, offset_tokenizer(directory, config))


def plain_tokenizer(directory: Path, config: Any) -> Tokenizer:
    """For as many tokens as there are places."""
    return read_tokenizer(directory, config.to_dict(), config.max_position_embeddings)


def offset_tokenizer(directory: Path, config: Any) -> Tokenizer:
    """The same, for RoBERTa and its kin, whose first places are never used."""
    places = config.max_position_embeddings - config.pad_token_id - 1
    return read_tokenizer(directory, config.to_dict(), places)


def _sentences(directory: Path, config: Any, tokenizer: Tokenizer) -> TextReader:
    mode = read_pooling(directory)

    def network(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, mode)

    return TextReader(tokenizer, config.hidden_size, network)
