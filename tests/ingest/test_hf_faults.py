"""A model's directory that is wrong or not whole is refused in one sentence: what is there, what to do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from features.errors import BadInput
from ingest.encoders.hf import open_hf
from ingest.encoders.hf.tokens import read_tokenizer
from tests.ingest import hf_tiny as tiny

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_clip(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_text(tmp_path_factory.mktemp("sentences"), "bert")


@pytest.fixture
def sharded(whole: Path, tmp_path: Path) -> Path:
    """The same model in several files."""
    folder = shutil.copytree(whole, tmp_path / "sharded")
    (folder / "model.safetensors").unlink()
    hf.CLIPModel.from_pretrained(whole).save_pretrained(folder, max_shard_size="8KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text) and None


def edit(name: str, **fields: Any) -> Damage:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickle_only(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def change_tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Damage:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path, {"format": "pt"})

    return apply


WEIGHTS = "model.safetensors"
LOGITS = "text_projection.weight"
DAMAGED: dict[str, tuple[Damage, str]] = {
    "a pickle alone": (
        pickle_only,
        r"as pytorch_model\.bin and not as model\.safetensors; only safetensors are read",
    ),
    "no weights": (remove(WEIGHTS), r"holds no model\.safetensors and no .*copy the model's weights there"),
    "no config": (remove("config.json"), r"holds no config\.json"),
    "no preprocessor": (remove("preprocessor_config.json"), r"holds no preprocessor_config\.json"),
    "no tokenizer": (remove("tokenizer.json"), r"holds no tokenizer\.json.*save_pretrained"),
    "another architecture": (
        edit("config.json", model_type="whisper"),
        "of type whisper; supported are clip, siglip",
    ),
    "no architecture": (write("config.json", "{}"), "names no model_type"),
    "a config that is no JSON": (write("config.json", "{"), r"config\.json cannot be read as JSON"),
    "a config that is a list": (write("config.json", "[]"), "holds a list where a JSON object belongs"),
    "half of the weights' file": (cut, r"has \d+ bytes where its header promises \d+; fetch it again"),
    "an empty weights' file": (write(WEIGHTS, ""), r"no whole safetensors file \(0 bytes\)"),
    "a pointer to weights": (write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "a page in place of weights": (write(WEIGHTS, "<html>" * 99), "no whole safetensors file"),
    "a header that is no JSON": (
        lambda folder: (folder / WEIGHTS).write_bytes((4).to_bytes(8, "little") + b"{{{{") and None,
        "its header cannot be read",
    ),
    "a tensor that is missing": (
        change_tensors(lambda t: {k: v for k, v in t.items() if k != LOGITS}),
        rf"1 tensors of CLIPModel are missing \({LOGITS}\)",
    ),
    "a tensor too many": (
        change_tensors(lambda t: {**t, "adapter.weight": torch.zeros(2)}),
        r"1 tensors of CLIPModel are unexpected \(adapter\.weight\)",
    ),
    "a tensor of another shape": (
        change_tensors(lambda t: {**t, LOGITS: torch.zeros(3, 3)}),
        rf"1 tensors of CLIPModel are of another shape \({LOGITS}\)",
    ),
    "a tokenizer that is none": (write("tokenizer.json", "{}"), r"tokenizer\.json is no tokenizer"),
    "texts without room for a word": (
        edit("tokenizer_config.json", model_max_length=2),
        "cuts texts to 2 tokens, and 2 of them mark begin and end; at least 3 are needed",
    ),
    "a setting that is no number": (
        edit("preprocessor_config.json", rescale_factor="small"),
        "its settings for visual cannot be read: could not convert string to float: 'small'",
    ),
    "pictures of another size": (
        edit("preprocessor_config.json", crop_size={"height": 40, "width": 32}),
        "prepared as 40 x 32, and the network wants 32 x 32",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_model_is_refused_by_name(name: str, whole: Path, tmp_path: Path) -> None:
    damage, sentence = DAMAGED[name]
    folder = shutil.copytree(whole, tmp_path / "model")
    damage(folder)
    with pytest.raises(BadInput, match=sentence) as refusal:
        open_hf(str(folder))
    assert "\n" not in str(refusal.value)


def test_a_model_in_shards_is_the_same_model(whole: Path, sharded: Path) -> None:
    one, other = (open_hf(str(path)).encode("text", ["red drums"]) for path in (whole, sharded))
    assert np.abs(one - other).max() <= 1e-6  # they lie in memory elsewhere: sums in another order


def last_shard(folder: Path) -> Path:
    return max(folder.glob("model-*.safetensors"))


def test_a_shard_that_is_missing_half_there_or_foreign_is_named(sharded: Path) -> None:
    shard = last_shard(sharded)
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2 + 8])
    with pytest.raises(BadInput, match=rf"{shard.name} (has \d+ bytes where its header|is no whole)"):
        open_hf(str(sharded))
    shard.unlink()
    with pytest.raises(BadInput, match=rf"{shard.name} is missing, and .*index\.json names it"):
        open_hf(str(sharded))
    save_file({"other": torch.zeros(1)}, shard)
    with pytest.raises(BadInput, match=rf"{shard.name} lacks .*which .*index\.json promises"):
        open_hf(str(sharded))


def test_an_index_that_names_files_elsewhere_is_refused(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/weights.safetensors"}}))
    with pytest.raises(BadInput, match="which is no file beside it"):
        open_hf(str(sharded))
    index.write_text("{}")
    with pytest.raises(BadInput, match="has no weight_map"):
        open_hf(str(sharded))


def test_weights_that_give_no_numbers_are_refused_and_give_no_vector(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "model")
    change_tensors(lambda t: {**t, LOGITS: torch.full_like(t[LOGITS], torch.nan)})(folder)
    with pytest.raises(BadInput, match="text vectors that are no numbers"):
        open_hf(str(folder)).encode("text", ["red"])


def test_code_beside_the_weights_is_never_run(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "model")
    edit("config.json", auto_map={"AutoModel": "modeling_x.X", "AutoConfig": "modeling_x.C"})(folder)
    (folder / "modeling_x.py").write_text("raise SystemExit('this code was run')")
    assert open_hf(str(folder)).dims == {"visual": 12, "text": 12}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"modules.json": [{"type": "sentence_transformers.models.Dense"}]},
            "names Dense; known are Transformer",
        ),
        ({"modules.json": [{"type": "sentence_transformers.models.Pooling"}]}, "no 1_Pooling/config.json"),
        ({"modules.json": {"a": 1}}, "cannot be read as a list of modules"),
        ({"1_Pooling/config.json": {"pooling_mode": "lasttoken"}}, "pools tokens by lasttoken"),
        (
            {"1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
            "pools tokens by cls, mean",
        ),
    ],
    ids=["dense", "no pooling", "no list", "last token", "two at once"],
)
def test_a_pooling_that_is_not_known_is_named(
    files: dict[str, Any], sentence: str, sentences: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(sentences, tmp_path / "model")
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(BadInput, match=sentence):
        open_hf(str(folder))


@pytest.mark.parametrize("mode", ["cls", "max", "mean", "mean_sqrt_len_tokens"])
def test_a_pooling_that_is_known_is_followed(mode: str, sentences: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sentences, tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    model = hf.AutoModel.from_pretrained(folder).eval()
    ids = read_tokenizer(folder, {}, 16).encode(["red blue cat"])
    with torch.no_grad():
        states = model(input_ids=torch.tensor(ids)).last_hidden_state[0].numpy()
    pooled = {"cls": states[0], "max": states.max(0)}.get(mode, states.mean(0))
    found = open_hf(str(folder)).encode("text", ["red blue cat", "sea " * 20])[0]
    assert np.abs(found - pooled / np.linalg.norm(pooled)).max() <= 1e-5


def test_a_path_that_is_no_directory_and_no_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="is a file; give the directory"):
        open_hf(str(tmp_path / "model.safetensors"))
    for source in (str(tmp_path / "nowhere"), "./a/b", "a/b/c", "name", ""):
        with pytest.raises(BadInput, match=r"is no directory, and no hub's name|holds no config\.json"):
            open_hf(source)


def test_settings_of_the_caller_that_make_no_sense_are_named(whole: Path) -> None:
    with pytest.raises(BadInput, match="batch_size is 0; it is at least 1"):
        open_hf(str(whole), batch_size=0)
    with pytest.raises(BadInput, match="device 'tpu9' is not known"):
        open_hf(str(whole), device="tpu9")
    with pytest.raises(BadInput, match="a text is a NoneType; expected str"):
        open_hf(str(whole)).encode("text", ["red", None])


def test_without_the_extra_the_command_that_installs_it_is_named(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadInput, match=r"needs transformers; run: pip install 'reelrank\[hf\]'"):
        open_hf(str(whole))
