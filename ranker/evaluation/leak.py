"""Did a space know what an evaluation holds out? Its vectors may come from a graph that learnt later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from features.workspace import Workspace
from ranker.splits import Holdout


def warn_of_leak(workspace: Workspace, space_version: str | None, holdout: Holdout) -> str | None:
    """A sentence where the vectors of a space may hold what was held out; None where they cannot.

    A space learns from the log in two ways: missing modalities are filled in from the item graph, and heads
    are trained on co-watched pairs; heads that began as those of the space before know what these knew.

    Args:
        workspace: with the space.
        space_version: that a bundle was trained with; None for a bundle without one.
        holdout: what the bundle held out.
    """
    if space_version is None or holdout.kind == "none":
        return None
    if space_version not in workspace.space_versions():
        return (
            f"Space {space_version} is no longer in the workspace, so nobody can tell whether its vectors "
            "knew what was held out."
        )
    heads = list(_heads_learnt_until(workspace, space_version))
    instants = [*heads, *_filled_until(workspace, space_version)]
    if not instants:
        return None
    if holdout.kind != "time" or None in instants:
        return (
            f"Space {space_version} learnt from an item graph, and no instant parts what that graph knew "
            "from what was held out: arms that use the space may look better than they are."
        )
    latest = max(one for one in instants if one is not None)
    if latest <= holdout.until_ms:
        return None
    return (
        f"Space {space_version} learnt from an item graph that knows events until {_instant(latest)}, after "
        f"the cut at {_instant(holdout.until_ms)}: arms that use it look better than they are. "
        + _remedy(heads)
    )


def _filled_until(workspace: Workspace, version: str) -> Iterator[int | None]:
    """Until when the graph knew the log that modalities were filled in from, ms; None where nobody said."""
    meta = _meta(workspace, version)
    if meta.get("imputed"):
        yield meta.get("graph_until_ms")


def _heads_learnt_until(workspace: Workspace, version: str) -> Iterator[int | None]:
    """The same of each graph whose co-watched pairs reached the heads, or those that they began as."""
    met: set[str] = set()
    following: str | None = version
    while following is not None and following not in met:
        met.add(following)
        meta = _meta(workspace, following)
        if meta.get("co_watched"):
            yield meta.get("graph_until_ms")
        following = meta.get("before") if meta.get("warm") else None


def _remedy(heads: Sequence[int | None]) -> str:
    step = "Train once with this cut, which leaves a graph from before it, then build the space and train"
    return f"{step}; remove spaces/ before that, for new heads begin as these." if heads else f"{step} again."


def _meta(workspace: Workspace, version: str) -> Mapping[str, Any]:
    return workspace.space(version).snapshot().meta


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
