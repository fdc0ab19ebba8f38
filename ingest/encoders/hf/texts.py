"""Texts to a network's input: one row a text, those of similar length together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from features.errors import BadInput
from ingest.encoders.hf.batching import Batch
from ingest.encoders.hf.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class TextReader:
    """How a model reads texts: one row a text."""

    tokenizer: Tokenizer
    dim: int
    network: Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]
    """(model, tokens (n, t), mask (n, t)) -> (n, dim)."""
    full: bool = False
    """Whether every text is filled up to the longest, as a network wants it that was trained so."""

    def batches(self, items: Sequence[Any], size: int, device: torch.device) -> Iterator[Batch]:
        """Tokens of all texts; an empty one has none."""
        wrong = next((type(text).__name__ for text in items if not isinstance(text, str)), None)
        if wrong:
            raise BadInput(f"a text is a {wrong}; expected str")
        tokens = self.tokenizer.encode(list(items))
        order = sorted((i for i, ids in enumerate(tokens) if ids), key=lambda i: len(tokens[i]))
        for at in range(0, len(order), size):
            places = order[at : at + size]
            yield self._fill(places, [tokens[place] for place in places], device)

    def vectors(self, model: Any, batch: Batch) -> torch.Tensor:
        """(n, dim), one a text."""
        assert batch.mask is not None
        return self.network(model, batch.inputs, batch.mask)

    def _fill(self, places: list[int], tokens: list[list[int]], device: torch.device) -> Batch:
        width = self.tokenizer.longest if self.full else max(map(len, tokens))
        pad = self.tokenizer.pad
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in tokens], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in tokens], device=device)
        return Batch(places, ids, mask)
