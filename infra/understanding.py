"""Commands that ask what videos show: search, likeness, tags, and reports on the space they lie in."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table as TextTable

from features.contracts import Floats
from features.errors import BadInput, NotFound
from features.pipeline import build_features
from features.workspace import Workspace, open_workspace
from infra.commands import Screen, evaluate_arms
from infra.nightly import choose_holdout
from infra.tag_files import read_vocabulary, write_tags
from ingest.encoders.fit_tags import TagSettings, check_can_tag, fit_tagger
from ingest.encoders.query import QueryEncoder
from ingest.encoders.query_media import Question, open_encoder, understand
from ingest.encoders.tags import Tagger, TagReport, catalogue_tags
from ingest.held_out import held_out_heads
from ranker.evaluation.fusions import compare_fusions
from ranker.evaluation.space_report import report_space
from ranker.pipeline import TrainSettings
from serving.desk import Desk, open_desk
from serving.search import Hits, find_videos, similar_videos


def search(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank search ["words"] [--image F] [--audio F] [--video F]`: videos nearest to all of these."""
    question = Question(args.words, *(_path(name) for name in (args.image, args.audio, args.video)))
    desk, encoder = _open(args)
    query = understand(question, encoder)
    hits = find_videos(desk, query, args.k)
    notes = [] if query.note is None else [query.note]
    _show(desk, hits, screen, notes)
    return {
        "bundle": desk.name,
        "query": list(query.modalities),
        "aligned": query.aligned,
        "notes": notes,
        "videos": _as_json(desk, hits),
    }


def similar(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank similar ID [--by MODALITY]`: videos nearest to a video."""
    workspace = open_workspace(args.workspace)
    desk = open_desk(workspace, workspace.current_bundle())
    hits = similar_videos(desk, args.video_id, args.by, args.k)
    _show(desk, hits, screen)
    return {"bundle": desk.name, "by": args.by, "videos": _as_json(desk, hits)}


def tags(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank tags [VIDEO_ID…]`: what videos show and sound like, in words of a vocabulary."""
    desk, encoder = _open(args)
    check_can_tag(desk.videos, encoder.heads)
    rows = _rows_of(desk, args.video_ids)
    with screen.stages.stage("learn what tags look and sound like"):
        tagger = _fit(args, desk, encoder)
    _show_quality(tagger, screen)
    answer: dict[str, Any] = {
        "bundle": desk.name,
        "quality": _plain(tagger.report),
        "tags": [{"tag": fit.tag, "uses": fit.uses, "kept": fit.kept, "auc": fit.auc and asdict(fit.auc)}
                 for fit in tagger.fits],
        "left_out": [fit.tag for fit in tagger.fits if not fit.kept],
        "unknown": list(tagger.unknown),
        "videos": _show_tags(desk, tagger, rows, args.k, screen),
    }  # fmt: skip
    if args.out:
        with screen.stages.stage("tag all videos"):
            answer["rows"] = write_tags(tagger, desk.videos, args.k, Path(args.out))
        screen.stages.note(f"{answer['rows']:,} rows in {args.out}")
    return answer


def evaluate(args: Namespace, screen: Screen) -> dict[str, Any]:
    """`reelrank evaluate --arm NAME=SPEC…`, `--space [VERSION]` or `--fusions`: one report."""
    if args.space is not None:
        return _report_space(args, screen)
    return _report_fusions(args, screen) if args.fusions else evaluate_arms(args, screen)


def _report_space(args: Namespace, screen: Screen) -> dict[str, Any]:
    """The quality of a space of embeddings."""
    workspace = open_workspace(args.workspace)
    out = workspace.report(args.name or "space")
    with screen.stages.stage("look at the space"):
        found = report_space(workspace, args.space or None, out, seed=args.seed, threads=args.threads)
    screen.stages.note(str(found["verdict"]["sentence"]))
    screen.stages.note(f"report: {out / 'space.html'}")
    return {"verdict": found["verdict"], "report": str(out / "space.html")}


def _report_fusions(args: Namespace, screen: Screen) -> dict[str, Any]:
    """Bundles that differ in how they put modalities together, side by side."""
    workspace, name = open_workspace(args.workspace), args.name or "fusions"
    features = build_features(workspace, max_unknown_share=1.0)
    holdout, out = choose_holdout(features, args.holdout_days), workspace.report(name)
    how = TrainSettings(seed=args.seed, threads=args.threads)
    with screen.stages.stage("train a bundle a fusion, and evaluate") as advance:
        found = compare_fusions(
            workspace, features, holdout, how, out, name=name, k=args.k,
            progress=lambda part, done, total: advance(done, total, part),
        )  # fmt: skip
    screen.stages.note(str(found["verdict"]["sentence"]))
    screen.stages.note(f"report: {out / 'report.html'}")
    return {"verdict": found["verdict"], "report": str(out / "report.html")}


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _open(args: Namespace) -> tuple[Desk, QueryEncoder]:
    """The published bundle and its query encoder; BadInput where it has none."""
    workspace = open_workspace(args.workspace)
    desk = open_desk(workspace, workspace.current_bundle())
    return desk, _encoder(workspace, desk.name)


def _encoder(workspace: Workspace, bundle: str) -> QueryEncoder:
    directory = workspace.model(bundle) / "encoder"
    if not directory.is_dir():
        raise BadInput(
            f"bundle {bundle} was trained without embeddings, so nothing can be searched; ingest videos"
        )
    return QueryEncoder.load(directory)


def _rows_of(desk: Desk, video_ids: Sequence[str]) -> Any:
    """Rows of these videos, int64; NotFound names one that the bundle lacks."""
    for video_id in video_ids:
        if desk.row_of_id(video_id) < 0:
            raise NotFound(f"no video {video_id!r} in bundle {desk.name}; check the id")
    return np.array([desk.row_of_id(video_id) for video_id in video_ids], np.int64)


def _fit(args: Namespace, desk: Desk, encoder: QueryEncoder) -> Tagger:
    settings = TagSettings(min_uses=args.min_uses)
    given = read_vocabulary(Path(args.vocabulary)) if args.vocabulary else None
    vocabulary = catalogue_tags(desk.videos, settings.min_uses) if given is None else given
    if not vocabulary:
        raise BadInput(f"no tag is on {settings.min_uses} videos; lower --min-uses or give a --vocabulary")
    words = _words(vocabulary, encoder)
    # Heads of this space again, without some of the videos: a score is judged by those that never saw it.
    workspace = open_workspace(args.workspace)
    folds = held_out_heads(desk.videos, encoder.heads, encoder.origin.shared, _groups(workspace, desk))
    return fit_tagger(desk.videos, encoder.heads, vocabulary, words, folds, settings)


def _words(vocabulary: Sequence[str], encoder: QueryEncoder) -> Floats:
    """Unit vectors of the tags' words, (v, d); a zero row where none is known."""
    raw = open_encoder(encoder).describe_texts([(tag, None, None) for tag in vocabulary])
    fitted = encoder.check("text")
    found = np.zeros((len(raw), fitted.dims["text"]), np.float32)
    known = [at for at, one in enumerate(raw) if one is not None]
    if known:
        found[known] = fitted.project("text", np.stack([one for one in raw if one is not None]))
    return found


def _groups(workspace: Workspace, desk: Desk) -> Any:
    """Group of near-duplicates of each video, int64, (n,); -1 for one that stands alone."""
    alike = workspace.duplicates.read(["video_key", "group_key"])
    keys = pl.DataFrame({"video_key": desk.videos.keys})
    joined = keys.join(alike, on="video_key", how="left", maintain_order="left")
    return joined["group_key"].fill_null(-1).to_numpy().astype(np.int64)


def _show(desk: Desk, hits: Hits, screen: Screen, notes: Sequence[str] = ()) -> None:
    table = TextTable()
    for heading in ("#", "video", "title", "score"):
        table.add_column(heading)
    for place, found in enumerate(_as_json(desk, hits), 1):
        table.add_row(str(place), found["video_id"], found["title"] or "", f"{found['score']:.3f}")
    screen.console.print(table)
    for note in notes:
        screen.stages.note(note)


def _as_json(desk: Desk, hits: Hits) -> list[dict[str, Any]]:
    return [
        {"video_id": desk.videos.ids[row], "title": desk.shelf.titles[row], "score": round(score, 6)}
        for row, score in zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
    ]


def _show_quality(tagger: Tagger, screen: Screen) -> None:
    report, left = tagger.report, [fit.tag for fit in tagger.fits if not fit.kept]
    precision = "none was" if math.isnan(report.precision) else f"{report.precision:.2f} of them are"
    screen.stages.note(
        f"{len(tagger.tags)} tags; on {report.videos:,} held-out videos the expected calibration error is "
        f"{report.error:.3f}, {report.told:,} tags are told, {precision} right"
    )
    if left:
        screen.stages.note(f"left out, no better than chance: {', '.join(left)}")
    if tagger.unknown:
        screen.stages.note(f"left out, no word of it is known here: {', '.join(tagger.unknown)}")


def _show_tags(desk: Desk, tagger: Tagger, rows: Any, k: int, screen: Screen) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in tagger.best(desk.videos, k, rows):
        for row, places, chances in zip(block.rows, block.tags, block.probabilities, strict=True):
            own = desk.videos.tags[row]
            told = [
                {
                    "tag": tagger.tags[place],
                    "probability": round(float(p), 4),
                    "own": tagger.tags[place] in own,
                }
                for place, p in zip(places, chances, strict=True)
                if not math.isnan(p)
            ]
            found.append({"video_id": desk.videos.ids[row], "tags": told})
    for video in found:
        said = ", ".join(f"{one['tag']} {one['probability']:.2f}" for one in video["tags"])
        screen.console.print(
            f"{video['video_id']}: {said or 'it has neither picture nor sound'}", soft_wrap=True
        )
    return found


def _plain(report: TagReport) -> dict[str, Any]:
    """The report as JSON has it: null where a number is not known."""
    values = asdict(report)
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
