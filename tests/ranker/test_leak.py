"""A space that learnt from what an evaluation holds out is named; one that cannot have is not."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.workspace import Workspace, open_workspace
from ranker.evaluation.leak import warn_of_leak
from ranker.splits import Holdout

CUT = 1_700_000_000_000
BEHIND_CUT = Holdout("time", until_ms=CUT)
LATER, EARLIER = CUT + 1, CUT


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path, create=True)


def space(workspace: Workspace, version: str, **meta: Any) -> str:
    row = pl.DataFrame({"video_key": [0], "video_id": ["v0"], "mask": [0]})
    workspace.space(version).replace(row, meta={"encoder_version": "planted", **meta})
    return version


def test_vectors_filled_in_from_a_graph_that_learnt_after_the_cut_are_named(workspace: Workspace) -> None:
    leaky = space(workspace, "leaky", imputed=3, graph_until_ms=LATER)
    said = warn_of_leak(workspace, leaky, BEHIND_CUT)
    assert said is not None
    assert "until 2023-11-14 22:13 UTC, after the cut at 2023-11-14 22:13 UTC" in said
    assert warn_of_leak(workspace, leaky, Holdout("time", until_ms=LATER)) is None


def test_a_graph_from_before_the_cut_or_one_that_reached_no_vector_leaks_nothing(
    workspace: Workspace,
) -> None:
    honest = space(workspace, "honest", imputed=3, graph_until_ms=EARLIER)
    unused = space(workspace, "unused", imputed=0, co_watched=False, graph_until_ms=LATER)
    old = space(workspace, "old")  # of a version that knew no graph
    for version in (honest, unused, old, None):
        assert warn_of_leak(workspace, version, BEHIND_CUT) is None
        assert warn_of_leak(workspace, version, Holdout("none")) is None


def test_heads_that_began_as_leaky_ones_leak_and_fresh_ones_do_not(workspace: Workspace) -> None:
    space(workspace, "first", co_watched=True, imputed=1, graph_until_ms=LATER)
    space(workspace, "second", warm=True, before="first", imputed=1, graph_until_ms=EARLIER)
    third = space(workspace, "third", warm=True, before="second")
    fresh = space(workspace, "fresh", warm=False, before="second")
    said = warn_of_leak(workspace, third, BEHIND_CUT) or ""
    assert "third learnt from" in said
    assert "remove spaces/" in said
    assert warn_of_leak(workspace, fresh, BEHIND_CUT) is None


def test_what_was_filled_in_last_night_is_not_in_tonights_heads(workspace: Workspace) -> None:
    space(workspace, "first", imputed=1, graph_until_ms=LATER)
    assert warn_of_leak(workspace, space(workspace, "second", warm=True, before="first"), BEHIND_CUT) is None


@pytest.mark.parametrize(("until_ms", "holdout"), [(None, BEHIND_CUT), (EARLIER, Holdout("leave_last", n=1))])
def test_where_no_instant_parts_them_the_reader_is_told_so(
    workspace: Workspace, until_ms: int | None, holdout: Holdout
) -> None:
    version = space(workspace, "borrowed", imputed=1, graph_until_ms=until_ms)
    assert "no instant parts" in (warn_of_leak(workspace, version, holdout) or "")


def test_of_a_space_that_is_gone_nobody_can_tell(workspace: Workspace) -> None:
    assert "no longer in the workspace" in (warn_of_leak(workspace, "gone", BEHIND_CUT) or "")
