"""Texts to tokens, by the tokenizer that lies beside the weights."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from features.errors import BadInput
from ingest.encoders.hf.settings import read_optional
from ingest.encoders.hf.source import library

MAX_CHARACTERS: Final = 100_000
"""Of one text; far more than any model's tokens hold."""
_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Cuts texts to the longest that the model reads."""

    model: Any
    """`tokenizers.Tokenizer`, set to truncate."""
    longest: int
    pad: int
    """Token that fills up."""
    lower: bool
    """Whether case is folded first."""
    bare: bool
    """Whether punctuation is left out first, as SigLIP's own tokenizer does in Python."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Tokens of each text, begin and end included; [] for one that holds no token of its own."""
        # One by one: in a batch, the library would start threads of its own.
        found = [self.model.encode(self._clean(text)) for text in texts]
        return [e.ids if len(e.ids) > sum(e.special_tokens_mask) else [] for e in found]

    def _clean(self, text: str) -> str:
        # A lone surrogate, as broken JSON carries it, is no character.
        text = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
        text = text.lower() if self.lower else text
        return " ".join(text.translate(_NO_PUNCTUATION).split()) if self.bare else text


def read_tokenizer(directory: Path, config: Mapping[str, Any], positions: int) -> Tokenizer:
    """The tokenizer of a model.

    Args:
        directory: of the model.
        config: of the network that reads the tokens.
        positions: tokens that it can tell apart by place.

    Raises:
        BadInput: there is none, or it gives tokens that the network does not know.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise BadInput(
            f"{directory} holds no tokenizer.json; where you can load its tokenizer, write it with "
            "AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
        )
    try:
        model = library("tokenizers").Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise BadInput(f"{path} is no tokenizer: {error}; fetch it again") from error
    known = int(config.get("vocab_size", 0)) or model.get_vocab_size()
    if model.get_vocab_size() > known:
        raise BadInput(
            f"{path} has {model.get_vocab_size()} tokens, the network {known}; they belong to two models"
        )
    said, sentences = (
        read_optional(directory / name) for name in ("tokenizer_config.json", "sentence_bert_config.json")
    )
    bounds = [positions, said.get("model_max_length"), sentences.get("max_seq_length")]
    longest = int(min(bound for bound in bounds if isinstance(bound, (int, float)) and bound > 0))
    marks = model.num_special_tokens_to_add(False)
    if longest <= marks:
        raise BadInput(
            f"{directory} cuts texts to {longest} tokens, and {marks} of them mark begin and end; at least "
            f"{marks + 1} are needed: correct model_max_length or max_seq_length"
        )
    model.no_padding()
    model.enable_truncation(longest)
    own = said.get("tokenizer_class") == "SiglipTokenizer"
    lower = bool(sentences.get("do_lower_case") or (own and said.get("do_lower_case", True)))
    return Tokenizer(model, longest, _padding(model, said, config), lower, own)


def _padding(model: Any, said: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    token = said.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    place = model.token_to_id(token) if isinstance(token, str) else None
    return int(config.get("pad_token_id") or 0) if place is None else int(place)
