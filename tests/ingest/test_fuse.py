"""Fusion: whatever is missing, filled in or contradicted, a video has one usable vector."""

import numpy as np
import pytest

from features.contracts import MODALITIES, Floats, Int64s
from features.errors import BadInput
from ingest.align import AlignSettings, align
from ingest.encoders.heads import Heads, block_heads
from ingest.encoders.projector import unit_rows
from ingest.fuse import IMPUTED_WEIGHT, KINDS, FusionKind, fuse, measure_levels
from tests.ingest.planted_corpus import SIZES, anchored, planted, topic_precision

World = tuple[dict[str, Floats], Int64s, Heads]


@pytest.fixture(scope="module")
def world() -> World:
    vectors, topics = planted()
    found = align(vectors, "test", AlignSettings(steps=10))
    assert found is not None
    return vectors, topics, found.heads


def swapped(vectors: dict[str, Floats], topics: Int64s) -> tuple[dict[str, Floats], Int64s]:
    """Videos of topic 0 with a sound of topic 1, and which they are."""
    wrong = np.flatnonzero((topics == 0) & np.all([rows.any(axis=1) for rows in vectors.values()], axis=0))
    other = np.flatnonzero((topics == 1) & vectors["audio"].any(axis=1))[: len(wrong)]
    sounds = vectors["audio"].copy()
    sounds[wrong[: len(other)]] = vectors["audio"][other]
    return {**vectors, "audio": sounds}, wrong[: len(other)]


def test_a_wrong_sound_lowers_the_agreement(world: World) -> None:
    vectors, topics, heads = world
    with_wrong, wrong = swapped(vectors, topics)
    before, after = fuse(vectors, heads).agreement, fuse(with_wrong, heads).agreement
    assert np.nanmean(after[wrong]) < np.nanmean(before[wrong]) - 0.2


def test_the_gate_hears_less_of_a_wrong_sound_and_loses_nothing_elsewhere(world: World) -> None:
    vectors, topics, heads = world
    with_wrong, wrong = swapped(vectors, topics)
    whole = fuse(vectors, heads).joint
    left = {kind: fuse(with_wrong, heads, kind).joint for kind in KINDS}
    near = {kind: np.einsum("nd,nd->n", rows, whole)[wrong].mean() for kind, rows in left.items()}
    assert near["gated"] > near["mean"] + 0.02
    gated = fuse(vectors, heads, "gated").joint
    assert topic_precision(gated, gated, topics) >= topic_precision(whole, whole, topics) - 0.005


def test_the_gate_means_the_same_in_a_space_where_words_are_far_from_all_pictures() -> None:
    vectors, topics = anchored()
    found = align(vectors, "test", AlignSettings(steps=10), shared=("visual", "text"))
    assert found is not None
    levels = measure_levels(vectors, found.heads)
    apart, one = levels["visual+text"]
    assert one > apart
    gated, mean = (fuse(vectors, found.heads, kind) for kind in ("gated", "mean"))
    assert topic_precision(gated.joint, gated.joint, topics) > 0.9
    near = np.einsum("nd,nd->n", gated.joint, mean.joint)
    assert near[gated.mask == 7].mean() > 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_video_with_one_modality_left_stays_near_its_topic(
    kind: FusionKind, modality: str, world: World
) -> None:
    vectors, topics, heads = world
    only = {m: rows if m == modality else np.zeros_like(rows) for m, rows in vectors.items()}
    assert topic_precision(fuse(only, heads, kind).joint, fuse(vectors, heads, kind).joint, topics, k=1) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_fused_vectors_are_unit_or_zero_and_the_mask_says_what_is_there(
    kind: FusionKind, world: World
) -> None:
    vectors, _, heads = world
    gone = {m: np.where(np.arange(len(rows))[:, None] < 3, 0, rows) for m, rows in vectors.items()}
    fused = fuse(gone, heads, kind)
    present = [gone[m].any(axis=1).astype(int) << bit for bit, m in enumerate(MODALITIES)]
    np.testing.assert_array_equal(fused.mask, sum(present))
    assert not fused.mask[:3].any()
    np.testing.assert_allclose(np.linalg.norm(fused.joint, axis=1), (fused.mask > 0).astype(float), atol=1e-5)
    assert np.isnan(fused.agreement[:3]).all()


def test_unaligned_vectors_are_the_concatenation_of_those_present() -> None:
    vectors, _ = planted(30)
    for kind in KINDS:
        fused = fuse(vectors, block_heads("test", SIZES), kind)
        expected = unit_rows(np.concatenate([vectors[m] for m in MODALITIES], axis=1))
        np.testing.assert_allclose(fused.joint, expected, atol=1e-6)
        assert np.isnan(fused.agreement).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_video_is_fused_as_in_a_batch(kind: FusionKind, world: World) -> None:
    vectors, _, heads = world
    levels = measure_levels(vectors, heads)
    batch = fuse(vectors, heads, kind)
    for at in (0, 5, 11):
        single = fuse({m: rows[at : at + 1] for m, rows in vectors.items()}, heads, kind, levels=levels)
        np.testing.assert_allclose(single.joint[0], batch.joint[at], atol=1e-5)
        assert single.mask[0] == batch.mask[at]


def test_two_modalities_count_the_same_under_either_kind(world: World) -> None:
    vectors, _, heads = world
    two = {**vectors, "text": np.zeros_like(vectors["text"])}
    np.testing.assert_allclose(fuse(two, heads, "gated").joint, fuse(two, heads).joint, atol=1e-6)


def test_what_was_filled_in_counts_less_and_is_not_in_the_mask(world: World) -> None:
    vectors, topics, heads = world
    with_wrong, wrong = swapped(vectors, topics)
    flags = np.zeros(len(topics), np.bool_)
    flags[wrong] = True
    given, filled = fuse(with_wrong, heads), fuse(with_wrong, heads, imputed={"audio": flags})
    without = fuse({**vectors, "audio": np.where(flags[:, None], 0, vectors["audio"])}, heads)
    near = [np.einsum("nd,nd->n", fused.joint, without.joint)[wrong].mean() for fused in (filled, given)]
    assert near[0] > near[1]
    assert (filled.imputed[wrong] == 2).all()
    np.testing.assert_array_equal(filled.mask, without.mask)
    np.testing.assert_array_equal(filled.agreement, without.agreement)
    np.testing.assert_array_equal(np.delete(filled.joint, wrong, 0), np.delete(given.joint, wrong, 0))


def test_a_filled_in_modality_has_its_stated_weight() -> None:
    vectors = {"visual": np.eye(1, 2, dtype=np.float32), "audio": np.eye(1, 2, dtype=np.float32)}
    heads = block_heads("test", {"visual": 2, "audio": 2})
    fused = fuse(vectors, heads, imputed={"audio": np.array([True])})
    expected = unit_rows(np.array([[1, 0, IMPUTED_WEIGHT, 0]], np.float32))
    np.testing.assert_allclose(fused.joint, expected, atol=1e-6)
    assert (fused.mask[0], fused.imputed[0]) == (1, 2)


def test_a_video_with_nothing_but_a_filled_in_modality_has_a_usable_vector(world: World) -> None:
    vectors, topics, heads = world
    only = {m: rows if m == "visual" else np.zeros_like(rows) for m, rows in vectors.items()}
    for kind in KINDS:
        fused = fuse(only, heads, kind, {"visual": np.ones(len(topics), np.bool_)})
        assert not fused.mask.any()
        np.testing.assert_allclose(fused.joint, fuse(only, heads).joint, atol=1e-6)


def test_an_unknown_kind_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="fusion 'sum' is not one of mean, gated"):
        fuse(world[0], world[2], "sum")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded_by_portions_that_change_no_vector(
    kind: FusionKind, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, _, heads = world
    whole = fuse(vectors, heads, kind)
    monkeypatch.setattr("ingest.fuse.PORTION", 17)
    parts = fuse(vectors, heads, kind)
    np.testing.assert_allclose(parts.joint, whole.joint, atol=1e-6)
    np.testing.assert_allclose(parts.agreement, whole.agreement, atol=1e-6)
