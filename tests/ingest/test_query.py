"""Several queries are one, placed where a video with these parts would lie, and honest about its reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.contracts import CATALOGUE, EMBEDDINGS, MODALITIES, Floats, VideoTable, conform, schema
from features.errors import BadInput
from features.videos import build_video_table
from features.workspace import Workspace, open_workspace
from ingest.align import AlignSettings
from ingest.encoders.heads import Head, Heads, block_heads
from ingest.encoders.projector import FittedProjector, unit_rows
from ingest.encoders.query import ORIGIN_FILE, QueryEncoder, encoder_directory, save_query_encoder
from ingest.encoders.text import TEXT_VERSION
from ingest.encoders.vectors import unchanged
from ingest.fuse import fuse
from ingest.space import SpaceSettings, build_space, to_lists

DIM = 12


def encoder(heads: Heads, dims: dict[str, int]) -> QueryEncoder:
    """A query encoder whose raw descriptors are vectors already."""
    projections = {name: unchanged(dim) for name, dim in dims.items()}
    return QueryEncoder(heads, FittedProjector(heads.encoder_version, "planted", projections))


def turned_heads(dims: dict[str, int]) -> Heads:
    """An aligned space whose heads turn each modality in its own way."""
    draw = np.random.default_rng(3)
    turns = {name: np.linalg.qr(draw.standard_normal((dim, dim)))[0] for name, dim in dims.items()}
    heads = {name: Head(np.zeros(len(t), np.float32), t.astype(np.float32)) for name, t in turns.items()}
    return Heads("planted-1", True, heads)


def videos_of(vectors: dict[str, Floats], heads: Heads) -> VideoTable:
    n = len(next(iter(vectors.values())))
    keys = pl.DataFrame({"video_key": range(n), "video_id": [f"v{i}" for i in range(n)]})
    fused = fuse(vectors, heads)
    space = keys.with_columns(to_lists(fused.joint).alias("joint"), pl.Series("mask", fused.mask, pl.UInt8))
    space = space.with_columns(
        pl.lit(None, pl.Float32).alias(c) for c in ("agreement", "sound_fit", "text_fit")
    )
    columns = [to_lists(vectors[name]).alias(name) for name in MODALITIES if name in vectors]
    embeddings = conform(keys.with_columns(columns), EMBEDDINGS, "embeddings")
    return build_video_table(conform(keys, CATALOGUE, "catalogue"), space, embeddings)


def noisy(rows: Floats, level: float, seed: int) -> Floats:
    noise = np.random.default_rng(seed).standard_normal(rows.shape)
    return unit_rows((rows + level * noise / np.sqrt(rows.shape[1])).astype(np.float32))


def test_a_query_of_several_parts_lies_where_a_video_of_these_parts_lies() -> None:
    dims = dict.fromkeys(MODALITIES, DIM)
    heads = turned_heads(dims)
    rows = {name: noisy(np.zeros((1, DIM), np.float32), 1.0, seed) for seed, name in enumerate(MODALITIES)}
    found = encoder(heads, dims).query({name: [vector[0]] for name, vector in rows.items()})
    assert found is not None
    assert found.modalities == MODALITIES
    np.testing.assert_allclose(found.joint, fuse(rows, heads).joint[0], atol=1e-5)


def test_each_modality_counts_once_whoever_brought_it() -> None:
    dims = {"visual": DIM, "text": DIM}
    asked = encoder(turned_heads(dims), dims)
    picture, word = np.eye(DIM, dtype=np.float32)[:2]
    once, thrice = (asked.query({"visual": [picture] * n, "text": [word]}) for n in (1, 3))
    assert once is not None
    assert thrice is not None
    np.testing.assert_allclose(once.joint, thrice.joint, atol=1e-6)
    reversed_order = asked.query({"text": [word], "visual": [picture]})
    assert reversed_order is not None
    np.testing.assert_array_equal(once.joint, reversed_order.joint)


@pytest.mark.parametrize("aligned", [True, False])
def test_words_and_a_picture_together_find_what_neither_finds_alone(aligned: bool) -> None:
    """Four topics, of which each two look alike and each two are called alike."""
    topics = np.arange(200) % 4
    looks, names = np.eye(DIM, dtype=np.float32)[:2], np.eye(DIM, dtype=np.float32)[2:4]
    vectors = {"visual": noisy(looks[topics // 2], 0.6, 1), "text": noisy(names[topics % 2], 0.6, 2)}
    dims = {"visual": DIM, "text": DIM}
    same = {m: Head(np.zeros(DIM, np.float32), np.eye(DIM, dtype=np.float32)) for m in dims}
    heads = Heads("planted-1", True, same) if aligned else block_heads("planted-1", dims)
    asked, videos = encoder(heads, dims), videos_of(vectors, heads)

    def precision(parts: dict[str, Floats], topic: int) -> float:
        query = asked.query({name: [vector] for name, vector in parts.items()})
        assert query is not None
        return float((topics[np.argsort(-query.cosines(videos))[:20]] == topic).mean())

    for topic in range(4):
        parts = {"visual": looks[topic // 2], "text": names[topic % 2]}
        alone = [precision({name: part}, topic) for name, part in parts.items()]
        assert precision(parts, topic) >= 0.95
        assert max(alone) <= 0.8


def test_in_an_unaligned_space_words_are_compared_with_words_alone_and_that_is_said() -> None:
    dims = {"visual": DIM, "text": DIM}
    vectors = {name: noisy(np.zeros((6, DIM), np.float32), 1.0, seed) for seed, name in enumerate(dims)}
    vectors["text"][:3] = 0.0
    vectors["visual"][4] = 0.0
    heads = block_heads("planted-1", dims)
    query = encoder(heads, dims).query({"text": [vectors["text"][5]]})
    assert query is not None
    assert not query.aligned
    assert query.note is not None
    assert "compared by text alone" in query.note
    cosines = query.cosines(videos_of(vectors, heads))
    assert np.isneginf(cosines[:3]).all()
    # A video is not farther away for having a picture as well.
    np.testing.assert_allclose(cosines[3:], vectors["text"][3:] @ vectors["text"][5], atol=1e-5)


def test_where_a_part_of_the_modalities_meets_words_find_pictures_and_no_lone_sounds() -> None:
    dims = dict.fromkeys(MODALITIES, DIM)
    heads = block_heads("clip-1", dims, shared=("visual", "text"))
    vectors = {name: noisy(np.zeros((5, DIM), np.float32), 1.0, seed) for seed, name in enumerate(dims)}
    vectors["visual"][1] = vectors["text"][1] = 0.0
    vectors["text"][2] = 0.0
    query = encoder(heads, dims).query({"text": [vectors["visual"][2]]})
    assert query is not None
    assert query.note is not None
    assert "visual, text" in query.note
    cosines = query.cosines(videos_of(vectors, heads))
    assert np.isneginf(cosines[1])
    assert cosines.argmax() == 2
    assert cosines[2] == pytest.approx(1.0, abs=1e-5)


def test_a_query_that_says_nothing_is_none_and_one_of_another_space_is_refused() -> None:
    dims = {"visual": DIM, "text": DIM}
    heads = turned_heads(dims)
    asked = encoder(heads, dims)
    assert asked.query({"text": [np.zeros(DIM, np.float32)]}) is None
    assert asked.query({}) is None
    query = asked.query({"text": [np.eye(DIM, dtype=np.float32)[0]]})
    assert query is not None
    other = block_heads("planted-1", dims)
    videos = videos_of({name: np.eye(3, DIM, dtype=np.float32) for name in dims}, other)
    with pytest.raises(BadInput, match="the query has length 12, the videos 24"):
        query.cosines(videos)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = open_workspace(tmp_path / "ws", create=True)
    projector = FittedProjector("planted-1", "planted", {"text": unchanged(DIM)})
    projector.save(encoder_directory(workspace, "planted-1"))
    return workspace


def embed(workspace: Workspace, meta: dict[str, object] | None) -> str:
    frame = pl.DataFrame({"video_key": range(5), "video_id": [f"v{i}" for i in range(5)]})
    frame = frame.with_columns(to_lists(np.eye(5, DIM, dtype=np.float32)).alias("text"))
    rows = pl.concat([pl.DataFrame(schema=schema(EMBEDDINGS)), frame], how="diagonal")
    workspace.embeddings("planted-1").append(rows, meta=meta)
    return build_space(workspace, settings=SpaceSettings(AlignSettings(steps=1), threads=1)).space_version


def test_a_bundle_takes_along_what_embedded_its_catalogue(workspace: Workspace, tmp_path: Path) -> None:
    meta = {"encoder": ["text=hf:mini"], "descriptors": "version=mix-0a1b-77aa", "text": "mini-9"}
    save_query_encoder(workspace, embed(workspace, meta), tmp_path / "encoder")
    origin = QueryEncoder.load(tmp_path / "encoder").origin
    assert (origin.specs, origin.media_version, origin.text_version) == (
        ("text=hf:mini",),
        "mix-0a1b",
        "mini-9",
    )


def test_words_that_a_model_reads_are_refused_without_it_in_a_sentence(
    workspace: Workspace, tmp_path: Path
) -> None:
    save_query_encoder(
        workspace, embed(workspace, {"encoder": ["hf:/srv/mini"], "text": "mini-9"}), tmp_path / "e"
    )
    with pytest.raises(
        BadInput, match="embedded with mini-9, whose weights a server does not load"
    ) as raised:
        QueryEncoder.load(tmp_path / "e").text("sea")
    assert "/srv" not in str(raised.value), "a server's paths are nobody's business"


def test_a_bundle_of_an_earlier_release_was_embedded_by_signal(workspace: Workspace, tmp_path: Path) -> None:
    save_query_encoder(workspace, embed(workspace, None), tmp_path / "encoder")
    (tmp_path / "encoder" / ORIGIN_FILE).unlink()
    origin = QueryEncoder.load(tmp_path / "encoder").origin
    assert (origin.specs, origin.media_version, origin.text_version) == (("signal",), "", TEXT_VERSION)
