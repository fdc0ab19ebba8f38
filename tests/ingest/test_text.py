"""Words to numbers: any language, any length, no torch."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import Floats
from ingest.encoders.text import TEXT_BLOCKS, describe_text, tokenize

SIZE = sum(size for _, size in TEXT_BLOCKS)


def cosine(a: str, b: str) -> float:
    left, right = describe_text(a), describe_text(b)
    assert left is not None
    assert right is not None
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_finite_numbers_or_nothing(text: str) -> None:
    raw = describe_text(text)
    assert (raw is None) == (not tokenize(text))
    if raw is not None:
        assert raw.shape == (SIZE,)
        assert raw.dtype == np.float32
        assert np.isfinite(raw).all()


@pytest.mark.parametrize("nothing", ["", "   ", "...!?", "\u200d\u200b", "\ud800", "___"])
def test_text_without_a_word_is_no_text(nothing: str) -> None:
    assert describe_text(nothing, nothing, [nothing]) is None
    assert describe_text(None) is None


@pytest.mark.parametrize(
    "odd", ["🔥🔥", "مرحبا بالعالم", "шум дождя", "雨の音", "x" * 100_000, "a b " * 25_000]
)
def test_emoji_other_scripts_and_huge_texts_are_described(odd: str) -> None:
    raw = describe_text(odd)
    assert raw is not None
    assert raw.any()


def test_case_accents_and_punctuation_do_not_matter() -> None:
    assert cosine("Crème Brûlée!", "creme, brulee") == pytest.approx(1.0, abs=1e-5)


def test_shared_words_and_shared_stems_bring_texts_together() -> None:
    assert (
        cosine("calm ocean waves", "ocean waves at night")
        > cosine("calm ocean waves", "spicy noodle recipe") + 0.2
    )
    assert cosine("cooking", "cooked") > cosine("cooking", "drumming") > cosine("cooking", "galaxy") - 0.1


def test_a_description_counts_less_than_a_title() -> None:
    def share(raw: Floats | None) -> float:
        only = describe_text("ocean")
        assert raw is not None
        assert only is not None
        return float(raw @ only / np.linalg.norm(raw) / np.linalg.norm(only))

    assert share(describe_text("ocean", "noodle")) > share(describe_text("noodle", "ocean"))
    assert share(describe_text("ocean", None, ["noodle"])) == pytest.approx(
        share(describe_text("noodle", None, ["ocean"])), abs=1e-6
    )


def test_words_are_the_same_in_every_process_and_need_no_torch() -> None:
    code = (
        "import sys, hashlib; from ingest.encoders.text import describe_text; import ingest.encoders.query;"
        "assert 'torch' not in sys.modules;"
        "print(hashlib.sha256(describe_text('blue drums', 'at night', ['sea']).tobytes()).hexdigest())"
    )
    seen = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(seen) == 1
