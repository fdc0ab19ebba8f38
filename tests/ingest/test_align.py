"""Alignment on planted corpora, where the right answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.contracts import Floats, Int64s
from features.errors import BadInput
from ingest.align import Alignment, AlignSettings, CoWatched, align, publishable
from ingest.alignment.contrast import Batch
from ingest.alignment.corpus import ALONE, Corpus
from ingest.alignment.judge import folds, recall
from ingest.alignment.start import start_heads
from ingest.alignment.train import train_heads
from ingest.encoders.heads import Heads, block_heads, load_heads
from ingest.encoders.projector import unit_rows
from ingest.fuse import fuse
from tests.ingest.planted_corpus import anchored, planted, topic_precision

SETTINGS = AlignSettings(steps=10, warm_steps=4, folds=2)
World = tuple[dict[str, Floats], Int64s, Heads]
SHARED = ("visual", "text")


def built(vectors: dict[str, Floats], **more: object) -> Alignment:
    found = align(vectors, "test", SETTINGS, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


def alone(n: int) -> Int64s:
    return np.full(n, ALONE, np.int64)


def dims(vectors: dict[str, Floats]) -> dict[str, int]:
    return {modality: rows.shape[1] for modality, rows in vectors.items()}


@pytest.fixture(scope="module")
def world() -> World:
    vectors, topics = planted()
    return vectors, topics, built(vectors).heads


def test_related_modalities_beat_the_shuffled_control() -> None:
    found = built(planted()[0])
    assert found.beats_control
    assert found.recall > 0.4 > 0.2 > found.control


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unrelated_modalities_do_not_beat_it_and_are_not_published(seed: int) -> None:
    vectors, _ = planted(related=False, seed=seed)
    found = built(vectors)
    assert not found.beats_control
    assert publishable(found, "test", dims(vectors)).comparable == ()


def test_words_find_pictures_of_their_topic(world: World) -> None:
    vectors, topics, heads = world
    text, seen = (heads.by_modality[m].apply(vectors[m]) for m in ("text", "visual"))
    assert topic_precision(text, seen, topics) > 0.8


def test_too_few_common_videos_are_not_aligned() -> None:
    vectors, _ = planted(30)
    assert align(vectors, "test", SETTINGS) is None
    assert align({"visual": vectors["visual"]}, "test", replace(SETTINGS, min_pairs=1)) is None
    assert align({}, "test", SETTINGS) is None


def test_a_modality_of_a_few_videos_stands_beside_the_aligned_ones() -> None:
    vectors, _ = planted()
    vectors["text"][20:] = 0.0
    heads = built(vectors).heads
    assert set(heads.comparable) == {"visual", "audio"}
    assert not heads.aligned
    only = {m: rows if m == "text" else np.zeros_like(rows) for m, rows in vectors.items()}
    joint = fuse(only, heads).joint
    assert joint[:20][vectors["text"][:20].any(axis=1)].any(axis=1).all()
    assert np.abs(joint @ fuse({**vectors, "text": 0 * vectors["text"]}, heads).joint.T).max() == 0.0


def test_near_duplicates_are_no_negatives_by_group_or_by_likeness() -> None:
    rows = unit_rows(np.eye(4, 8, dtype=np.float32))
    rows[3] = unit_rows(rows[2:3] + 0.1 * rows[3:])[0]
    batch = Batch({"visual": torch.from_numpy(rows)}, torch.tensor([5, 5, ALONE, ALONE]))
    alike = batch.alike(batch, 0.95).fill_diagonal_(False)
    assert alike.nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]


@pytest.mark.parametrize("max_judged", [500, 20])
def test_near_duplicates_are_never_held_out_from_each_other(max_judged: int) -> None:
    groups = np.where(np.arange(120) % 3 == 0, np.arange(120) // 12, ALONE)
    held_at_least_once = np.zeros(120, np.int64)
    for kept, held in folds(groups, replace(SETTINGS, max_judged=max_judged)):
        assert not set(groups[kept]) & set(groups[held]) - {ALONE}
        assert sorted([*kept, *held]) == list(range(120))
        held_at_least_once[held] += 1
    assert held_at_least_once.max() == 1
    assert held_at_least_once.sum() == 120 if max_judged == 500 else 20 <= held_at_least_once.sum() <= 24


def test_copies_of_a_clip_neither_count_against_each_other_nor_prove_a_space() -> None:
    vectors, _ = planted(60, related=False, missing=0.0)
    copied = {m: np.repeat(rows, 4, axis=0) for m, rows in vectors.items()}
    groups = np.repeat(np.arange(60), 4)
    corpus = Corpus(copied, groups)
    heads = block_heads("test", dims(vectors)).by_modality
    assert recall(corpus, [("visual", "visual")], heads) == 1.0
    assert not built(copied, groups=groups).beats_control
    assert built(copied).beats_control, "without groups, a copy in training gives its held-out twin away"


def test_training_repeats_itself_and_leaves_its_input_and_torch_alone() -> None:
    vectors, topics = planted(120)
    pairs = watched(topics)
    before = {m: rows.copy() for m, rows in vectors.items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    one, other = (built(vectors, co_watched=pairs).heads for _ in range(2))
    warm, warmer = (built(vectors, start=one).heads for _ in range(2))
    for m in vectors:
        assert one.by_modality[m].weights.tobytes() == other.by_modality[m].weights.tobytes()
        assert warm.by_modality[m].weights.tobytes() == warmer.by_modality[m].weights.tobytes()
        assert np.array_equal(before[m], vectors[m])
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def watched(topics: Int64s, wrong: float = 0.0) -> CoWatched:
    """Each video beside four others of its topic; a share of the pairs is of any two videos."""
    rng = np.random.default_rng(1)
    left = np.repeat(np.arange(len(topics)), 4)
    right = np.array([rng.choice(np.flatnonzero(topics == topic)) for topic in topics[left]])
    right = np.where(rng.random(len(left)) < wrong, rng.permutation(len(left)) % len(topics), right)
    kept = left != right
    return CoWatched(left[kept], right[kept], np.ones(int(kept.sum()), np.float32))


def test_co_watched_pairs_are_learnt_from_only_where_they_do_no_harm() -> None:
    vectors, topics = planted(100)
    for wrong in (0.0, 1.0):
        plain, found = built(vectors), built(vectors, co_watched=watched(topics, wrong))
        assert found.recall_other is not None
        assert found.recall >= found.recall_other
        assert found.co_watched == (found.recall_other == plain.recall and found.recall >= plain.recall)
        if not found.co_watched:
            assert found.recall == plain.recall
            assert found.heads.by_modality["audio"].weights.tobytes() == (
                plain.heads.by_modality["audio"].weights.tobytes()
            )


def test_co_watched_pairs_bring_their_videos_nearer_across_modalities() -> None:
    vectors, topics = planted(100)
    together = watched(topics // 2)  # the same people watch topics 0 and 1: no picture or sound says so
    corpus = Corpus(vectors, alone(100), (), together)
    strong, pairs = replace(SETTINGS, co_watched=1.0, steps=40), corpus.pairs(40)

    def margin(given: Corpus) -> float:
        heads = train_heads(given, pairs, strong, 7)
        cosine = heads["audio"].apply(vectors["audio"]) @ heads["visual"].apply(vectors["visual"]).T
        return float(cosine[together.left, together.right].mean() - cosine.mean())

    assert margin(corpus) > margin(corpus.without_co_watched()) + 0.05


def test_a_shared_space_stays_as_it_is_and_sound_is_trained_into_it() -> None:
    vectors, topics = anchored()
    found = built(vectors, shared=SHARED)
    heads = found.heads
    assert found.beats_control
    assert heads.aligned
    assert heads.dim == 32
    for modality in SHARED:
        np.testing.assert_allclose(
            heads.by_modality[modality].apply(vectors[modality]), vectors[modality], atol=1e-6
        )
    sound = heads.by_modality["audio"].apply(vectors["audio"])
    assert topic_precision(sound, vectors["visual"], topics) > 0.8
    assert topic_precision(vectors["text"], sound, topics) > 0.8
    there = [rows[rows.any(axis=1)].mean(axis=0) for rows in (sound, vectors["visual"])]
    assert float(there[0] @ there[1]) > 0.5, "sounds lie where pictures lie, not around the origin"


def test_a_shared_space_stays_where_sound_does_not_belong_to_it() -> None:
    vectors, _ = anchored()
    vectors["audio"] = planted(related=False, seed=5)[0]["audio"]
    found = built(vectors, shared=SHARED)
    assert not found.beats_control
    heads = publishable(found, "test", dims(vectors), SHARED)
    assert set(heads.comparable) == set(SHARED)
    assert heads.dim == 32 + 20
    joint = fuse({**vectors, "audio": 0 * vectors["audio"]}, heads).joint
    words = heads.by_modality["text"].apply(vectors["text"])
    np.testing.assert_allclose(words @ joint.T, vectors["text"] @ joint[:, :32].T, atol=1e-5)
    assert np.abs(words @ joint.T).max() > 0.1


def test_a_shared_space_without_other_modalities_needs_no_training() -> None:
    vectors = {m: rows for m, rows in anchored()[0].items() if m in SHARED}
    assert align(vectors, "test", SETTINGS, shared=SHARED) is None
    heads = publishable(None, "test", dims(vectors), SHARED)
    assert heads.aligned
    assert heads.dim == 32


def test_vectors_stay_near_last_nights_when_a_twentieth_is_new() -> None:
    vectors, topics = planted(420)
    before = {m: rows[:400] for m, rows in vectors.items()}
    last = built(before)
    for start, warm in ((last.heads, True), (None, False)):
        tonight = built(vectors, start=start)
        cosine = np.einsum("nd,nd->n", fuse(before, last.heads).joint, fuse(before, tonight.heads).joint)
        assert tonight.warm == warm
        assert (cosine[cosine != 0].mean() > 0.98) == warm
        assert topic_precision(*(fuse(vectors, tonight.heads).joint,) * 2, topics) > 0.9
    assert built(vectors, start=last.heads).recall == built(vectors).recall, "judged from a cold start"


def test_heads_of_another_encoder_or_shape_or_of_other_videos_are_no_start() -> None:
    vectors, _ = planted()
    heads = built(vectors).heads
    assert built(vectors, start=heads).warm
    assert not built(vectors, start=replace(heads, encoder_version="other")).warm
    assert not built(vectors, start=block_heads("test", dims(vectors))).warm
    assert not built({m: rows[:, :12] for m, rows in vectors.items()}, start=heads).warm
    turned = {m: replace(h, weights=h.weights[::-1].copy()) for m, h in heads.by_modality.items()}
    assert not built(vectors, start=replace(heads, by_modality=turned)).warm, "it finds far less"


def test_saved_heads_come_back(tmp_path: Path, world: World) -> None:
    anchor = built(anchored()[0], shared=SHARED).heads
    beside = block_heads("test", {"visual": 3, "audio": 2, "text": 3}, SHARED)
    for name, heads in (("free", world[2]), ("anchored", anchor), ("beside", beside)):
        heads.save(tmp_path / name)
        loaded = load_heads(tmp_path / name)
        assert (loaded.dim, loaded.comparable, loaded.aligned) == (heads.dim, heads.comparable, heads.aligned)
        for modality, head in heads.by_modality.items():
            rows = unit_rows(np.ones((1, len(head.mean)), np.float32))
            assert loaded.by_modality[modality].apply(rows).tobytes() == head.apply(rows).tobytes()


def test_heads_without_all_their_weights_are_refused(tmp_path: Path, world: World) -> None:
    world[2].save(tmp_path)
    block_heads("test", {"visual": 3}).save(tmp_path / "other")
    (tmp_path / "other" / "heads.safetensors").rename(tmp_path / "heads.safetensors")
    with pytest.raises(BadInput, match=r"lacks audio\.mean"):
        load_heads(tmp_path)


def test_vectors_of_another_length_are_refused(world: World) -> None:
    with pytest.raises(BadInput, match=r"this space was built on \(n, 24\)"):
        world[2].by_modality["visual"].apply(np.ones((2, 3), np.float32))


def test_rows_that_are_not_of_the_same_videos_are_refused() -> None:
    vectors, _ = planted(60)
    with pytest.raises(BadInput, match="59 groups"):
        built(vectors, groups=alone(59))
    pairs = CoWatched(np.array([0, 60]), np.array([1, 2]), np.ones(2, np.float32))
    with pytest.raises(BadInput, match="co-watched row 60 is not one of 60"):
        built(vectors, co_watched=pairs)
    with pytest.raises(BadInput, match="must be finite and > 0"):
        CoWatched(np.array([0]), np.array([1]), np.zeros(1, np.float32))
    with pytest.raises(BadInput, match=r"cannot share a space: their lengths are \[16, 24\]"):
        built(vectors, shared=SHARED)


@pytest.mark.parametrize("shared", [(), SHARED])
def test_heads_in_closed_form_are_the_same_whatever_the_portions(
    shared: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, _ = anchored() if shared else planted()
    corpus = Corpus(vectors, alone(len(vectors["audio"])), shared)
    pairs = corpus.pairs(SETTINGS.min_pairs)
    whole = start_heads(corpus, pairs, SETTINGS)
    monkeypatch.setattr("ingest.alignment.start.PORTION", 17)
    parts = start_heads(corpus, pairs, SETTINGS)
    for a, b in (("visual", "text"), ("audio", "text"), ("audio", "audio")):
        # Axes may be turned around: what is compared does not depend on their signs.
        cosines = [h[a].weights @ h[b].weights.T for h in (whole, parts)]
        np.testing.assert_allclose(cosines[1], cosines[0], atol=1e-5)
