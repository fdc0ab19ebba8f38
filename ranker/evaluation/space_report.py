"""Nightly report of an embedding space, in order: read, survey, compare with the space before, say, write.

It reads tables of the workspace and nothing else. Beyond `space_geometry.EXACT` videos a seeded sample asks
for its neighbours; they are always sought in the whole space.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl

from features.contracts import MODALITIES, Int64s
from features.errors import BadInput, NotFound
from features.tables import write_durably
from features.workspace import Workspace
from ranker.evaluation.examples import thumbnail_uri
from ranker.evaluation.space_content import (
    count_videos,
    describe_drift,
    describe_pairs,
    describe_space,
    describe_truths,
    keys_of,
    with_names,
)
from ranker.evaluation.space_drift import measure_drift
from ranker.evaluation.space_listing import count_imputed, count_masks, find_conflicts, name_videos
from ranker.evaluation.space_markdown import to_markdown
from ranker.evaluation.space_page import to_html
from ranker.evaluation.space_retrieval import K
from ranker.evaluation.space_survey import Survey, draw_examples, draw_queries, survey
from ranker.evaluation.space_truth import read_truths
from ranker.evaluation.space_vectors import NO_VECTORS, VectorSet, read_vectors
from ranker.evaluation.space_verdict import decide, warnings_of

log = logging.getLogger(__name__)

REPORT_VERSION = 1
"""Of the layout of space.json."""


def report_space(
    workspace: Workspace,
    space_version: str | None,
    out_dir: Path,
    *,
    seed: int = 7,
    before: str | None = None,
    threads: int = 2,
) -> dict[str, Any]:
    """Writes space.html, space.json and space.md of a space; each appears whole or not at all.

    Args:
        workspace: with a space; catalogue, embeddings, near-duplicates, item graph and thumbnails as far as
            they are there.
        space_version: which; None means the newest.
        out_dir: gets the files.
        seed: of samples, resamples and the videos shown.
        before: version of the space to compare with; None means the one committed before this one.
        threads: of the neighbour search.

    Returns:
        What space.json holds; no number in it is NaN.

    Raises:
        NotFound: the workspace has no such space, or no space at all.
        BadInput: the space has no rows or is compared with itself, or its vectors differ in length.
    """
    faiss.omp_set_num_threads(threads)
    version = _choose_space(workspace, space_version)
    other = _choose_before(workspace, version, before)
    space = _read_space(workspace, version)
    keys = space["video_key"].to_numpy().astype(np.int64)
    queries = draw_queries(len(keys), seed)
    truths, absent = read_truths(workspace, keys, queries)
    surveys: dict[str, Survey] = {}
    examples, drift = np.zeros(0, np.int64), describe_drift(workspace, version, other, None)
    for name, held in _spaces(workspace, version, keys):
        if name == "joint":
            examples = draw_examples(held, version, seed)
            if other is not None:
                found = measure_drift(held, keys, workspace.space(version), workspace.space(other), seed)
                drift = describe_drift(workspace, version, other, found)
        surveys[name] = survey(held, keys, queries, examples, truths, seed)
    shown = [int(key) for key in keys[examples]]
    conflicts = find_conflicts(space, workspace.space(version).snapshot().meta.get("aligned"))
    named = name_videos(workspace, keys_of(shown, surveys, conflicts))
    content: dict[str, Any] = {
        "report_version": REPORT_VERSION,
        "name": version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "k": K,
        "seed": seed,
        "space": describe_space(workspace, version),
        "data": count_videos(workspace, len(keys), len(queries)),
        "masks": count_masks(space),
        "imputed": count_imputed(space),
        "retrieval": {
            "truths": describe_truths(surveys, [truth.name for truth in truths]),
            "absent": absent,
            "pairs": describe_pairs(workspace, version),
        },
        "geometry": {name: one.geometry for name, one in surveys.items()},
        "lost": {name: one.lost for name, one in surveys.items()},
        "drift": drift,
        **with_names(shown, surveys, conflicts, named),
    }
    content |= {"verdict": decide(content), "warnings": warnings_of(content)}
    write_report(content, out_dir, workspace.thumbnail)
    log.info("space report=%s videos=%d decision=%s", version, len(keys), content["verdict"]["decision"])
    return content


def write_report(content: dict[str, Any], out_dir: Path, thumbnail: Callable[[int], Path]) -> None:
    """Writes space.json, space.md and space.html."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_durably(out_dir / "space.json", text.encode())
    write_durably(out_dir / "space.md", to_markdown(content).encode())
    page = to_html(content, lambda key: thumbnail_uri(thumbnail(key)))
    write_durably(out_dir / "space.html", page.encode())


def _choose_space(workspace: Workspace, wanted: str | None) -> str:
    versions = workspace.space_versions()
    if not versions:
        raise NotFound(f"there is no space in {workspace.root}; run `reelrank nightly` or `ingest` first")
    if wanted is not None and wanted not in versions:
        raise NotFound(f"space {wanted} is not in {workspace.root}; it has {', '.join(versions)}")
    return wanted or versions[-1]


def _choose_before(workspace: Workspace, version: str, wanted: str | None) -> str | None:
    versions = workspace.space_versions()
    if wanted == version:
        raise BadInput(f"space {version} cannot be compared with itself; name another one")
    if wanted is not None and wanted not in versions:
        raise NotFound(f"space {wanted} is not in {workspace.root}; it has {', '.join(versions)}")
    place = versions.index(version)
    return wanted or (versions[place - 1] if place else None)


def _read_space(workspace: Workspace, version: str) -> pl.DataFrame:
    """Everything but the vectors, sorted by key, each video once."""
    columns = ["video_key", "mask", "agreement", "imputed", "sound_fit", "text_fit"]
    space = workspace.space(version).read(columns)
    if not len(space):
        raise BadInput(f"space {version} holds no video; ingest some and build it anew")
    return space.unique("video_key", keep="last", maintain_order=True).sort("video_key")


def _spaces(workspace: Workspace, version: str, keys: Int64s) -> Iterator[tuple[str, VectorSet]]:
    """Joint vectors, then those of each modality; none of a modality whose embeddings are gone."""
    yield "joint", read_vectors(workspace.space(version), "joint", keys)
    encoder = workspace.space(version).snapshot().meta.get("encoder_version")
    for name in MODALITIES:
        known = encoder in workspace.encoder_versions()
        yield name, read_vectors(workspace.embeddings(str(encoder)), name, keys) if known else NO_VECTORS
