"""Fit and conflict on planted corpora: wrong sounds and titles are found, and it is said which they are."""

import numpy as np
import pytest

from features.contracts import Floats, Int64s
from ingest.agree import Agreement, AgreeSettings, judge_agreement
from ingest.align import AlignSettings, align
from ingest.encoders.heads import Heads, block_heads
from tests.ingest.planted_corpus import SIZES, TOPICS, anchored, planted

SETTINGS = AgreeSettings(others=150)
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def conflicted(n: int = 600, share: float = 0.04) -> tuple[dict[str, Floats], Int64s, dict[str, Flags]]:
    """A corpus in which a share of the sounds, and of the titles, is another topic's; and which."""
    vectors, topics = planted(n)
    rng, wrong = np.random.default_rng(9), {}
    for modality in ("audio", "text"):
        present = np.flatnonzero(vectors[modality].any(axis=1))
        chosen = rng.choice(present, int(share * n), replace=False)
        rows = vectors[modality].copy()
        for at in chosen:
            rows[at] = vectors[modality][rng.choice(present[topics[present] != topics[at]])]
        vectors[modality] = rows
        wrong[modality] = np.isin(np.arange(n), chosen)
    return vectors, topics, wrong


def heads_of(vectors: dict[str, Floats], shared: tuple[str, ...] = ()) -> Heads:
    found = align(vectors, "test", AlignSettings(steps=10), shared=shared)
    assert found is not None
    return found.heads


def auc(scores: Floats, positive: Flags) -> float:
    """Share of pairs in which the positive scores higher, videos without a score aside."""
    known = ~np.isnan(scores)
    high, low = scores[known & positive], scores[known & ~positive]
    return float(((high[:, None] > low[None, :]) + 0.5 * (high[:, None] == low[None, :])).mean())


@pytest.fixture(scope="module")
def world() -> tuple[dict[str, Floats], Int64s, dict[str, Flags], Heads, Agreement]:
    vectors, topics, wrong = conflicted()
    heads = heads_of(vectors)
    return vectors, topics, wrong, heads, judge_agreement(vectors, heads, settings=SETTINGS)


World = tuple[dict[str, Floats], Int64s, dict[str, Flags], Heads, Agreement]


def test_planted_conflicts_have_the_highest_scores(world: World) -> None:
    _, _, wrong, _, found = world
    assert auc(found.conflict, wrong["audio"] | wrong["text"]) > 0.9
    for modality, other in (("audio", "text"), ("text", "audio")):
        apart = ~wrong[other]
        assert auc(found.conflict[apart], wrong[modality][apart]) > 0.9


def test_each_fit_falls_with_its_own_modality(world: World) -> None:
    _, _, wrong, _, found = world
    assert auc(-found.sound_fit, wrong["audio"]) > 0.9
    assert auc(-found.text_fit, wrong["text"]) > 0.9
    fine = ~(wrong["audio"] | wrong["text"])
    assert np.nanmedian(found.sound_fit[fine]) > 0.9 > np.nanmedian(found.sound_fit[wrong["audio"]])
    assert np.nanmedian(found.text_fit[fine]) > 0.9 > np.nanmedian(found.text_fit[wrong["text"]])


def test_of_three_modalities_the_wrong_one_is_named(world: World) -> None:
    vectors, _, wrong, _, found = world
    three = np.all([rows.any(axis=1) for rows in vectors.values()], axis=0)
    np.testing.assert_array_equal(found.odd >= 0, three)
    for place, modality, other in ((1, "audio", "text"), (2, "text", "audio")):
        known = wrong[modality] & ~wrong[other] & three
        assert (found.odd[known] == place).mean() > 0.7


def test_what_cannot_be_said_is_not_said(world: World) -> None:
    vectors, _, _, heads, found = world
    present = {m: rows.any(axis=1) for m, rows in vectors.items()}
    for fit, modality, others in (
        (found.sound_fit, "audio", ("visual", "text")),
        (found.text_fit, "text", ("visual", "audio")),
    ):
        sayable = present[modality] & (present[others[0]] | present[others[1]])
        np.testing.assert_array_equal(~np.isnan(fit), sayable)
    several = sum(flags.astype(int) for flags in present.values()) > 1
    np.testing.assert_array_equal(~np.isnan(found.conflict), several)
    apart = judge_agreement(vectors, block_heads("test", SIZES), settings=SETTINGS)
    few = judge_agreement({m: rows[:19] for m, rows in vectors.items()}, heads, settings=SETTINGS)
    for nothing in (apart, few):
        assert np.isnan([nothing.sound_fit, nothing.text_fit, nothing.conflict]).all()
        assert (nothing.odd == -1).all()


def test_ranks_are_shares(world: World) -> None:
    found = world[4]
    for column in (found.sound_fit, found.text_fit, found.conflict):
        assert column.dtype == np.float32
        assert np.nanmin(column) >= 0.0
        assert np.nanmax(column) <= 1.0


def test_a_fit_is_the_share_of_other_sounds_that_fit_worse(world: World) -> None:
    vectors, _, _, heads, _ = world
    some = {m: rows[:80] for m, rows in vectors.items() if m != "text"}
    found = judge_agreement(some, heads, settings=AgreeSettings(same=2.0))
    seen = {m: heads.by_modality[m].apply(rows) for m, rows in some.items()}
    both = np.flatnonzero(some["visual"].any(axis=1) & some["audio"].any(axis=1))
    for at in both[:20]:
        others = np.setdiff1d(np.flatnonzero(some["audio"].any(axis=1)), [at])
        cosine = seen["audio"] @ seen["visual"][at]
        assert found.sound_fit[at] == pytest.approx((cosine[others] < cosine[at]).mean(), abs=1e-6)


def test_copies_of_a_sound_do_not_pull_its_fit_down(world: World) -> None:
    vectors, _, wrong, heads, before = world
    fine = np.flatnonzero(~wrong["audio"] & (before.sound_fit > 0.97) & vectors["visual"].any(axis=1))[:1]
    copies = {m: np.concatenate([rows, np.repeat(rows[fine], 600, axis=0)]) for m, rows in vectors.items()}
    everyone = AgreeSettings(others=1200)
    after = judge_agreement(copies, heads, settings=everyone)
    counted = judge_agreement(copies, heads, settings=AgreeSettings(others=1200, same=2.0))
    assert after.sound_fit[fine] == pytest.approx(
        judge_agreement(vectors, heads, settings=everyone).sound_fit[fine]
    )
    assert counted.sound_fit[fine] < after.sound_fit[fine] - 0.1


def test_what_was_filled_in_is_neither_judged_nor_a_judge(world: World) -> None:
    vectors, topics, _, heads, _ = world
    flags = np.zeros(len(topics), np.bool_)
    flags[::3] = True
    found = judge_agreement(vectors, heads, {"audio": flags}, SETTINGS)
    without = {**vectors, "audio": np.where(flags[:, None], 0, vectors["audio"])}
    expected = judge_agreement(without, heads, settings=SETTINGS)
    for name in ("sound_fit", "text_fit", "conflict", "odd"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_any_number_of_videos_at_once_gives_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _, _, heads, found = world
    monkeypatch.setattr("ingest.agree.CHUNK", 77)
    parts = judge_agreement(vectors, heads, settings=SETTINGS)
    np.testing.assert_allclose(parts.conflict, found.conflict, atol=0.02)
    np.testing.assert_array_equal(np.isnan(parts.sound_fit), np.isnan(found.sound_fit))


def test_conflicts_are_found_in_a_space_where_words_are_far_from_all_pictures() -> None:
    vectors, topics = anchored(400)
    rng = np.random.default_rng(4)
    wrong = np.isin(
        np.arange(400), rng.choice(np.flatnonzero(vectors["text"].any(axis=1)), 30, replace=False)
    )
    other = {
        topic: np.flatnonzero((topics != topic) & vectors["text"].any(axis=1)) for topic in range(TOPICS)
    }
    texts = vectors["text"].copy()
    for at in np.flatnonzero(wrong):
        texts[at] = vectors["text"][rng.choice(other[topics[at]])]
    vectors["text"] = texts
    found = judge_agreement(vectors, heads_of(vectors, ("visual", "text")), settings=SETTINGS)
    assert auc(found.conflict, wrong) > 0.9


def test_no_videos_are_judged_to_nothing() -> None:
    empty = {m: np.zeros((0, size), np.float32) for m, size in SIZES.items()}
    found = judge_agreement(empty, block_heads("test", SIZES))
    assert len(found.sound_fit) == len(found.odd) == 0
