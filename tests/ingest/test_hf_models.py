"""Each supported architecture, as a tiny model in the real format: its vectors are those of transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from features.contracts import Floats
from features.errors import BadInput
from ingest.encoders.hf import open_hf
from ingest.encoders.hf.encoder import HuggingFaceEncoder
from ingest.encoders.vectors import ModelEncoder
from tests.ingest import hf_tiny as tiny

MAKERS: dict[str, Callable[[Path], Path]] = {
    "clip": tiny.save_clip,
    "siglip": tiny.save_siglip,
    "clap": tiny.save_clap,
    "clap, fusion": partial(tiny.save_clap, fusion=True),
    "ast": tiny.save_ast,
    "resnet": tiny.save_resnet,
    "vit": tiny.save_vit,
    "dinov2": tiny.save_dinov2,
    **{name: partial(tiny.save_text, name=name) for name in tiny.TEXT_MODELS},
}
READS = {"clip": "visual text", "siglip": "visual text", "clap": "audio text", "clap, fusion": "audio text"}
READS |= {"ast": "audio", "resnet": "visual", "vit": "visual", "dinov2": "visual"}
PAIRS = [(name, modality) for name in MAKERS for modality in READS.get(name, "text").split()]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a tiny model, saved once."""
    saved: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in saved:
            saved[name] = MAKERS[name](tmp_path_factory.mktemp("hf"))
        return saved[name]

    return find


def items(modality: str) -> list[Any]:
    """Usual ones, of several lengths and sizes, and such that carry nothing."""
    rng = np.random.default_rng(5)
    if modality == "visual":
        sizes = [(3, 40, 64), (1, 32, 32), (0, 8, 8), (5, 90, 33), (2, 0, 9), (1, 1, 1)]
        return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    if modality == "audio":
        found = [
            (0.3 * rng.normal(size=n).astype(np.float32), rate) for n, rate in ((9000, 8000), (4000, 16_000))
        ]
        return [
            *found,
            (np.zeros(800, np.float32), 8000),
            (found[0][0][:99], 48_000),
            (found[1][0][:3], 16_000),
        ]
    return [
        "red blue drums",
        "",
        "cat",
        " \n\t",
        "a dog sings slowly , in the rain . " * 9,
        "🔥 שלום",
        "xyzzy",
    ]


EMPTY = {"visual": [2, 4], "audio": [2], "text": [1, 3]}


@pytest.mark.parametrize(("name", "modality"), PAIRS)
def test_an_item_has_a_unit_vector_and_one_that_carries_nothing_a_zero_row(
    model_of: Callable[[str], Path], name: str, modality: str
) -> None:
    encoder = open_hf(str(model_of(name)))
    rows = encoder.encode(modality, items(modality))
    assert rows.dtype == np.float32
    assert rows.shape == (len(items(modality)), encoder.dims[modality])
    lengths = np.linalg.norm(rows, axis=1)
    assert [i for i, length in enumerate(lengths) if length == 0.0] == EMPTY[modality]
    assert np.allclose(lengths[lengths > 0.0], 1.0, atol=1e-6)
    assert encoder.encode(modality, []).shape == (0, encoder.dims[modality])


@pytest.mark.parametrize(("name", "modality"), PAIRS)
def test_a_vector_does_not_depend_on_what_else_is_computed(
    model_of: Callable[[str], Path], name: str, modality: str
) -> None:
    path, some = str(model_of(name)), items(modality)
    together = open_hf(path, batch_size=64).encode(modality, some)
    one_by_one = open_hf(path, batch_size=1)
    alone = np.concatenate([one_by_one.encode(modality, [item]) for item in some])
    assert np.abs(together - alone).max() <= 1e-5
    turned = open_hf(path, batch_size=3).encode(modality, some[::-1])[::-1]
    assert np.abs(together - turned).max() <= 1e-5


def unit(rows: Any) -> Floats:
    found: Floats = rows.detach().numpy()
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["clip", "siglip", "resnet", "vit", "dinov2"])
def test_a_frames_vector_is_that_of_transformers_and_a_videos_the_mean_over_frames(
    model_of: Callable[[str], Path], name: str
) -> None:
    path = model_of(name)
    frames = items("visual")[0]
    pixels = hf.AutoImageProcessor.from_pretrained(path, backend="pil")(
        list(frames), return_tensors="pt", input_data_format="channels_last"
    )["pixel_values"]
    model = hf.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        if name in ("clip", "siglip"):
            each = unit(model.get_image_features(pixel_values=pixels).pooler_output)
        elif name == "resnet":
            each = unit(model(pixel_values=pixels).pooler_output[:, :, 0, 0])
        else:
            each = unit(model(pixel_values=pixels).last_hidden_state[:, 0])
    found = open_hf(str(path)).encode("visual", [*(frame[None] for frame in frames), frames])
    mean = each.mean(axis=0)
    assert np.abs(found[:-1] - each).max() <= 1e-4
    assert np.abs(found[-1] - mean / np.linalg.norm(mean)).max() <= 1e-4


@pytest.mark.parametrize("name", ["clap", "clap, fusion", "ast"])
def test_a_sounds_vector_is_that_of_transformers(model_of: Callable[[str], Path], name: str) -> None:
    path = model_of(name)
    rate = 16_000 if name == "ast" else 8000
    wave = (0.2 * np.random.default_rng(1).normal(size=rate // 3)).astype(np.float32)
    prepared = hf.AutoFeatureExtractor.from_pretrained(path)(wave, sampling_rate=rate, return_tensors="pt")
    model = hf.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        if name == "ast":
            expected = unit(model(input_values=prepared["input_values"]).pooler_output)
        else:
            longer = torch.zeros(1, 1, dtype=torch.bool)
            heard = model.get_audio_features(input_features=prepared["input_features"], is_longer=longer)
            expected = unit(heard.pooler_output)
    found = open_hf(str(path)).encode("audio", [(wave, rate)])
    assert np.abs(found - expected).max() <= 1e-4


@pytest.mark.parametrize("name", [name for name, modality in PAIRS if modality == "text"])
def test_a_texts_vector_is_that_of_transformers(model_of: Callable[[str], Path], name: str) -> None:
    path, texts = model_of(name), ["red blue drums", "cat", "a dog sings slowly , in the rain . " * 9]
    encoder = open_hf(str(path))
    longest = encoder.readers["text"].tokenizer.longest  # type: ignore[union-attr]
    tokenizer = hf.AutoTokenizer.from_pretrained(path)
    tokens = tokenizer(
        texts,
        return_tensors="pt",
        truncation=True,
        max_length=longest,
        padding="max_length" if name == "siglip" else True,
        return_token_type_ids=False,
    )
    model = hf.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        if name == "siglip":
            expected = model.get_text_features(input_ids=tokens["input_ids"]).pooler_output
        elif name.startswith("cl"):
            expected = model.get_text_features(**tokens).pooler_output
        else:
            kept = tokens["attention_mask"][:, :, None]
            expected = (model(**tokens).last_hidden_state * kept).sum(1) / kept.sum(1)
    assert np.abs(encoder.encode("text", texts) - unit(expected)).max() <= 1e-4


def test_a_text_of_100_kb_is_cut_to_what_the_model_reads(model_of: Callable[[str], Path]) -> None:
    encoder = open_hf(str(model_of("bert")))
    long = "red drums " * 10_000
    rows = encoder.encode("text", [long, " ".join(long.split()[:14]), "\ud800 red"])
    assert np.abs(rows[0] - rows[1]).max() <= 1e-6
    assert np.isfinite(rows).all()


def test_siglips_own_tokenizer_folds_case_and_leaves_punctuation_out(
    model_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_of("siglip"), tmp_path / "model")
    settings = folder / "tokenizer_config.json"
    said = json.loads(settings.read_text()) | {"tokenizer_class": "SiglipTokenizer"}
    settings.write_text(json.dumps(said))
    rows = open_hf(str(folder)).encode("text", ["Red, (BLUE)  cat!", "red blue cat", "?!"])
    assert np.abs(rows[0] - rows[1]).max() <= 1e-6
    assert not rows[2].any()


def test_a_long_sounds_vector_is_the_mean_over_its_windows(model_of: Callable[[str], Path]) -> None:
    encoder = open_hf(str(model_of("clap")))
    wave = (0.2 * np.random.default_rng(2).normal(size=24_000)).astype(np.float32)
    parts = encoder.encode("audio", [(wave[at : at + 8000], 8000) for at in (0, 8000, 16_000)])
    mean = parts.mean(axis=0)
    assert np.abs(encoder.encode("audio", [(wave, 8000)])[0] - mean / np.linalg.norm(mean)).max() <= 1e-5


def test_modalities_of_one_model_share_a_space_and_can_be_chosen(model_of: Callable[[str], Path]) -> None:
    path = str(model_of("clip"))
    both, words = open_hf(path), open_hf(path, modalities=("text",))
    assert both.shared == ("visual", "text")
    assert (words.shared, words.dims) == ((), {"text": 12})
    assert both.encoder_version == words.encoder_version
    assert open_hf(str(model_of("vit"))).shared == ()
    with pytest.raises(BadInput, match="reads text, not visual"):
        words.encode("visual", [])
    with pytest.raises(BadInput, match="reads visual, text, not audio"):
        open_hf(path, modalities=("audio",))


def test_the_version_names_the_content_and_not_the_place(
    model_of: Callable[[str], Path], tmp_path: Path
) -> None:
    first = model_of("clip")
    copy = shutil.copytree(first, tmp_path / "elsewhere")
    version = open_hf(str(first)).encoder_version
    assert version.startswith("hf-clip-")
    assert len(version) == len("hf-clip-") + 8
    assert open_hf(str(copy)).encoder_version == version
    settings = copy / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace('"resample": 3', '"resample": 2'))
    assert open_hf(str(copy)).encoder_version != version


def test_the_vectors_pass_the_checks_that_every_model_of_ingest_passes(
    model_of: Callable[[str], Path],
) -> None:
    encoder: HuggingFaceEncoder = open_hf(str(model_of("clap")))
    texts = ModelEncoder(encoder, "hf:clap").describe_texts(
        [("red drums", None, ["sea"]), (None, None, None)]
    )
    assert texts[0] is not None
    assert texts[1] is None
