"""Raw descriptor of words: hashed words and character n-grams. In NumPy, for servers without torch.

Source: signed feature hashing, Weinberger et al., ICML 2009, section 2; the character n-grams of a marked
word follow Bojanowski et al., TACL 2017, section 3.2: they let "cooking" meet "cooked" and a misspelt word
its right form.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from features.contracts import Floats

TEXT_VERSION = "words-1"
WORD_BUCKETS = 1024
CHAR_BUCKETS = 1024
TEXT_BLOCKS = (("words", WORD_BUCKETS), ("characters", CHAR_BUCKETS))
MAX_CHARACTERS = 4096
"""Of each field; the rest of a longer text adds cost and no meaning."""
DESCRIPTION_WEIGHT = 0.5
GRAM_SIZES = (3, 4, 5)
DROPPED = frozenset({"Mn", "Cf", "Cs", "Cc"})
"""Unicode categories that carry no word: accents, joiners, lone surrogates, controls."""

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_MIX = 0x9E3779B1


def describe_text(
    title: str | None, description: str | None = None, tags: list[str] | None = None
) -> Floats | None:
    """Signed, hashed, damped counts of words and character n-grams.

    Args:
        title: free text; any language, any length.
        description: free text; counts half.
        tags: words.

    Returns:
        float32, (2048,): words, then character n-grams. None where no letter, digit or symbol is left.

    Example:
        >>> describe_text("Blue drums").shape
        (2048,)
        >>> describe_text("  ...  ", "", []) is None
        True
    """
    weights = _weigh_tokens(((title, 1.0), (description, DESCRIPTION_WEIGHT), (" ".join(tags or ()), 1.0)))
    if not weights:
        return None
    words, characters = np.zeros(WORD_BUCKETS), np.zeros(CHAR_BUCKETS)
    for token, weight in weights.items():
        damped = 1.0 + np.log(weight) if weight > 1.0 else weight
        _add(words, token, damped)
        grams = _grams(token)
        for gram in grams:
            _add(characters, gram, damped / np.sqrt(len(grams)))
    return np.concatenate([words, characters]).astype(np.float32)


def tokenize(text: str) -> list[str]:
    """Case-folded words and single symbols (emoji), without punctuation, marks and joiners.

    Example:
        >>> tokenize("Crème BRÛLÉE, 5 min! 🔥")
        ['creme', 'brulee', '5', 'min', '🔥']
    """
    decomposed = unicodedata.normalize("NFKD", text[:MAX_CHARACTERS]).casefold()
    bare = "".join(c for c in decomposed if c.isspace() or unicodedata.category(c) not in DROPPED)
    return [t for t in _TOKEN.findall(bare) if t[0].isalnum() or unicodedata.category(t[0]) == "So"]


def _weigh_tokens(fields: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text, weight in fields:
        for token in tokenize(text or ""):
            weights[token] = weights.get(token, 0.0) + weight
    return weights


def _grams(token: str) -> list[str]:
    marked = f"<{token[:64]}>"
    return [marked[i : i + size] for size in GRAM_SIZES for i in range(len(marked) - size + 1)] or [marked]


def _add(buckets: npt.NDArray[np.float64], feature: str, weight: float) -> None:
    mixed = (zlib.crc32(feature.encode("utf-8", "surrogatepass")) * _MIX) & 0xFFFFFFFF
    buckets[(mixed >> 8) % len(buckets)] += weight if mixed >> 31 else -weight
