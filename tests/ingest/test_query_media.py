"""A picture finds pictures like it and a tone finds tones; a file that gives nothing is refused by name."""

from __future__ import annotations

import dataclasses
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from PIL import Image

from features.contracts import CATALOGUE, EMBEDDINGS, Floats, VideoTable, conform
from features.errors import BadInput, VersionMismatch
from features.videos import build_video_table
from ingest.encoders.heads import block_heads
from ingest.encoders.query import Origin, QueryEncoder
from ingest.encoders.query_media import Question, understand
from ingest.encoders.signal import SignalEncoder
from ingest.encoders.text import describe_text
from ingest.fuse import fuse

COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}
TONES_HZ = {"low": 220.0, "high": 1760.0}
RATE = 16_000
EACH = 8


@dataclass(frozen=True)
class Clip:
    """What an encoder reads."""

    frames: npt.NDArray[np.uint8] | None
    timestamps_s: npt.NDArray[np.float64] | None
    audio: Floats | None
    sample_rate_hz: int


def painted(colour: str, seed: int) -> npt.NDArray[np.uint8]:
    """A wall of one colour in coarse patches, which lossy formats keep, at the size that encoders see."""
    patches = np.random.default_rng(seed).normal(0, 12, (28, 28, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(np.array(COLOURS[colour]) + patches, 0, 255).astype(np.uint8)


def tone(pitch: str, seed: int) -> Floats:
    draw = np.random.default_rng(seed)
    t = np.arange(3 * RATE) / RATE
    sound = 0.4 * np.sin(2 * np.pi * TONES_HZ[pitch] * draw.uniform(0.95, 1.05) * t)
    return (sound + draw.normal(0, 0.01, len(t))).astype(np.float32)


@dataclass(frozen=True)
class Corpus:
    """Every colour with every tone, some titled by their colour."""

    videos: VideoTable
    query: QueryEncoder
    colours: list[str]
    pitches: list[str]

    def nearest(self, question: Question) -> list[int]:
        cosines = understand(question, self.query).cosines(self.videos)
        assert not np.isnan(cosines).any()
        return np.argsort(-cosines, kind="stable").tolist()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    made = [(c, p) for c in COLOURS for p in TONES_HZ for _ in range(EACH)]
    colours, pitches = [c for c, _ in made], [p for _, p in made]
    clips = [Clip(painted(c, i)[None], np.zeros(1), tone(p, i), RATE) for i, (c, p) in enumerate(made)]
    encoder = SignalEncoder()
    raw = encoder.describe_many(clips)
    words = [describe_text(f"{c} wall") for c in colours]
    descriptors = {name: np.stack([one[name] for one in raw]) for name in ("visual", "audio")}
    descriptors["text"] = np.stack([word for word in words if word is not None])
    fitted = encoder.fit(descriptors)
    vectors = {name: fitted.project(name, rows) for name, rows in descriptors.items()}
    vectors["text"][::2] = 0.0
    heads = block_heads(fitted.encoder_version, fitted.dims)
    origin = Origin(("signal",), encoder.descriptor_version, encoder.text_version)
    return Corpus(_table(vectors, heads), QueryEncoder(heads, fitted, origin), colours, pitches)


def _table(vectors: dict[str, Floats], heads) -> VideoTable:
    n = len(vectors["visual"])
    keys = pl.DataFrame({"video_key": range(n), "video_id": [f"v{i}" for i in range(n)]})
    fused = fuse(vectors, heads)
    space = keys.with_columns(
        pl.Series("joint", fused.joint.tolist()).cast(pl.List(pl.Float32)),
        pl.Series("mask", fused.mask, pl.UInt8),
    )
    space = space.with_columns(
        pl.lit(None, pl.Float32).alias(c) for c in ("agreement", "sound_fit", "text_fit")
    )
    embedded = keys.with_columns(
        pl.Series(name, [row.tolist() if row.any() else None for row in rows], pl.List(pl.Float32))
        for name, rows in vectors.items()
    )
    embeddings = conform(embedded, EMBEDDINGS, "embeddings")
    return build_video_table(conform(keys, CATALOGUE, "catalogue"), space, embeddings)


def write_sound(path: Path, samples: Floats) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((samples * 32_767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "avif"])
def test_a_picture_finds_videos_that_look_like_it(kind: str, corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / f"query.{kind}"
    Image.fromarray(painted("red", 999)).save(path)
    found = corpus.nearest(Question(image=path))[:EACH]
    assert {corpus.colours[i] for i in found} == {"red"}


def test_a_tone_finds_videos_that_sound_like_it(corpus: Corpus, tmp_path: Path) -> None:
    for pitch in TONES_HZ:
        path = write_sound(tmp_path / f"{pitch}.wav", tone(pitch, 999))
        found = corpus.nearest(Question(audio=path))[:EACH]
        assert {corpus.pitches[i] for i in found} == {pitch}


def test_a_picture_and_a_tone_together_find_what_has_both(corpus: Corpus, tmp_path: Path) -> None:
    picture, sound = tmp_path / "q.png", write_sound(tmp_path / "q.wav", tone("high", 998))
    Image.fromarray(painted("blue", 998)).save(picture)

    def right(question: Question) -> float:
        found = corpus.nearest(question)[:EACH]
        return float(np.mean([(corpus.colours[i], corpus.pitches[i]) == ("blue", "high") for i in found]))

    assert right(Question(image=picture, audio=sound)) >= 0.85
    assert max(right(Question(image=picture)), right(Question(audio=sound))) <= 0.7


def test_a_video_is_a_query_of_its_picture_and_its_sound_and_as_audio_of_its_sound_alone(
    corpus: Corpus, make_clip: Callable[..., Path]
) -> None:
    path = make_clip("query.mp4", frames=30, tone_hz=1760.0)
    assert understand(Question(video=path), corpus.query).modalities == ("visual", "audio")
    assert understand(Question(image=path), corpus.query).modalities == ("visual",)
    assert understand(Question(audio=path), corpus.query).modalities == ("audio",)


def test_words_on_the_command_line_are_the_words_of_the_server(corpus: Corpus) -> None:
    here, there = understand(Question("blue wall"), corpus.query), corpus.query.words("blue wall")
    assert there is not None
    np.testing.assert_array_equal(here.joint, there.joint)


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("image", None, "No such file"),
        ("image", "directory", "directory"),
        ("image", b"", "zero bytes"),
        ("image", b"no media at all" * 100, "no known container"),
        ("image", "tone", "has no picture in it"),
        ("audio", "picture", "has no sound in it"),
        ("audio", "silence", "is silent"),
        ("video", "silence", "is silent"),
    ],
)
def test_a_file_that_gives_nothing_is_refused_by_its_name(
    kind: str, content: object, said: str, corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / "query file"
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content in ("tone", "silence"):
        write_sound(path, tone("low", 1) * (content == "tone"))
    elif content == "picture":
        Image.fromarray(painted("red", 1)).save(path, format="PNG")
    with pytest.raises(BadInput, match=said) as refused:
        understand(Question(**{kind: path}), corpus.query)
    assert str(path) in str(refused.value)
    assert kind in str(refused.value)


def test_a_question_without_a_part_or_without_a_word_is_refused(corpus: Corpus) -> None:
    with pytest.raises(BadInput, match="give words, an image"):
        Question()
    with pytest.raises(BadInput, match="hold no letter or digit"):
        understand(Question("?!"), corpus.query)


def test_a_sound_is_refused_where_the_catalogue_has_none(corpus: Corpus, tmp_path: Path) -> None:
    heads = block_heads(
        corpus.query.heads.encoder_version, {"visual": corpus.query.heads.by_modality["visual"].mean.size}
    )
    deaf = dataclasses.replace(corpus.query, heads=heads)
    path = write_sound(tmp_path / "q.wav", tone("low", 5))
    with pytest.raises(BadInput, match="embedded from visual only"):
        understand(Question(audio=path), deaf)
    never_heard = dataclasses.replace(deaf, origin=Origin(("signal", "audio=none")))
    with pytest.raises(BadInput, match="has audio, but this catalogue was embedded from visual only"):
        understand(Question(audio=path), never_heard)


def test_an_encoder_that_has_changed_since_is_not_asked(corpus: Corpus, tmp_path: Path) -> None:
    older = dataclasses.replace(corpus.query, origin=Origin(("signal",), "signal-picture-0"))
    with pytest.raises(VersionMismatch, match="embedded by signal-picture-0, signal is"):
        understand(Question(image=tmp_path / "any.png"), older)
    assert understand(Question("red"), older).modalities == ("text",), "words are read as they were"
    other_words = dataclasses.replace(corpus.query, origin=Origin(("signal",), "", "words-0"))
    with pytest.raises(VersionMismatch, match="embedded by words-0"):
        understand(Question("red"), other_words)
    imported = dataclasses.replace(corpus.query, projector=None)
    with pytest.raises(BadInput, match="imported without their encoder"):
        understand(Question("red"), imported)
