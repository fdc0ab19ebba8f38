"""Ways to put a video's id and modalities together: what each promises, in NumPy and in torch."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from features.contracts import MODALITIES, VideoTable
from features.errors import BadInput
from features.pipeline import FeatureSet
from features.workspace import Workspace, open_workspace
from ranker.bundle import ablated, load_bundle
from ranker.card import write_card
from ranker.content import content_vectors, without_content, without_modalities
from ranker.evaluation.fusions import compare_fusions
from ranker.examples import positive_pairs
from ranker.fusion import FUSIONS, SIGNALS, evidence_of, fits_of
from ranker.fusion_torch import untrained
from ranker.pipeline import TrainSettings, train
from ranker.score import TREE_FEATURES
from ranker.splits import Holdout
from ranker.two_tower import TowerSettings, VideoTower, _export, train_towers
from ranker.user_vector import less, video_vectors

World = Callable[..., FeatureSet]
KINDS = [kind for kind in FUSIONS if kind != "none"]
QUICK = TowerSettings(dim=16, epochs=2, min_steps=30, batch=128, negatives=40, threads=1)


def patchy(videos: VideoTable) -> VideoTable:
    """The table with some modalities missing, some filled in, one video bare, and fits for most."""
    draw = np.random.default_rng(3)
    lacks = {name: draw.random(len(videos)) < 0.3 for name in ("visual", "audio")}
    lacks["visual"][0] = lacks["audio"][0] = True
    vectors = {name: v * ~lacks[name][:, None] if name in lacks else v for name, v in videos.vectors.items()}
    mask = ~lacks["visual"] * np.uint8(1) + ~lacks["audio"] * np.uint8(2)
    fit = np.where(mask == 3, draw.random(len(videos)), np.nan).astype(np.float32)
    filled = (draw.random(len(videos)) < 0.2) & ~lacks["audio"]
    return replace(
        videos,
        vectors=vectors,
        mask=mask.astype(np.uint8),
        agreement=fit,
        sound_fit=fit,
        imputed=(filled * np.uint8(2)).astype(np.uint8),
    )


def stirred(videos: VideoTable, kind: str) -> VideoTower:
    """A video tower all of whose weights are random, so that none hides behind a zero."""
    generator = torch.Generator().manual_seed(1)
    tower = VideoTower(videos, 16, generator, kind)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return tower


def forward(tower: VideoTower, kept: dict[str, float], ids: float = 1.0) -> np.ndarray:
    n = len(tower.ids)
    masks = {name: torch.full((n, 1), kept.get(name, 1.0)) for name in tower.fusion.modalities}
    with torch.no_grad():
        return tower(torch.arange(n), masks, torch.full((n, 1), ids)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_and_torch_agree_whatever_is_missing_or_dropped(world: World, kind: str) -> None:
    videos = patchy(world().videos)
    tower = stirred(videos, kind)
    everything, cold = np.ones(len(videos), bool), np.zeros(len(videos), bool)
    user = VideoUser()
    warm_tower, cold_tower = (_export(tower, user, warm) for warm in (everything, cold))
    np.testing.assert_allclose(video_vectors(warm_tower, videos), forward(tower, {}), atol=1e-5)
    np.testing.assert_allclose(video_vectors(cold_tower, videos), forward(tower, {}, 0.0), atol=1e-5)
    mute = less(warm_tower, frozenset({"audio"}))
    deaf = without_modalities(videos, frozenset({"audio"}))
    for table in (videos, deaf):
        got = video_vectors(mute, table)
        seen = (videos.mask & 1).astype(bool) & (videos.mask & 2).astype(bool)
        np.testing.assert_allclose(got[seen], forward(tower, {"audio": 0.0})[seen], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_which_nothing_is_known_has_a_zero_vector_and_no_other_has(
    world: World, kind: str
) -> None:
    videos = patchy(world().videos)
    tower = _export(stirred(videos, kind), VideoUser(), np.zeros(len(videos), bool))
    vectors = video_vectors(tower, videos)
    assert not vectors[videos.mask == 0].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[videos.mask > 0], axis=1), 1, atol=1e-5)
    bare = video_vectors(tower, without_modalities(videos, frozenset(MODALITIES)))
    assert not bare.any()


class VideoUser:
    """Weights of a user tower that nobody looks at."""

    token_weights = torch.zeros(8)
    place_weights = torch.zeros(8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_signal_moves_the_vectors_and_an_unknown_fit_counts_as_the_mean_one(
    world: World, kind: str
) -> None:
    videos = patchy(world().videos)
    tower = _export(stirred(videos, kind), VideoUser(), np.ones(len(videos), bool))
    base, at = video_vectors(tower, videos), int(np.flatnonzero(videos.mask == 3)[0])
    for change in (
        {"imputed": np.where(np.arange(len(videos)) == at, videos.imputed ^ 2, videos.imputed)},
        {"sound_fit": np.where(np.arange(len(videos)) == at, np.float32(1), videos.sound_fit)},
        {"agreement": np.where(np.arange(len(videos)) == at, np.float32(-1), videos.agreement)},
    ):
        moved = video_vectors(tower, replace(videos, **change))
        assert np.abs(moved[at] - base[at]).max() > 1e-4
        np.testing.assert_allclose(np.delete(moved, at, 0), np.delete(base, at, 0), atol=1e-6)
    neutral = np.where(np.isnan(fits_of(videos)), tower.fusion.neutral, fits_of(videos))
    filled = replace(videos, agreement=neutral[:, 0], sound_fit=neutral[:, 1], text_fit=neutral[:, 2])
    np.testing.assert_allclose(video_vectors(tower, filled), base, atol=1e-5)


def test_signals_say_what_is_there_what_was_filled_in_and_how_well_it_fits(world: World) -> None:
    videos = patchy(world().videos)
    fusion = untrained("gated", videos)
    signals = evidence_of(fusion, videos).signals
    column = {name: signals[:, at] for at, name in enumerate(SIGNALS)}
    np.testing.assert_array_equal(column["has_visual"], videos.mask & 1)
    np.testing.assert_array_equal(column["filled_audio"], (videos.imputed >> 1) & 1)
    np.testing.assert_array_equal(column["has_text"], 0)
    known = np.isfinite(videos.sound_fit)
    assert column["sound_fit"][known].mean() == pytest.approx(0, abs=1e-6)
    assert not column["sound_fit"][~known].any()
    assert {"video_sound_fit", "video_text_fit", "video_imputed_audio", "video_has_audio"} <= set(
        TREE_FEATURES
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_tower_places_videos_that_nobody_watched_by_their_topic(world: World, kind: str) -> None:
    features = world(cold=8)
    run = train_towers(features.videos, positive_pairs(features), replace(QUICK, fusion=kind))
    vectors = video_vectors(run.tower, features.videos)
    cold, warm = vectors[-8:], vectors[:-8]
    nearest = np.argmax(cold @ warm.T, axis=1)
    assert (nearest % 4 == np.arange(52, 60) % 4).all()
    for name in ("visual", "audio"):
        lone = video_vectors(less(run.tower, frozenset({name})), features.videos)[-8:]
        assert (np.argmax(lone @ warm.T, axis=1) % 4 == np.arange(52, 60) % 4).mean() >= 0.75


def test_a_tower_without_fusion_knows_watched_videos_alone(world: World) -> None:
    features = world(cold=8)
    run = train_towers(features.videos, positive_pairs(features), replace(QUICK, fusion="none"))
    assert not run.tower.fusion.modalities
    vectors = video_vectors(run.tower, features.videos)
    assert not vectors[-8:].any()
    assert vectors[:-8].any(axis=1).all()


@pytest.mark.parametrize("kind", ["concat", "attention"])
def test_a_bundle_keeps_its_fusion_and_says_so(world: World, workspace: Workspace, kind: str) -> None:
    features = world(cold=4)
    features = replace(features, videos=patchy(features.videos))
    how = TrainSettings(epochs=1, dim=16, threads=1, candidates=40, fusion=kind)
    bundle = load_bundle(workspace.model(train(features, workspace, how)))
    assert bundle.manifest["fusion"] == bundle.tower.fusion.kind == kind
    assert f"| fusion of modalities | {kind} |" in write_card(bundle.manifest)
    assert np.isfinite(bundle.vectors).all()
    ids_alone = ablated(bundle, frozenset({"visual", "audio"})).vectors
    assert not np.array_equal(ids_alone, bundle.vectors)
    known = ids_alone.any(axis=1)
    np.testing.assert_array_equal(known, bundle.tower.ids.any(axis=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "said",
    [
        {"vectors": False},
        {"users": 1, "each": 3},
        {"videos": 1, "users": 5, "topics": 1, "each": 1},
    ],
)
def test_small_and_bare_worlds_train_with_every_fusion(world: World, said: dict[str, int], kind: str) -> None:
    features = world(**said)
    run = train_towers(features.videos, positive_pairs(features), replace(QUICK, fusion=kind, min_steps=3))
    assert np.isfinite(video_vectors(run.tower, features.videos)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_modality_alone_is_enough(world: World, kind: str) -> None:
    features = world(cold=8)
    videos = without_modalities(features.videos, frozenset({"audio"}))
    run = train_towers(videos, positive_pairs(features), replace(QUICK, fusion=kind))
    assert run.tower.fusion.modalities == ("visual",)
    assert video_vectors(run.tower, videos)[-8:].any(axis=1).all()


def test_an_unknown_fusion_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"'sum' is unknown; choose one of concat, gated, attention, none"):
        TrainSettings(fusion="sum")


def test_fusions_are_compared_on_one_cut_in_one_report(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    features = world(users=80)
    place = open_workspace(tmp_path_factory.mktemp("fusions"), create=True)
    cut = Holdout("time", until_ms=int(np.quantile(features.log.ts_ms, 0.7)))
    how = TrainSettings(epochs=1, dim=16, threads=1, candidates=40)
    out = place.report("fusions")
    said = compare_fusions(place, features, cut, how, out, kinds=("none", "concat"))
    assert [arm["name"] for arm in said["arms"]] == ["none", "concat"]
    assert said["arms"][0]["control"]
    assert {one["metric"] for one in said["lifts"]} >= {"recall", "ndcg"}
    names = said["inputs"]["bundles"]
    assert sorted(place.bundles()) == names
    kinds = {load_bundle(place.model(name)).manifest["fusion"] for name in names}
    assert kinds == {"none", "concat"}
    bare = next(b for n in names if (b := load_bundle(place.model(n))).manifest["fusion"] == "none")
    assert not bare.videos.mask.any()
    assert not content_vectors(bare.videos).shape[1]
    assert "| Recall@20 | " in (out / "report.md").read_text()


def test_fusions_of_nothing_are_not_compared(world: World, workspace: Workspace) -> None:
    features = world()
    how, out = TrainSettings(epochs=1, dim=16, threads=1), workspace.report("fusions")
    with pytest.raises(BadInput, match="hold out the last days"):
        compare_fusions(workspace, features, Holdout(), how, out)
    bare = replace(features, videos=without_content(features.videos))
    with pytest.raises(BadInput, match="nothing to put together"):
        compare_fusions(workspace, bare, Holdout("leave_last", n=1), how, out)
    assert not workspace.bundles()
