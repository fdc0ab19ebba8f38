"""Cold videos apart: what nobody had met before the cut, judged alone, with paired differences."""

from collections.abc import Callable

import numpy as np
import pytest

from features.contracts import NO_KEY, Int64s
from features.pipeline import FeatureSet
from ranker.evaluation.arms import Arm
from ranker.evaluation.cold import cold_head, cold_rows, cold_section, cold_sentence, cold_videos
from ranker.evaluation.metrics import KeySets
from ranker.evaluation.slates import Slates
from ranker.evaluation.slices import cold_keys
from ranker.splits import Holdout, Split, split

World = Callable[..., FeatureSet]
K = 10


@pytest.fixture
def parts(world: World) -> Split:
    features = world(users=40, videos=120, each=6)
    return split(features, Holdout("time", until_ms=int(np.quantile(features.log.ts_ms, 0.3))))


def shown(parts: Split, wanted: Callable[[Int64s], Int64s]) -> Int64s:
    """A slate a user, of the wanted ones among what they went on to like."""
    out = np.full((len(parts.truth), K), NO_KEY, np.int64)
    for user, keys in enumerate(parts.truth.relevant):
        best = wanted(keys)[:K]
        out[user, : len(best)] = best
    return out


def test_only_liked_videos_that_nobody_had_met_count_and_lifts_are_paired(parts: Split) -> None:
    cold = cold_keys(parts)
    relevant = KeySets.of(parts.truth.relevant)
    slates = [
        Slates(Arm("known", "bundle"), shown(parts, lambda keys: np.setdiff1d(keys, cold))),
        Slates(Arm("all", "bundle"), shown(parts, lambda keys: keys)),
    ]
    said = cold_videos(slates, relevant, parts, seed=7)
    assert said is not None
    assert said["relevant"] == int(np.isin(relevant.keys, cold).sum()) > 0
    assert said["users"] == sum(np.isin(keys, cold).any() for keys in parts.truth.relevant)
    assert said["arms"]["known"]["recall"]["value"] == 0
    assert said["arms"]["all"]["recall"]["value"] == 1
    assert {one["metric"] for one in said["lifts"]} == {"recall", "ndcg"}
    assert all(one["arm"] == "all" and one["clear"] for one in said["lifts"])
    assert said["lifts"][0]["absolute"]["low"] == said["lifts"][0]["absolute"]["high"] == 1


def test_the_table_has_a_row_an_arm_and_marks_the_control(parts: Split) -> None:
    relevant = KeySets.of(parts.truth.relevant)
    slates = [Slates(Arm(name, "bundle"), shown(parts, lambda keys: keys)) for name in ("a<b", "other")]
    content = {"k": K, "cold_videos": cold_videos(slates, relevant, parts, seed=7)}
    rows = cold_rows(content)
    assert [row[0] for row in rows] == ["a<b", "other"]
    assert all(len(row) == len(cold_head(content)) for row in rows)
    assert rows[0][1].endswith("control")
    assert "+0.0000" in rows[1][1]
    assert "clear" not in rows[1][1]
    page = cold_section(content)
    assert "a&lt;b" in page
    assert cold_sentence(content) in page


def test_where_no_new_video_was_liked_nothing_is_said(world: World) -> None:
    features = world()
    parts = split(features, Holdout("leave_last", n=1))
    relevant = KeySets.of(parts.truth.relevant).only(
        ~np.isin(KeySets.of(parts.truth.relevant).keys, cold_keys(parts))
    )
    slates = [Slates(Arm("one", "bundle"), np.full((len(relevant), K), NO_KEY, np.int64))] * 2
    assert cold_videos(slates, relevant, parts, seed=7) is None
    assert cold_section({"k": K, "cold_videos": None}) == ""
