"""Which encoder reads which modality, as specs on a command line say."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.contracts import Floats
from features.errors import BadInput
from features.workspace import Workspace, open_workspace
from ingest.encoders.choose import make_encoder
from ingest.encoders.compose import ComposedEncoder
from ingest.encoders.signal import SignalEncoder
from ingest.encoders.vectors import ModelEncoder, as_sentence
from ingest.pipeline import IngestSettings, ingest_videos
from ingest.space import build_space
from tests.ingest.conftest import ClipMaker


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded clip: noise that flickers and hums, by seed."""

    frames: Any
    timestamps_s: Any
    audio: Any
    sample_rate_hz: int = 16_000


def clip(seed: int = 0) -> Shown:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return Shown(frames, np.arange(3.0), rng.normal(size=16_000).astype(np.float32))


class Brightness:
    """Somebody's encoder: mean colour of a picture, length of a text; in one space."""

    encoder_version = "brightness-1"
    dims: Mapping[str, int] = MappingProxyType({"visual": 3, "text": 3})
    shared = ("visual", "text")
    batch_size = 4

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def encode(self, modality: str, items: Sequence[Any]) -> Floats:
        if modality == "visual":
            found = np.array([frames.mean(axis=(0, 1, 2)) for frames in items], np.float32)
        else:
            found = np.array([[len(text), bool(text), 0.0] for text in items], np.float32)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


class Broken(Brightness):
    """The same, whose vectors are what `answer` says."""

    answer: Any = None

    def encode(self, modality: str, items: Sequence[Any]) -> Floats:
        return self.answer(len(items))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace", create=True)


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("somebodys_encoders")
    module.Brightness, module.Broken, module.Nothing = Brightness, Broken, object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_without_a_spec_signal_reads_everything() -> None:
    for specs in ((), ("signal",)):
        encoder = make_encoder(specs)
        assert isinstance(encoder, SignalEncoder)
        assert encoder.specs == ("signal",)


def test_what_a_brought_encoder_does_not_read_signal_does(somebody: str) -> None:
    encoder = make_encoder((f"{somebody}:Brightness",))
    assert isinstance(encoder, ComposedEncoder)
    kinds = {m: type(e) for m, e in encoder.by_modality.items()}
    assert kinds == {"visual": ModelEncoder, "audio": SignalEncoder, "text": ModelEncoder}
    assert encoder.shared == ("visual", "text")


def test_one_modality_can_be_given_to_another_encoder_or_left_out(somebody: str) -> None:
    specs = (f"{somebody}:Brightness", "audio=none", "text=signal")
    encoder = make_encoder(specs)
    assert encoder.reads == ("visual", "text")
    assert encoder.specs == specs
    assert encoder.shared == ()  # picture and text are no longer of one model


def test_each_encoder_is_shown_its_own_modalities_only(somebody: str) -> None:
    one = clip()
    mixed = make_encoder((f"{somebody}:Brightness",)).describe(one)
    alone = SignalEncoder(threads=None).describe(one)
    assert mixed["visual"] == pytest.approx(Brightness().encode("visual", [one.frames])[0])
    assert np.array_equal(mixed["audio"], alone["audio"])


def test_a_brought_encoders_vectors_are_stored_as_they_are(somebody: str) -> None:
    encoder = make_encoder((f"{somebody}:Brightness",))
    raw = np.stack([found["visual"] for found in encoder.describe_many([clip(seed) for seed in range(5)])])
    assert np.allclose(encoder.fit({"visual": raw}).project("visual", raw), raw, atol=1e-6)


def test_versions_name_the_encoders_and_statistics_of_all_modalities(somebody: str) -> None:
    found = SignalEncoder(threads=None).describe_many([clip(seed) for seed in range(20)])
    audio = np.stack([one["audio"] for one in found])
    mixed, other = make_encoder((f"{somebody}:Brightness",)), make_encoder((f"visual={somebody}:Brightness",))
    assert mixed.fit({"audio": audio}).encoder_version != mixed.fit({"audio": audio[:17]}).encoder_version
    assert mixed.fit({"audio": audio}).encoder_version != other.fit({"audio": audio}).encoder_version
    assert mixed.descriptor_version == other.descriptor_version  # picture and sound are read alike
    assert mixed.text_version != other.text_version


def test_words_become_one_sentence_for_models_that_read_sentences(somebody: str) -> None:
    assert as_sentence(("Blue drums ", "", ["sea"])) == "Blue drums. sea"
    encoder = make_encoder((f"{somebody}:Brightness",))
    found = encoder.describe_texts([(None, " ", []), ("Blue", None, None)])
    assert found[0] is None
    assert found[1] is not None


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (("clip",), "'clip' is not known"),
        (("none",), "needs a modality"),
        ((":Thing",), "':Thing' is not known"),
        ((".relative:Thing",), "is not known"),
        (("hf:",), "'hf:' is not known"),
        (("image=somebodys_encoders:Brightness",), "each also as visual="),
        (("visual=none", "audio=none", "text=none"), "leaves no modality"),
        (("no_such_module_here:Thing",), "cannot be imported"),
        (("somebodys_encoders:Missing",), "cannot be imported"),
        (("somebodys_encoders:Nothing",), "cannot be made with device"),
        (("types:SimpleNamespace",), "lacks encoder_version"),
        (("audio=somebodys_encoders:Brightness",), "reads visual, text, not audio"),
        (("somebodys_encoders:Brightness", "somebodys_encoders:Broken"), "both read visual"),
        (("visual=signal", "visual=somebodys_encoders:Brightness"), "both read visual"),
    ],
)
def test_a_spec_that_cannot_be_met_is_refused_by_name(
    somebody: str, specs: tuple[str, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        make_encoder(specs)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("encoder_version", "no/slash", "calls itself 'no/slash'"),
        ("encoder_version", lambda self: "a method", "calls itself <bound method"),
        ("dims", {"smell": 3}, "reads smell"),
        ("dims", {"visual": 3, "text": 4}, "share a space; give one length"),
    ],
)
def test_an_encoder_that_contradicts_itself_is_refused_before_any_video_is_read(
    somebody: str, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, said: str
) -> None:
    monkeypatch.setattr(Broken, name, value)
    with pytest.raises(BadInput, match=said):
        make_encoder((f"{somebody}:Broken",))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda n: np.full((n, 3), np.nan, np.float32), "length nan"),
        (lambda n: np.full((n, 3), 5.0, np.float32), "length 8.66"),
        (lambda n: np.zeros((n, 4), np.float32), r"\(1, 4\)"),
        (lambda n: np.zeros((n, 3), np.float64), "float64"),
    ],
)
def test_vectors_that_nobody_could_use_are_refused_where_they_are_made(
    somebody: str, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str
) -> None:
    monkeypatch.setattr(Broken, "answer", staticmethod(answer))
    with pytest.raises(BadInput, match=said):
        make_encoder((f"{somebody}:Broken",)).describe(clip())


def test_a_catalogue_is_embedded_by_the_encoder_that_was_named(
    somebody: str, make_clip: ClipMaker, workspace: Workspace, in_process: None
) -> None:
    folder = make_clip("videos/drums at night.mp4", tone_hz=440.0).parent
    settings = IngestSettings(encoder=(f"{somebody}:Brightness",), extras=False)
    counts = ingest_videos(workspace, str(folder), settings)
    assert (counts.embedded, counts.quarantined) == (1, 0)
    assert counts.encoder_version is not None
    table = workspace.embeddings(counts.encoder_version)
    assert table.snapshot().meta["encoder"] == [f"{somebody}:Brightness"]
    assert table.snapshot().meta["shared"] == ["visual", "text"]
    [visual] = table.read(["visual"])["visual"]
    assert visual.to_list() == pytest.approx([3**-0.5] * 3, abs=0.01)  # its frames are grey


def test_another_encoder_of_words_needs_no_decoder(
    somebody: str, make_clip: ClipMaker, workspace: Workspace, in_process: None
) -> None:
    path = make_clip("videos/drums.mp4")
    manifest = path.parent / "videos.jsonl"
    manifest.write_text('{"video_id": "drums", "uri": "drums.mp4", "title": "Drums"}\n')
    first = ingest_videos(workspace, str(manifest), IngestSettings(extras=False))
    words = IngestSettings(encoder=(f"text={somebody}:Brightness",), extras=False)
    second = ingest_videos(workspace, str(manifest), words)
    assert first.encoder_version != second.encoder_version
    assert (second.decoded, second.embedded) == (0, 1)


def test_a_models_rows_of_other_settings_are_never_taken_for_those_of_these(
    somebody: str, make_clip: ClipMaker, workspace: Workspace, in_process: None
) -> None:
    one, other = make_clip("one/a.mp4").parent, make_clip("other/b.mp4", frames=30).parent

    def run(folder: Path, frames: int) -> pl.DataFrame:
        how = IngestSettings(encoder=(f"{somebody}:Brightness", "audio=none"), frames=frames)
        counts = ingest_videos(workspace, str(folder), how)
        return workspace.embeddings(str(counts.encoder_version)).read(["video_id", "frames_got"])

    assert run(one, 4).rows() == [("a.mp4", 4)]
    assert run(other, 4).rows() == [("a.mp4", 4), ("b.mp4", 4)]
    assert run(one, 2).rows() == [("a.mp4", 2)]
    assert run(other, 2).rows() == [("a.mp4", 2), ("b.mp4", 2)]


def test_words_that_changed_while_another_encoder_was_in_use_are_seen_when_the_first_comes_back(
    somebody: str, make_clip: ClipMaker, workspace: Workspace, in_process: None
) -> None:
    manifest = make_clip("videos/drums.mp4").parent / "videos.jsonl"

    def run(title: str, *encoder: str) -> tuple[str | None, list[float]]:
        manifest.write_text(f'{{"video_id": "drums", "uri": "drums.mp4", "title": "{title}"}}\n')
        counts = ingest_videos(workspace, str(manifest), IngestSettings(encoder=encoder, extras=False))
        [text] = workspace.embeddings(str(counts.encoder_version)).read(["text"])["text"]
        return counts.encoder_version, text.to_list()

    first, drums = run("Drums", "signal")
    run("Ocean", f"text={somebody}:Brightness")
    again, ocean = run("Ocean", "signal")
    assert (again, workspace.encoder_versions()[-1]) == (first, first)
    assert ocean != drums


def test_the_space_of_the_encoder_in_use_is_the_latest_also_where_it_was_built_before(
    somebody: str, make_clip: ClipMaker, workspace: Workspace, in_process: None
) -> None:
    folder = make_clip("videos/drums.mp4", tone_hz=440.0).parent

    def run(*encoder: str) -> str:
        ingest_videos(workspace, str(folder), IngestSettings(encoder=encoder, extras=False))
        return build_space(workspace).space_version

    first, other = run("signal"), run(f"visual={somebody}:Brightness")
    assert workspace.space_versions() == [first, other]
    rows = workspace.space(first).read()
    assert run("signal") == first
    assert workspace.space_versions() == [other, first]
    assert workspace.space(first).read().equals(rows)
