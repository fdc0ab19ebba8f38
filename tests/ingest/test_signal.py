"""The default encoder: what any clip gives, however broken, and what a projector freezes."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.transforms import Resample

from features.contracts import Floats
from features.errors import BadInput, NotFound
from ingest.encoders.projector import load_projector
from ingest.encoders.protocol import Encoder, Float64s, Frames
from ingest.encoders.resample import resampler
from ingest.encoders.signal import SIZES, SignalEncoder

RATE = 16_000


@dataclass(frozen=True)
class Clip:
    frames: Frames | torch.Tensor | None = None
    timestamps_s: Float64s | None = None
    audio: Floats | None = None
    sample_rate_hz: int = RATE


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return SignalEncoder(threads=1).start()


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> Floats:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


def tone(hertz: float, seconds: float = 3.0, rate: int = RATE) -> Floats:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def pictures(t: int = 4, h: int = 224, w: int = 224, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (t, h, w, 3)).astype(np.uint8)


def cosine(a: Floats, b: Floats) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


ODD_SOUNDS = {
    "constant": np.full(RATE, 0.3, np.float32) + tone(50, 1.0) * 0.001,
    "clipped": np.sign(tone(300)),
    "a tenth of a second": tone(300, 0.1),
    "one sample": np.array([0.0, 0.9], np.float32),
    "some NaN": np.where(np.arange(RATE) % 7 == 0, np.nan, tone(300, 1.0)).astype(np.float32),
}


@pytest.mark.parametrize("name", ODD_SOUNDS)
def test_an_odd_sound_still_gives_finite_numbers(encoder: Encoder, name: str) -> None:
    raw = encoder.describe(Clip(audio=ODD_SOUNDS[name]))["audio"]
    assert raw.shape == (SIZES["audio"],)
    assert raw.dtype == np.float32
    assert np.isfinite(raw).all()


@pytest.mark.parametrize(
    "audio", [np.zeros(RATE, np.float32), np.full(RATE, 0.5, np.float32), np.zeros(0, np.float32)]
)
def test_silence_has_no_descriptor(encoder: Encoder, audio: Floats) -> None:
    assert encoder.describe(Clip(audio=audio)) == {}


@pytest.mark.parametrize("shape", [(1, 224, 224), (3, 1, 1), (2, 1080, 1920), (100, 32, 50), (2, 224, 113)])
def test_frames_of_any_size_and_number_give_finite_numbers(
    encoder: Encoder, shape: tuple[int, int, int]
) -> None:
    raw = encoder.describe(Clip(frames=pictures(*shape), sample_rate_hz=0))["visual"]
    assert raw.shape == (SIZES["visual"],)
    assert np.isfinite(raw).all()


def test_black_frames_give_finite_numbers_and_no_frames_give_none(encoder: Encoder) -> None:
    black = encoder.describe(Clip(frames=np.zeros((3, 224, 224, 3), np.uint8)))
    assert np.isfinite(black["visual"]).all()
    assert encoder.describe(Clip(frames=np.zeros((0, 224, 224, 3), np.uint8))) == {}
    assert encoder.describe(Clip()) == {}


def test_the_same_clip_gives_the_same_bytes(encoder: Encoder) -> None:
    clip = Clip(pictures(), np.arange(4.0), noise(3.0))
    one, other = encoder.describe(clip), encoder.describe(clip)
    assert all(one[m].tobytes() == other[m].tobytes() for m in ("visual", "audio"))


def test_loudness_and_sample_rate_of_a_sound_hardly_matter(encoder: Encoder) -> None:
    sound = tone(440) * np.linspace(0, 1, 3 * RATE, dtype=np.float32) + noise(3.0) * 0.05
    raw = encoder.describe(Clip(audio=sound))["audio"]
    quiet = encoder.describe(Clip(audio=sound * 0.01))["audio"]
    np.testing.assert_allclose(raw, quiet, rtol=1e-2, atol=2e-2)
    wide = np.interp(np.arange(3 * 48_000) / 48_000, np.arange(3 * RATE) / RATE, sound).astype(np.float32)
    resampled = encoder.describe(Clip(audio=wide, sample_rate_hz=48_000))["audio"]
    other = encoder.describe(Clip(audio=tone(3000)))["audio"]
    assert cosine(raw, resampled) > cosine(raw, other)


def test_the_size_of_a_picture_matters_less_than_its_content(encoder: Encoder) -> None:
    coarse = np.kron(pictures(2, 8, 8), np.ones((1, 56, 56, 1), np.uint8))
    raw = encoder.describe(Clip(frames=coarse))["visual"]
    small = encoder.describe(Clip(frames=np.ascontiguousarray(coarse[:, ::2, ::2])))["visual"]
    other = encoder.describe(
        Clip(frames=np.kron(pictures(2, 8, 8, seed=1), np.ones((1, 56, 56, 1), np.uint8)))
    )
    assert np.linalg.norm(raw - small) < 0.3 * np.linalg.norm(raw - other["visual"])


def test_the_encoder_leaves_torch_threads_and_numbers_of_the_caller_alone(encoder: Encoder) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    encoder.describe(Clip(pictures(2), None, noise(1.0)))
    assert torch.equal(before, torch.get_rng_state())


def corpus(n: int, seed: int = 0) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    text = rng.poisson(0.02, (n, SIZES["text"])).astype(np.float32)
    text[:, 0] = 1.0
    dense = {m: rng.standard_normal((n, SIZES[m])).astype(np.float32) for m in ("visual", "audio")}
    return {**dense, "text": text}


@pytest.mark.parametrize("n", [1, 15, 16, 40, 200])
def test_a_corpus_of_any_size_gives_unit_vectors_of_at_most_64_dimensions(encoder: Encoder, n: int) -> None:
    descriptors = corpus(n)
    projector = encoder.fit(descriptors)
    for modality, raw in descriptors.items():
        vectors = projector.project(modality, raw)
        assert vectors.dtype == np.float32
        assert vectors.shape == (n, projector.dims[modality])
        assert 1 <= vectors.shape[1] <= 64
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_a_modality_that_the_corpus_lacks_can_still_be_projected(encoder: Encoder) -> None:
    descriptors = corpus(20)
    projector = encoder.fit(
        {"visual": descriptors["visual"], "text": np.zeros((0, SIZES["text"]), np.float32)}
    )
    assert np.linalg.norm(projector.project("audio", descriptors["audio"][:1])) == pytest.approx(
        1.0, rel=1e-5
    )


def test_identical_descriptors_and_broken_rows_give_no_nan(encoder: Encoder) -> None:
    raw = np.repeat(corpus(1)["visual"], 30, axis=0)
    raw[3] = np.nan
    projector = encoder.fit({"visual": raw})
    vectors = projector.project("visual", np.vstack([raw, corpus(1, seed=5)["visual"]]))
    assert np.isfinite(vectors).all()
    assert not vectors[3].any()


def test_one_row_is_projected_as_in_a_batch(encoder: Encoder) -> None:
    descriptors = corpus(50)
    projector = encoder.fit(descriptors)
    for modality, raw in descriptors.items():
        batch = projector.project(modality, raw)
        np.testing.assert_allclose(projector.project(modality, raw[7:8])[0], batch[7], atol=1e-5)


def test_the_version_names_the_statistics(encoder: Encoder) -> None:
    one, again, other = encoder.fit(corpus(40)), encoder.fit(corpus(40)), encoder.fit(corpus(40, seed=1))
    assert one.encoder_version == again.encoder_version != other.encoder_version
    assert one.encoder_version.startswith("signal-")


def test_a_saved_projector_comes_back_bit_by_bit(encoder: Encoder, tmp_path: Path) -> None:
    descriptors = corpus(40)
    projector = encoder.fit(descriptors)
    projector.save(tmp_path / "encoder")
    loaded = load_projector(tmp_path / "encoder")
    assert loaded.encoder_version == projector.encoder_version
    for modality, raw in descriptors.items():
        assert loaded.project(modality, raw).tobytes() == projector.project(modality, raw).tobytes()


def test_wrong_descriptors_and_a_missing_projector_are_named(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="audio descriptors have shape"):
        encoder.fit({"audio": np.zeros((3, 5), np.float32)})
    with pytest.raises(BadInput, match="has no smell"):
        encoder.fit(corpus(20)).project("smell", np.zeros((1, 5), np.float32))
    with pytest.raises(NotFound, match="projector is not there"):
        load_projector(tmp_path)


def mixed_clips() -> list[Clip]:
    """Unlike in length, rate, number and size of frames, and in what is missing."""
    return [
        Clip(pictures(4), np.arange(4.0), noise(3.0)),
        Clip(pictures(4, seed=1), np.array([0.0, 0.5, 4.0, 4.1]), noise(3.0, seed=1)),
        Clip(pictures(4, 90, 160, seed=2), None, noise(4.7, seed=2, rate=44_100), 44_100),
        Clip(pictures(1), np.zeros(1), tone(300, 0.1)),
        Clip(np.zeros((4, 1, 1, 3), np.uint8), None, np.zeros(RATE, np.float32)),
        Clip(None, None, noise(60.0, seed=3, rate=44_100), 44_100),
        Clip(np.zeros((4, 224, 224, 3), np.uint8), np.arange(4.0), None, 0),
        Clip(None, None, ODD_SOUNDS["some NaN"]),
        Clip(None, None, ODD_SOUNDS["clipped"]),
        Clip(),
    ]


MIXED = mixed_clips()


@lru_cache(maxsize=1)
def described_alone() -> list[dict[str, Floats]]:
    return [SignalEncoder().describe(clip) for clip in MIXED]


def assert_alike(one: dict[str, Floats], other: dict[str, Floats], bound: float) -> None:
    assert one.keys() == other.keys()
    for modality in one:
        assert np.abs(one[modality] - other[modality]).max() <= bound * np.abs(one[modality]).max()


@given(st.permutations(range(10)), st.integers(1, 10), st.integers(1, 10))
@settings(max_examples=12, deadline=None)
def test_a_clip_is_described_alike_whatever_else_is_in_the_batch(
    order: list[int], size: int, together: int
) -> None:
    chosen = order[:size]
    found = SignalEncoder(together=together).describe_many([MIXED[i] for i in chosen])
    for i, raw in zip(chosen, found, strict=True):
        assert_alike(described_alone()[i], raw, 1e-5)
        assert all(np.isfinite(values).all() for values in raw.values())


def test_no_clips_give_no_descriptors(encoder: Encoder) -> None:
    assert encoder.describe_many([]) == []


def test_frames_in_a_tensor_are_described_as_in_an_array(encoder: Encoder) -> None:
    frames = pictures(3)
    array, tensor = encoder.describe_many([Clip(frames), Clip(torch.from_numpy(frames))])
    assert array["visual"].tobytes() == tensor["visual"].tobytes()


def test_describing_changes_neither_frames_nor_sound_and_takes_read_only_ones(encoder: Encoder) -> None:
    frames, sound = pictures(2), noise(1.0) + np.float32(0.2)
    kept = frames.copy(), sound.copy()
    frames.flags.writeable = sound.flags.writeable = False
    encoder.describe(Clip(frames, None, sound))
    assert np.array_equal(frames, kept[0])
    assert np.array_equal(sound, kept[1])


def test_a_sound_with_absurd_samples_gives_finite_numbers(encoder: Encoder) -> None:
    loud = noise(1.0)
    loud[::97] = 3e38
    assert np.isfinite(encoder.describe(Clip(audio=loud))["audio"]).all()


@pytest.mark.parametrize("rate", [81, 8_000, 11_025, 22_050, 44_099, 44_100, 48_000, 192_000, 2_000_003])
def test_a_tone_at_any_rate_is_the_same_tone(encoder: Encoder, rate: int) -> None:
    sound = tone(440 if rate > 1000 else 39, 3.0, rate)
    raw = encoder.describe(Clip(audio=sound, sample_rate_hz=rate))["audio"]
    same = encoder.describe(Clip(audio=tone(440 if rate > 1000 else 39)))["audio"]
    assert np.isfinite(raw).all()
    assert cosine(raw[:128], same[:128]) > 0.99


@pytest.mark.parametrize("rate", [0, 79])
def test_a_rate_too_low_for_any_heard_tone_gives_no_descriptor(encoder: Encoder, rate: int) -> None:
    assert encoder.describe(Clip(audio=noise(2.0), sample_rate_hz=rate)) == {}


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_resampling_agrees_with_torchaudio(rate: int) -> None:
    sound = noise(1.5, rate=rate)
    change = resampler(Fraction(rate, RATE), torch.device("cpu"))
    rows = torch.zeros(2, change.padded(len(sound)))
    rows[:, change.reach : change.reach + len(sound)] = torch.from_numpy(sound)
    ours = change.apply(rows)[1, : change.length(len(sound))]
    # In double precision: in single, torchaudio rounds the phases, which costs it 2e-6.
    theirs = Resample(rate, RATE, lowpass_filter_width=32, dtype=torch.float64)(
        torch.from_numpy(sound).double()
    )
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-6)


def test_weights_for_any_ratio_stay_small() -> None:
    for rate in (81, 15_999, 16_001, 44_099, 191_999, 767_999):
        change = resampler(Fraction(rate, RATE), torch.device("cpu"))
        assert sum(weights.numel() for _, _, weights in change.groups) < 4_000_000
        assert change.block / change.stride == pytest.approx(RATE / rate, rel=1e-3)
