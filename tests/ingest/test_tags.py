"""Tags from picture and sound: a probability of 0.7 is right seven times in ten, and luck is no skill."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import CATALOGUE, EMBEDDINGS, MODALITIES, Floats, VideoTable, conform
from features.errors import BadInput
from features.videos import build_video_table
from ingest.encoders import tags as tags_module
from ingest.encoders.calibration import Curve, auc_of, calibration_error, fit_curve, reliability
from ingest.encoders.fit_tags import TagSettings, fit_tagger
from ingest.encoders.heads import Head, Heads, block_heads
from ingest.encoders.projector import unit_rows
from ingest.encoders.tags import Tagger, catalogue_tags, see

DIM, TOPICS = 24, 6
NAMES = tuple(f"topic {t}" for t in range(TOPICS))
QUICK = TagSettings(folds=3)


def aligned_heads() -> Heads:
    same = Head(np.zeros(DIM, np.float32), np.eye(DIM, dtype=np.float32))
    return Heads("planted-1", True, dict.fromkeys(MODALITIES, same))


def planted(n: int, seed: int, *, coin: bool = True) -> VideoTable:
    """Videos of six topics: noisy pictures and sounds, a tag that four in five of them carry, and a coin."""
    draw = np.random.default_rng(seed)
    topics = draw.integers(0, TOPICS, n)
    shown = np.eye(TOPICS, DIM)[topics]
    vectors = {
        name: unit_rows((shown + draw.normal(0, 0.35, (n, DIM))).astype(np.float32)) for name in MODALITIES
    }
    vectors["audio"][draw.random(n) < 0.3] = 0.0
    tags = [
        [
            name
            for name, has in ((NAMES[t], draw.random() < 0.8), ("coin", draw.random() < 0.4))
            if has and (coin or name != "coin")
        ]
        for t in topics
    ]
    return table(vectors, tags)


def table(vectors: dict[str, Floats], tags: list[list[str]]) -> VideoTable:
    n = len(tags)
    keys = pl.DataFrame({"video_key": range(n), "video_id": [f"v{i}" for i in range(n)]})
    embedded = keys.with_columns(
        pl.Series(name, [row.tolist() if row.any() else None for row in rows], pl.List(pl.Float32))
        for name, rows in vectors.items()
    )
    catalogue = keys.with_columns(pl.Series("tags", tags, pl.List(pl.String)))
    return build_video_table(
        conform(catalogue, CATALOGUE, "catalogue"), None, conform(embedded, EMBEDDINGS, "embeddings")
    )


def asked(names: tuple[str, ...]) -> Floats:
    """Each topic's name is heard as its topic; "coin" and "lamp" as directions of their own."""
    draw = np.random.default_rng(1)
    known = dict(zip(NAMES, np.eye(TOPICS, DIM, dtype=np.float32), strict=True))
    known |= {name: unit_rows(draw.standard_normal(DIM).astype(np.float32)) for name in ("coin", "lamp")}
    return np.stack([known.get(name, np.zeros(DIM, np.float32)) for name in names])


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    videos = planted(2_000, seed=0)
    names = catalogue_tags(videos, 10)
    assert set(names) == {*NAMES, "coin"}
    return fit_tagger(videos, aligned_heads(), names, asked(names), settings=QUICK)


def test_probabilities_are_frequencies_on_videos_that_nobody_has_seen(tagger: Tagger) -> None:
    fresh = planted(6_000, seed=99)
    rows = np.flatnonzero([bool(own) for own in fresh.tags])  # nobody has said what the others are
    found = tagger.probabilities(fresh, rows)
    true = np.array([[tag in fresh.tags[row] for tag in tagger.tags] for row in rows])
    bins = reliability(found.ravel().astype(np.float64), true.ravel())
    assert len([one for one in bins if one.count >= 200]) >= 5
    assert all(abs(one.predicted - one.observed) <= 0.1 for one in bins if one.count >= 200)
    assert calibration_error(bins) <= 0.02
    # What the report promised of held-out videos holds for new ones.
    assert tagger.report.error == pytest.approx(calibration_error(bins), abs=0.02)
    told = found >= 0.5
    assert tagger.report.precision == pytest.approx(true[told].mean(), abs=0.05)


def test_a_tag_whose_scores_mean_nothing_is_left_out_and_listed(tagger: Tagger) -> None:
    assert set(tagger.tags) == set(NAMES)
    left = [fit for fit in tagger.fits if not fit.kept]
    assert [fit.tag for fit in left] == ["coin"]
    assert left[0].auc is not None
    assert left[0].auc.low <= 0.5 <= left[0].auc.high


def test_a_tag_that_nobody_has_used_gets_the_curve_of_the_others() -> None:
    videos = planted(1_500, seed=0)
    bare = table(
        {name: videos.vectors[name] for name in MODALITIES},
        [[tag for tag in own if tag != NAMES[0]] or ["other"] for own in videos.tags],
    )
    tagger = fit_tagger(bare, aligned_heads(), NAMES, asked(NAMES), settings=QUICK)
    fit = tagger.fits[0]
    assert (fit.uses, fit.auc, fit.kept) == (0, None, True)
    found = tagger.probabilities(bare, np.arange(len(bare)))[:, tagger.tags.index(NAMES[0])]
    true = np.array([NAMES[0] in own for own in videos.tags])
    assert found[true].mean() > 0.5
    assert found[~true].mean() < 0.1
    assert 0 < tagger.report.unused_error < 0.1


def test_the_words_of_a_video_and_what_neighbours_lent_it_say_nothing(tagger: Tagger) -> None:
    videos = planted(50, seed=5)
    rows = np.arange(50)
    before = tagger.probabilities(videos, rows)
    vectors = {**videos.vectors, "text": videos.vectors["text"][::-1].copy()}
    other_words = table(vectors, [list(own) for own in videos.tags])
    np.testing.assert_array_equal(tagger.probabilities(other_words, rows), before)
    videos.mask[0] = 4  # its picture and sound are its neighbours'
    assert not see(videos, tagger.heads, rows)[0].any()
    assert np.isnan(tagger.probabilities(videos, rows)[0]).all()


def test_videos_in_blocks_and_all_at_once_get_the_same_tags(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = planted(100, seed=6)
    [whole] = tagger.best(videos, 3)
    monkeypatch.setattr(tags_module, "BLOCK", 7)
    parts = list(tagger.best(videos, 3))
    assert [len(part.rows) for part in parts] == [*[7] * 14, 2]
    np.testing.assert_array_equal(np.concatenate([part.tags for part in parts]), whole.tags)
    np.testing.assert_allclose(
        np.concatenate([part.probabilities for part in parts]), whole.probabilities, rtol=1e-4
    )
    assert (np.diff(whole.probabilities, axis=1) <= 0).all()
    everything = tagger.probabilities(videos, np.arange(100))
    np.testing.assert_allclose(whole.probabilities, -np.sort(-everything, axis=1)[:, :3], rtol=1e-5)


def test_more_tags_than_there_are_is_all_of_them(tagger: Tagger) -> None:
    [block] = tagger.best(planted(5, seed=6), 50)
    assert block.tags.shape == (5, len(tagger.tags))


def test_what_cannot_be_told_is_refused_in_a_sentence() -> None:
    videos, names = planted(300, seed=0, coin=False), NAMES
    with pytest.raises(BadInput, match="words are not aligned with pictures"):
        fit_tagger(videos, block_heads("planted-1", dict.fromkeys(MODALITIES, DIM)), names, asked(names))
    untagged = table(dict(videos.vectors), [[] for _ in videos.tags])
    with pytest.raises(BadInput, match="no video of the catalogue has a tag"):
        fit_tagger(untagged, aligned_heads(), names, asked(names))
    with pytest.raises(BadInput, match="no tag of the vocabulary is on 10 videos"):
        fit_tagger(videos, aligned_heads(), ("lamp",), asked(("lamp",)))
    with pytest.raises(BadInput, match="none of the 1 tags has a word"):
        fit_tagger(videos, aligned_heads(), ("???",), asked(("???",)))
    coins = planted(300, seed=0)
    with pytest.raises(BadInput, match="can be told from chance"):
        fit_tagger(coins, aligned_heads(), ("coin",), asked(("coin",)))


def test_a_tag_without_a_known_word_is_listed_as_such() -> None:
    videos = planted(300, seed=0)
    tagger = fit_tagger(videos, aligned_heads(), (*NAMES, "???"), asked((*NAMES, "???")), settings=QUICK)
    assert tagger.unknown == ("???",)
    assert "???" not in tagger.tags


scores = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40)


@given(scores)
def test_the_area_is_the_share_of_pairs_in_the_right_order(drawn: list[tuple[int, bool]]) -> None:
    values, applies = np.array([v for v, _ in drawn], np.float64), np.array([a for _, a in drawn])
    found = auc_of(values, applies)
    pairs = [(a > b) + 0.5 * (a == b) for a in values[applies] for b in values[~applies]]
    assert found.value == pytest.approx(np.mean(pairs) if pairs else 0.5)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_chance_beats_chance_about_as_often_as_it_should() -> None:
    draw = np.random.default_rng(0)
    for uses in (2, 10, 100):
        lucky = [auc_of(draw.standard_normal(200), np.arange(200) < uses).beats_chance for _ in range(400)]
        assert np.mean(lucky) <= 0.06  # 2.5 % on one side, and four standard errors of 400 draws


def test_two_lucky_examples_are_no_proof() -> None:
    assert not auc_of(np.arange(4.0), np.arange(4) >= 2).beats_chance


@pytest.mark.parametrize("truth", [Curve(1.7, -2.2, 0.98), Curve(2.5, -1.0, 0.5)])
def test_a_known_curve_is_found_again(truth: Curve) -> None:
    draw = np.random.default_rng(0)
    z = draw.standard_normal(40_000)
    found = fit_curve(z, draw.random(len(z)) < truth(z))
    at = np.linspace(-3, 3, 25)
    np.testing.assert_allclose(found(at), truth(at), atol=0.02)


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.5, 50))
def test_scores_that_part_cleanly_leave_a_finite_rising_curve(low: int, high: int, gap: float) -> None:
    z = np.concatenate([np.full(low, -gap), np.full(high, gap)])
    curve = fit_curve(z, z > 0)
    values = curve(np.linspace(-gap, gap, 5))
    assert np.isfinite([curve.slope, curve.intercept, curve.ceiling]).all()
    assert all(a <= b for a, b in pairwise(values.tolist()))


def test_bins_count_every_prediction_once() -> None:
    predicted, applies = np.array([0.0, 0.05, 0.55, 1.0]), np.array([False, False, True, True])
    bins = reliability(predicted, applies)
    assert [(one.count, one.observed) for one in bins] == [(2, 0.0), (1, 1.0), (1, 1.0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.025 + 0.45) / 4)
    assert calibration_error(()) == 0.0
