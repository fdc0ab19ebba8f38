"""Whatever a file or a title holds: a unit vector, a zero row that says missing, or a named error. Never NaN.

Each case goes the whole way that an ingest goes: read, described, fitted among good clips, projected.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import MODALITIES, Floats
from features.errors import BadInput
from ingest.encoders.projector import FittedProjector
from ingest.encoders.protocol import Float64s, Frames
from ingest.encoders.signal import SIZES, SignalEncoder
from ingest.media.decode import DecodeSettings, decode_clip

RATE, GOOD = 16_000, 24
ENCODER = SignalEncoder(threads=None)


@dataclass(frozen=True)
class Clip:
    frames: Frames | None = None
    audio: Floats | None = None
    sample_rate_hz: int = RATE
    timestamps_s: Float64s | None = field(default=None)


def tone(seconds: float, hertz: float = 300.0) -> Floats:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@lru_cache(maxsize=1)
def good_descriptors() -> dict[str, Floats]:
    """Of GOOD clips that are all unlike."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (GOOD, 2, 6, 6, 3), np.uint8).repeat(20, axis=2).repeat(20, axis=3)
    sounds = [tone(2.5, 100 * k + 200) + rng.normal(0, 0.1, 40_000).astype(np.float32) for k in range(GOOD)]
    rows = ENCODER.describe_many([Clip(f, s) for f, s in zip(frames, sounds, strict=True)])
    words = ENCODER.describe_texts(
        [(f"clip {k} of {k % 5} birds and {k % 3} drums", None, None) for k in range(GOOD)]
    )
    found = {m: np.stack([row[m] for row in rows]) for m in ("visual", "audio")}
    return found | {"text": np.stack([row for row in words if row is not None])}


@lru_cache(maxsize=1)
def good_projector() -> FittedProjector:
    return ENCODER.fit(good_descriptors())


def assert_sound_rows(vectors: Floats, *, missing: bool = False) -> None:
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors, axis=1)
    assert ((np.abs(lengths - 1.0) < 1e-4) | (missing & (lengths == 0.0))).all()


def vectors_of(modality: str, raw: Floats) -> Floats:
    """The item's row under statistics that never saw it, after a fit with it among the good proved sound."""
    assert raw.shape == (SIZES[modality],)
    assert np.isfinite(raw).all()
    among = np.vstack([good_descriptors()[modality], raw[None]])
    assert_sound_rows(ENCODER.fit({modality: among}).project(modality, among))
    return good_projector().project(modality, raw[None])


SILENT = {
    "silent": np.zeros(RATE, np.float32),
    "constant": np.full(RATE, 0.4, np.float32),
    "only NaN": np.full(RATE, np.nan, np.float32),
    "only infinite": np.full(RATE, np.inf, np.float32),
    "empty": np.zeros(0, np.float32),
}
ODD_SOUNDS = {
    "clipped": np.sign(tone(3.0)),
    "partly NaN": np.where(np.arange(RATE) % 5 == 0, np.nan, tone(1.0)).astype(np.float32),
    "0.1 s": tone(0.1),
    "one click": np.eye(1, RATE, 77, dtype=np.float32)[0],
    "beyond full scale": tone(1.0) * np.float32(1e30),
    "barely above silence": tone(1.0) * np.float32(1e-4),
}
ODD_FRAMES = {
    "one frame": np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8),
    "black": np.zeros((16, 224, 224, 3), np.uint8),
    "white": np.full((3, 224, 224, 3), 255, np.uint8),
    "one pixel": np.full((4, 1, 1, 3), 90, np.uint8),
    "one row": np.random.default_rng(0).integers(0, 256, (2, 1, 500, 3), np.uint8),
    "8K": np.broadcast_to(np.arange(7680, dtype=np.uint16).astype(np.uint8)[:, None], (1, 4320, 7680, 3)),
}
NO_WORDS = {"empty": "", "blank": " \n\t ", "punctuation": "?!... --", "joiners": "\u200d\u200e\u202e\ufeff"}
ODD_TEXTS = {
    "emoji only": "🔥🎸👩‍👩‍👧",
    "100 kB": "long words " * 9_100,
    "one word of 100 kB": "x" * 100_000,
    "right to left": "مرحبا بالعالم שלום",
    "turned around": "\u202egnihtemos\u202c",
    "with NUL and half a pair": "drums\x00 and \ud83d birds",
}


@pytest.mark.parametrize("name", SILENT)
def test_a_sound_that_says_nothing_is_missing(name: str) -> None:
    assert ENCODER.describe(Clip(audio=SILENT[name])) == {}


@pytest.mark.parametrize("name", ODD_SOUNDS)
def test_an_odd_sound_has_a_unit_vector(name: str) -> None:
    assert_sound_rows(vectors_of("audio", ENCODER.describe(Clip(audio=ODD_SOUNDS[name]))["audio"]))


@pytest.mark.parametrize("name", ODD_FRAMES)
def test_odd_frames_have_a_unit_vector(name: str) -> None:
    assert_sound_rows(vectors_of("visual", ENCODER.describe(Clip(frames=ODD_FRAMES[name]))["visual"]))


@pytest.mark.parametrize("shape", [(0, 224, 224, 3), (2, 0, 224, 3), (2, 224, 0, 3)])
def test_frames_without_a_pixel_are_missing(shape: tuple[int, ...]) -> None:
    assert ENCODER.describe(Clip(frames=np.zeros(shape, np.uint8))) == {}


@pytest.mark.parametrize("name", NO_WORDS)
def test_text_without_a_word_is_missing(name: str) -> None:
    assert ENCODER.describe_texts([(NO_WORDS[name], None, None)]) == [None]


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_odd_text_has_a_vector_or_is_missing_to_this_corpus(name: str) -> None:
    [raw] = ENCODER.describe_texts([(ODD_TEXTS[name], ODD_TEXTS[name], [ODD_TEXTS[name]])])
    assert raw is not None
    assert_sound_rows(vectors_of("text", raw), missing=True)


@given(
    st.lists(st.floats(width=32) | st.floats(-1, 1, width=32), min_size=1, max_size=400),
    st.integers(1, 40),
    st.sampled_from([80, 8_000, 16_000, 44_100, 48_000]),
)
@settings(max_examples=40, deadline=None)
def test_any_samples_give_a_unit_vector_or_are_missing(values: list[float], repeats: int, rate: int) -> None:
    found = ENCODER.describe(Clip(audio=np.tile(np.array(values, np.float32), repeats), sample_rate_hz=rate))
    if "audio" in found:
        assert np.isfinite(found["audio"]).all()
        assert_sound_rows(good_projector().project("audio", found["audio"][None]))


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40), st.binary(min_size=1, max_size=64))
@settings(max_examples=40, deadline=None)
def test_any_frames_give_a_unit_vector(t: int, h: int, w: int, values: bytes) -> None:
    frames = np.resize(np.frombuffer(values, np.uint8), (t, h, w, 3))
    raw = ENCODER.describe(Clip(frames=frames))["visual"]
    assert np.isfinite(raw).all()
    assert_sound_rows(good_projector().project("visual", raw[None]))


@given(st.text(max_size=300), st.text(max_size=300), st.lists(st.text(max_size=20), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_words_give_a_vector_or_are_missing(title: str, description: str, tags: list[str]) -> None:
    [raw] = ENCODER.describe_texts([(title, description, tags)])
    if raw is not None:
        assert_sound_rows(good_projector().project("text", raw[None]), missing=True)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("n", [1, 16, 40])
def test_a_corpus_of_one_thing_over_and_over_has_no_nan(modality: str, n: int) -> None:
    raw = good_descriptors()[modality][:1].repeat(n, axis=0)
    projector = ENCODER.fit({modality: raw})
    assert_sound_rows(projector.project(modality, raw), missing=True)
    assert_sound_rows(projector.project(modality, good_descriptors()[modality]), missing=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_broken_descriptor_neither_spoils_the_fit_nor_becomes_a_vector(modality: str, value: float) -> None:
    raw = good_descriptors()[modality].copy()
    raw[3, 5] = value
    projector = ENCODER.fit({modality: raw})
    vectors = projector.project(modality, raw)
    assert not vectors[3].any()
    assert_sound_rows(np.delete(vectors, 3, axis=0))


def test_descriptors_of_another_length_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"visual descriptors have shape \(2, 7\), expected"):
        good_projector().project("visual", np.zeros((2, 7), np.float32))


def video(path: Path, size: tuple[int, int], frames: int, codec: str, pixels: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(5))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for k in range(frames):
            frame = av.VideoFrame(*size, pixels)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def wave(path: Path, samples: Floats) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


VIDEOS = {
    "one black frame": ((64, 64), 1, "ffv1", "yuv420p"),
    "one pixel": ((1, 1), 3, "ffv1", "gray"),
    "8K": ((7680, 4320), 1, "mjpeg", "yuvj420p"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_file_with_an_odd_picture_has_a_unit_vector(name: str, tmp_path: Path) -> None:
    clip = decode_clip(video(tmp_path / "odd.mkv", *VIDEOS[name]), DecodeSettings())
    found = ENCODER.describe(clip)
    assert set(found) == {"visual"}
    assert_sound_rows(vectors_of("visual", found["visual"]))


@pytest.mark.parametrize("name", ["silent", "constant", "only NaN", "partly NaN", "clipped", "0.1 s"])
def test_a_file_with_an_odd_sound_has_a_unit_vector_or_is_missing(name: str, tmp_path: Path) -> None:
    samples = (SILENT | ODD_SOUNDS)[name]
    found = ENCODER.describe(decode_clip(wave(tmp_path / "odd.wav", samples), DecodeSettings()))
    assert ("audio" in found) == (name in ODD_SOUNDS)
    if found:
        assert_sound_rows(vectors_of("audio", found["audio"]))
