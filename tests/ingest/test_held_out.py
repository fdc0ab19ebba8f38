"""Tags are judged by heads that never saw the videos: what was learnt by heart does not pass for skill."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.contracts import CATALOGUE, EMBEDDINGS, Floats, VideoTable, conform
from features.errors import BadInput
from features.videos import build_video_table
from ingest.align import AlignSettings
from ingest.alignment.corpus import Corpus
from ingest.alignment.train import train_heads
from ingest.encoders.fit_tags import fit_tagger
from ingest.encoders.heads import Heads, block_heads
from ingest.encoders.projector import unit_rows
from ingest.held_out import held_out_heads

DIM, N = 40, 160
FAST = AlignSettings(steps=5)


def unrelated() -> tuple[VideoTable, Floats]:
    """Videos whose pictures have nothing to do with their words, and the words of two tags."""
    draw = np.random.default_rng(0)
    tags = draw.integers(0, 2, N)
    words = unit_rows(draw.standard_normal((2, DIM)).astype(np.float32))
    vectors = {
        "visual": unit_rows(draw.standard_normal((N, DIM)).astype(np.float32)),
        "text": unit_rows((words[tags] + draw.normal(0, 0.1, (N, DIM))).astype(np.float32)),
    }
    keys = pl.DataFrame({"video_key": range(N), "video_id": [f"v{i}" for i in range(N)]})
    embedded = keys.with_columns(
        pl.Series(name, rows.tolist(), pl.List(pl.Float32)) for name, rows in vectors.items()
    )
    catalogue = keys.with_columns(pl.Series("tags", [[f"tag {t}"] for t in tags], pl.List(pl.String)))
    videos = build_video_table(
        conform(catalogue, CATALOGUE, "catalogue"), None, conform(embedded, EMBEDDINGS, "embeddings")
    )
    return videos, words


def trained(videos: VideoTable) -> Heads:
    vectors = {name: videos.vectors[name] for name in ("visual", "text")}
    corpus = Corpus(vectors, np.full(N, -1, np.int64))
    return Heads("planted-1", True, train_heads(corpus, [("visual", "text")], FAST, 7))


def test_heads_that_know_their_videos_by_heart_look_skilled_and_held_out_ones_do_not() -> None:
    videos, words = unrelated()
    heads, names = trained(videos), ["tag 0", "tag 1"]
    fooled = fit_tagger(videos, heads, names, words)
    assert all(fit.auc is not None and fit.auc.beats_chance for fit in fooled.fits)
    with pytest.raises(BadInput, match="can be told from chance"):
        fit_tagger(videos, heads, names, words, held_out_heads(videos, heads, settings=FAST))


def test_every_video_is_held_out_once_and_near_duplicates_together() -> None:
    videos, _ = unrelated()
    heads = trained(videos)
    groups = np.where(np.arange(N) < 60, np.arange(N) // 3, -1)
    folds = held_out_heads(videos, heads, groups=groups, settings=FAST)
    assert sorted(np.concatenate([fold.rows for fold in folds]).tolist()) == list(range(N))
    for fold in folds:
        inside = np.isin(np.arange(60), fold.rows).reshape(20, 3)
        assert (inside.all(axis=1) | ~inside.any(axis=1)).all()
    again = held_out_heads(videos, heads, groups=groups, settings=FAST)
    for one, other in zip(folds, again, strict=True):
        np.testing.assert_array_equal(
            one.heads.by_modality["text"].weights, other.heads.by_modality["text"].weights
        )


def test_a_space_that_came_with_its_encoder_has_seen_no_video() -> None:
    videos, _ = unrelated()
    heads = block_heads("clip-1", {"visual": DIM, "text": DIM}, shared=("visual", "text"))
    assert held_out_heads(videos, heads, shared=("visual", "text")) == ()


def test_a_sample_with_too_few_pairs_holds_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    videos, _ = unrelated()
    monkeypatch.setattr("ingest.held_out.SAMPLE", FAST.min_pairs - 1)
    assert held_out_heads(videos, trained(videos), settings=FAST) == ()
