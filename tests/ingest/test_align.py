"""Alignment and fusion on planted worlds, where the right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from features.contracts import Floats
from features.errors import BadInput
from ingest.align import Alignment, AlignSettings, align
from ingest.encoders.heads import Heads, block_heads, load_heads
from ingest.encoders.projector import unit_rows
from ingest.fuse import fuse

SETTINGS = AlignSettings(steps=10)
TOPICS = 6


def planted(n: int = 240, *, related: bool = True, seed: int = 0) -> tuple[dict[str, Floats], Floats]:
    """Three modalities that show one topic a video, each in its own way, and the topics; some are missing."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, TOPICS, n)
    vectors = {}
    for modality, size in (("visual", 24), ("audio", 20), ("text", 16)):
        shown = topics if related else rng.integers(0, TOPICS, n)
        rows = rng.standard_normal((TOPICS, size))[shown] + 0.7 * rng.standard_normal((n, size)) + 1.0
        rows[rng.random(n) < 0.1] = 0.0
        vectors[modality] = unit_rows(rows.astype(np.float32))
    return vectors, topics.astype(np.float32)


def built(vectors: dict[str, Floats]) -> Alignment:
    found = align(vectors, "test", SETTINGS)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def world() -> tuple[dict[str, Floats], Floats, Heads]:
    vectors, topics = planted()
    return vectors, topics, built(vectors).heads


def test_related_modalities_beat_the_shuffled_control() -> None:
    found = built(planted()[0])
    assert found.beats_control
    assert found.recall > 0.4 > 0.2 > found.control


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unrelated_modalities_do_not_beat_it(seed: int) -> None:
    assert not built(planted(related=False, seed=seed)[0]).beats_control


def test_words_find_pictures_of_their_topic(world: tuple[dict[str, Floats], Floats, Heads]) -> None:
    vectors, topics, heads = world
    text, seen = (heads.by_modality[m].apply(vectors[m]) for m in ("text", "visual"))
    asked, shown = text.any(axis=1), seen.any(axis=1)
    nearest = np.argsort(-text[asked] @ seen[shown].T, axis=1)[:, :10]
    assert (topics[shown][nearest] == topics[asked][:, None]).mean() > 0.8


def test_a_wrong_sound_lowers_the_agreement(world: tuple[dict[str, Floats], Floats, Heads]) -> None:
    vectors, topics, heads = world
    wrong = np.flatnonzero((topics == 0) & vectors["audio"].any(axis=1))
    other = np.flatnonzero((topics == 1) & vectors["audio"].any(axis=1))[: len(wrong)]
    swapped = {**vectors, "audio": vectors["audio"].copy()}
    swapped["audio"][wrong[: len(other)]] = vectors["audio"][other]
    before, after = fuse(vectors, heads).agreement, fuse(swapped, heads).agreement
    assert np.nanmean(after[wrong[: len(other)]]) < np.nanmean(before[wrong[: len(other)]]) - 0.2


def test_a_video_with_one_modality_left_stays_near_its_topic(
    world: tuple[dict[str, Floats], Floats, Heads],
) -> None:
    vectors, topics, heads = world
    whole = fuse(vectors, heads).joint
    for modality in vectors:
        alone = {m: rows if m == modality else np.zeros_like(rows) for m, rows in vectors.items()}
        left = fuse(alone, heads).joint
        kept = left.any(axis=1)
        cosine = left[kept] @ whole.T
        np.put_along_axis(cosine, np.flatnonzero(kept)[:, None], -2.0, axis=1)
        assert (topics[cosine.argmax(axis=1)] == topics[kept]).mean() > 0.8


def test_fused_vectors_are_unit_or_zero_and_the_mask_says_what_is_there() -> None:
    vectors, _ = planted(30)
    fused = fuse(vectors, block_heads("test", {m: rows.shape[1] for m, rows in vectors.items()}))
    present = [vectors[m].any(axis=1).astype(int) << bit for bit, m in enumerate(("visual", "audio", "text"))]
    np.testing.assert_array_equal(fused.mask, sum(present))
    np.testing.assert_allclose(np.linalg.norm(fused.joint, axis=1), (fused.mask > 0).astype(float), atol=1e-5)
    assert np.isnan(fused.agreement).all()


def test_unaligned_vectors_are_the_concatenation_of_those_present() -> None:
    vectors, _ = planted(30)
    fused = fuse(vectors, block_heads("test", {m: rows.shape[1] for m, rows in vectors.items()}))
    expected = unit_rows(np.concatenate([vectors[m] for m in ("visual", "audio", "text")], axis=1))
    np.testing.assert_allclose(fused.joint, expected, atol=1e-6)


def test_one_video_is_fused_as_in_a_batch(world: tuple[dict[str, Floats], Floats, Heads]) -> None:
    vectors, _, heads = world
    batch = fuse(vectors, heads)
    single = fuse({m: rows[5:6] for m, rows in vectors.items()}, heads)
    np.testing.assert_allclose(single.joint[0], batch.joint[5], atol=1e-6)
    assert single.mask[0] == batch.mask[5]


def test_too_few_common_videos_are_not_aligned() -> None:
    vectors, _ = planted(30)
    assert align(vectors, "test", SETTINGS) is None
    assert align({"visual": vectors["visual"]}, "test", replace(SETTINGS, min_pairs=1)) is None
    assert align({}, "test", SETTINGS) is None


def test_training_repeats_itself_and_leaves_its_input_and_torch_alone() -> None:
    vectors, _ = planted(120)
    before = {m: rows.copy() for m, rows in vectors.items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    one, other = built(vectors).heads, built(vectors).heads
    assert all(
        one.by_modality[m].weights.tobytes() == other.by_modality[m].weights.tobytes()
        for m in ("visual", "audio")
    )
    assert all(np.array_equal(before[m], vectors[m]) for m in vectors)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_saved_heads_come_back(tmp_path, world: tuple[dict[str, Floats], Floats, Heads]) -> None:  # type: ignore[no-untyped-def]
    vectors, _, heads = world
    heads.save(tmp_path)
    loaded = load_heads(tmp_path)
    assert (loaded.encoder_version, loaded.aligned, loaded.dim) == ("test", True, 64)
    assert (
        loaded.by_modality["text"].apply(vectors["text"]).tobytes()
        == heads.by_modality["text"].apply(vectors["text"]).tobytes()
    )


def test_vectors_of_another_length_are_refused(world: tuple[dict[str, Floats], Floats, Heads]) -> None:
    with pytest.raises(BadInput, match=r"this space was built on \(n, 24\)"):
        world[2].by_modality["visual"].apply(np.ones((2, 3), np.float32))
