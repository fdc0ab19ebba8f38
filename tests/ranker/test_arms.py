"""Arms as they are written on a command line, and the baselines they may be."""

from collections.abc import Callable

import numpy as np
import pytest

from features.contracts import NO_KEY
from features.errors import BadInput, NotFound
from features.pipeline import FeatureSet
from features.workspace import Workspace
from ranker.evaluation.arms import Arm, check_arms, parse_arm, resolve_bundle
from ranker.evaluation.baselines import first_unseen, popular_order, random_unseen, recent_order, seen_before
from ranker.evaluation.metrics import KeySets, find_hits

World = Callable[..., FeatureSet]


def test_a_bundle_may_lose_several_components_written_with_dashes_or_underscores() -> None:
    arm = parse_arm("lean = 20260131t020000-1a2b3c4d-visual-item-item-two_tower")
    assert arm.bundle == "20260131t020000-1a2b3c4d"
    assert arm.without == {"visual", "item_item", "two_tower"}
    assert parse_arm("full=current") == Arm("full", "bundle", "current")


def test_a_baseline_needs_no_bundle_but_a_bundle_may_go_without_its_popular_source() -> None:
    assert parse_arm("base=popular") == Arm("base", "popular")
    assert parse_arm("x=current-popular").without == {"popular"}


@pytest.mark.parametrize("text", ["popular", "=popular", "base=", " = "])
def test_an_arm_without_a_name_or_a_spec_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not NAME=SPEC"):
        parse_arm(text)


def test_the_logged_policy_is_refused_with_the_reason() -> None:
    with pytest.raises(BadInput, match="cannot replay"):
        parse_arm("old=logged")


def test_one_arm_is_no_comparison_and_two_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match="two or more"):
        check_arms([parse_arm("a=popular")])
    with pytest.raises(BadInput, match="a given twice"):
        check_arms([parse_arm("a=popular"), parse_arm("a=random")])


def test_a_bundle_that_is_not_there_is_named_with_what_may_be_written(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match=r"current-sound.*it has none.*-COMPONENT"):
        resolve_bundle(workspace, parse_arm("x=current-sound"))
    with pytest.raises(NotFound, match="no bundle is published"):
        resolve_bundle(workspace, parse_arm("x=current"))


def test_baselines_show_each_user_k_different_videos_that_were_not_seen(world: World) -> None:
    features = world(users=30, videos=20, vectors=False)
    seen = seen_before(features.log, np.arange(30))
    for slates in (
        first_unseen(recent_order(features), seen, 6),
        random_unseen(features.videos.keys, seen, 6, seed=3, progress=lambda _: None),
    ):
        assert not find_hits(slates, seen).any()
        assert (slates != NO_KEY).all()
        assert all(len(set(slate)) == 6 for slate in slates.tolist())


def test_the_popular_order_is_by_positive_events_and_the_recent_one_by_age(world: World) -> None:
    features = world(users=6, videos=5, topics=1)
    order = popular_order(features, np.array([3, 3, 1, 1, 1, 4]))
    assert order.tolist() == [1, 3, 4, 0, 2]
    assert recent_order(features).tolist() == [0, 1, 2, 3, 4]  # later keys were published earlier


def test_a_user_who_has_seen_nearly_all_gets_a_shorter_slate() -> None:
    seen = KeySets.of([np.array([0, 1, 2]), np.array([], np.int64)])
    slates = first_unseen(np.arange(4), seen, 3)
    assert slates.tolist() == [[3, NO_KEY, NO_KEY], [0, 1, 2]]
    drawn = random_unseen(np.arange(4), seen, 3, seed=1, progress=lambda _: None)
    assert drawn[0].tolist() == [3, NO_KEY, NO_KEY]


def test_random_slates_are_even_over_the_catalogue_and_follow_the_seed() -> None:
    nobody = KeySets.of([np.zeros(0, np.int64)] * 4000)
    slates = random_unseen(np.arange(10), nobody, 3, seed=5, progress=lambda _: None)
    share = np.bincount(slates.ravel(), minlength=10) / len(slates)
    assert share == pytest.approx(np.full(10, 0.3), abs=0.04)
    again = random_unseen(np.arange(10), nobody, 3, seed=5, progress=lambda _: None)
    assert (again == slates).all()


def test_a_new_user_has_seen_nothing(world: World) -> None:
    features = world(users=3, videos=8, topics=1)
    seen = seen_before(features.log, np.array([-1, 0]))
    assert seen.sizes[0] == 0
    assert seen.sizes[1] > 0
