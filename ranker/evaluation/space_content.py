"""The numbers of a space's report as it writes them: plain values by name, no NaN."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Final

from features.contracts import MODALITIES
from features.workspace import Workspace
from ranker.evaluation.space_geometry import EXACT
from ranker.evaluation.space_listing import Named
from ranker.evaluation.space_survey import Survey

NO_DRIFT: Final[dict[str, Any]] = {
    "videos": 0, "new": 0, "gone": 0, "vectors": 0, "mask_changed": None, "cosine": None,
    "aligned_cosine": None, "overlap": None, "overlap_chance": None,
}  # fmt: skip
CONFLICTING: Final = ("text", "audio")


def describe_space(workspace: Workspace, version: str) -> dict[str, Any]:
    """What the commit of a space says of it; None for what it leaves out."""
    snapshot = workspace.space(version).snapshot()
    named = ("encoder_version", "aligned", "recall", "control", "dims", "shared", "co_watched")
    said = {name: snapshot.meta.get(name) for name in named}
    return {"version": version, "committed_at": _instant(snapshot.committed_at), **said}


def count_videos(workspace: Workspace, videos: int, queries: int) -> dict[str, Any]:
    """Videos of the space and of the catalogue, how many asked, and whether they are a sample."""
    return {
        "videos": videos,
        "catalogue": workspace.catalogue.snapshot().rows,
        "queries": queries,
        "sampled": queries < videos,
        "exact_up_to": EXACT,
    }


def describe_truths(surveys: dict[str, Survey], names: list[str]) -> list[dict[str, Any]]:
    """Retrieval by truth and space."""
    return [
        {"name": truth, "spaces": {name: one.retrieval[truth] for name, one in surveys.items()}}
        for truth in names
    ]


def describe_pairs(workspace: Workspace, version: str) -> list[dict[str, Any]]:
    """Held-out retrieval from each modality to each other, as far as the commit of the space says.

    The commit's meta may hold `pairs`: by two modalities joined by a hyphen (`visual-audio`), `recall` and
    `control`: share of held-out videos whose other half is among the nearest tenth, mean of both directions,
    [0, 1], after training on true and on shuffled pairs; and `videos`, how many were held out.
    """
    given = workspace.space(version).snapshot().meta.get("pairs") or {}
    pairs = (f"{a}-{b}" for a, b in combinations(MODALITIES, 2))
    return [
        {"pair": pair, **{name: given[pair].get(name) for name in ("recall", "control", "videos")}}
        for pair in pairs
        if pair in given
    ]


def describe_drift(
    workspace: Workspace, version: str, before: str | None, found: dict[str, Any] | None
) -> dict[str, Any]:
    """What was measured against another space, which one that is, and `why` where nothing was."""
    if before is None:
        why = "There is no earlier space to compare with."
        return {"before": None, "encoder_before": None, "same_encoder": None, "committed_at": None,
                "dim_before": None, **NO_DRIFT, "why": why}  # fmt: skip
    old, new = workspace.space(before).snapshot(), workspace.space(version).snapshot()
    encoders = [snapshot.meta.get("encoder_version") for snapshot in (old, new)]
    said = found or NO_DRIFT
    apart = f"No video of this space is in the space before ({before})."
    return {
        "before": before,
        "encoder_before": encoders[0],
        "same_encoder": None if None in encoders else encoders[0] == encoders[1],
        "committed_at": _instant(old.committed_at),
        "dim_before": (old.meta.get("dims") or {}).get("joint"),
        **said,
        "why": None if said["videos"] else apart,
    }


def keys_of(examples: list[int], surveys: dict[str, Survey], conflicts: dict[str, Any]) -> set[int]:
    """Keys of all videos that a report names."""
    near = (one for found in surveys.values() for row in found.neighbours.values() for one in row)
    odd = (one for name in CONFLICTING for one in conflicts[name]["videos"])
    return {*examples, *_keys(near), *_keys(odd)}


def with_names(
    examples: list[int], surveys: dict[str, Survey], conflicts: dict[str, Any], named: Named
) -> dict[str, Any]:
    """`examples` and `conflicts` with id and title of each video."""

    def name_all(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [named[one["video_key"]] | one for one in found]

    return {
        "examples": [
            named[key]
            | {
                "neighbours": {
                    name: name_all(one.neighbours[key])
                    for name, one in surveys.items()
                    if key in one.neighbours
                }
            }
            for key in examples
        ],
        "conflicts": conflicts
        | {name: conflicts[name] | {"videos": name_all(conflicts[name]["videos"])} for name in CONFLICTING},
    }


def _keys(found: Iterable[dict[str, Any]]) -> set[int]:
    return {int(one["video_key"]) for one in found}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
