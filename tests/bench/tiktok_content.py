"""What picture and sound add on TikTok micro-video: to videos that people watch, and to those nobody has met.

Watched: the ranker against the same ranker without any content, on the validation pairs, the whole catalogue
ranked less what was seen; values are means over the seeds, intervals a paired bootstrap over users. Unmet:
all events of a tenth of the videos are taken away before training; Recall@20 among these videos alone, for
those who had watched one, against chance and against the same vectors dealt to other videos.
Run from a checkout with the data beside it: `python -m tests.bench.tiktok_content --scratch DIR`; what a
broken run had finished is kept there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.contracts import Context, Int64s, VideoTable
from features.importers import import_embeddings, import_events
from features.pipeline import FeatureSet, build_features
from features.workspace import Workspace, open_workspace
from ranker.bundle import SOURCES, Bundle, load_bundle
from ranker.content import without_content
from ranker.evaluation.arms import Arm
from ranker.evaluation.compare import compare
from ranker.evaluation.metrics import Doubles, KeySets, judge, measure
from ranker.evaluation.slates import rank_arm
from ranker.fusion import DEFAULT_FUSION, FUSIONS
from ranker.pipeline import TrainSettings, histories_of, train
from ranker.retrieve import Candidates, learn_taste, source_scores
from ranker.score import score
from ranker.splits import Split, Truth, positive_rows, restrict
from tests.bench.record import write_result
from tests.bench.tiktok import DATA, K

SEEDS = (7, 8, 9)
DRAWS = (1, 2, 3)
COLD_SHARE = 0.1
BATCH = 256


def catalogue(scratch: Path) -> tuple[Workspace, FeatureSet]:
    """The workspace and what is known of the training part."""
    workspace = open_workspace(scratch / "workspace", create=True)
    import_embeddings(workspace, [DATA / "embeddings.parquet"])
    import_events(workspace, [DATA / "train.parquet"])
    return workspace, build_features(workspace)


def validation(features: FeatureSet) -> Split:
    """All that is known as the training side, and the validation pairs as the truth."""
    known = dict(zip(features.videos.ids, features.videos.keys.tolist(), strict=True))
    pairs = pl.read_parquet(DATA / "validation.parquet").group_by("user_id").agg("video_id").sort("user_id")
    relevant = [np.array([known[v] for v in ids], np.int64) for ids in pairs["video_id"].to_list()]
    return Split(features, _truth(features, tuple(pairs["user_id"]), relevant))


def without_some(features: FeatureSet, draw: int) -> tuple[Split, Int64s]:
    """The training part without any event of a tenth of the videos, who had liked those, and their rows."""
    count = round(COLD_SHARE * len(features.videos))
    rows = np.sort(np.random.default_rng(draw).permutation(len(features.videos))[:count])
    gone = pl.col("video_key").is_in(features.videos.keys[rows])
    left = restrict(features, features.interactions.filter(~gone))
    liked = features.interactions.filter(positive_rows(features)).filter(gone)
    pairs = liked.group_by("user_id").agg(pl.col("video_key").unique()).sort("user_id")
    pairs = pairs.filter(pl.col("user_id").is_in(list(left.log.user_ids)))
    relevant = [np.array(keys, np.int64) for keys in pairs["video_key"].to_list()]
    return Split(left, _truth(left, tuple(pairs["user_id"]), relevant)), rows


def dealt_out(videos: VideoTable, seed: int) -> VideoTable:
    """The control: every video has the vectors of another one."""
    order = np.random.default_rng(seed).permutation(len(videos))
    return replace(videos, vectors={n: v[order] for n, v in videos.vectors.items()}, mask=videos.mask[order])


def rank_unmet(bundle: Bundle, parts: Split, rows: Int64s) -> Int64s:
    """The K best of these rows for each user of the truth by the whole scorer, keys, (u, K)."""
    out = []
    for start in range(0, len(parts.truth), BATCH):
        codes = parts.truth.user_codes[start : start + BATCH]
        histories, context = histories_of(parts.train, codes), Context.at(np.zeros(len(codes), np.int64))
        wide = np.broadcast_to(rows, (len(codes), len(rows))).astype(np.int32)
        given = source_scores(bundle, learn_taste(bundle, histories, context), wide)
        scores = score(
            bundle,
            Candidates(wide, given, np.zeros((*wide.shape, len(SOURCES)), bool)),
            histories,
            context,
        )
        out.append(bundle.videos.keys[rows[np.argsort(-scores, axis=1, kind="stable")[:, :K]]])
    return np.concatenate(out)


def watched(workspace: Workspace, parts: Split, how: TrainSettings) -> Doubles:
    """Every metric of every validation user, (u, metrics)."""
    known = parts.train
    if how.fusion == "none":
        known = replace(known, videos=without_content(known.videos))
    bundle = load_bundle(workspace.model(train(known, workspace, how)))
    slates = rank_arm(Arm(how.fusion, "bundle"), bundle, parts, K, how.seed, lambda _done: None)
    return measure(judge(slates.keys, KeySets.of(parts.truth.relevant)))


def unmet(
    workspace: Workspace, features: FeatureSet, how: TrainSettings, draw: int, *, shuffled: bool
) -> Doubles:
    """The same among videos whose events were taken away."""
    parts, rows = without_some(features, draw)
    known = parts.train
    if shuffled:
        known = replace(known, videos=dealt_out(known.videos, draw))
    bundle = load_bundle(workspace.model(train(known, workspace, how)))
    return measure(judge(rank_unmet(bundle, parts, rows), KeySets.of(parts.truth.relevant)))


def kept(place: Path, work: Callable[[], Doubles]) -> Doubles:
    """What the work gives, from the file where it was done before."""
    if not place.exists():
        values = work()
        np.save(place.with_suffix(".part.npy"), values)
        place.with_suffix(".part.npy").rename(place)
        print(f"{place.stem}: {values.mean(axis=0).round(4).tolist()}", flush=True)
    return np.asarray(np.load(place), np.float64)


def told(names: tuple[str, str], values: list[Doubles]) -> dict[str, Any]:
    """Means of two arms, and the lift of the second over the first with its paired interval."""
    compared = compare([Arm(name, "bundle") for name in names], values, SEEDS[0])
    return {
        metric: {
            **{name: asdict(compared.mean(at, metric)) for at, name in enumerate(names)},
            "lift": asdict(compared.lift(1, 0, metric)),
        }
        for metric in ("recall", "ndcg")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument(
        "--fusion", choices=[kind for kind in FUSIONS if kind != "none"], default=DEFAULT_FUSION
    )
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    workspace, features = catalogue(given.scratch)
    parts, fusion = validation(features), given.fusion
    how = TrainSettings(seed=SEEDS[0], fusion=fusion, threads=given.threads)

    def of_seed(kind: str, seed: int) -> Doubles:
        one = replace(how, fusion=kind, seed=seed)
        return kept(given.scratch / f"watched-{kind}-{seed}.npy", lambda: watched(workspace, parts, one))

    def of_draw(name: str, draw: int) -> Doubles:
        return kept(
            given.scratch / f"unmet-{fusion}-{name}-{draw}.npy",
            lambda: unmet(workspace, features, how, draw, shuffled=name == "shuffled"),
        )

    by_arm = {kind: [of_seed(kind, seed) for seed in SEEDS] for kind in ("none", fusion)}
    cold = {name: [of_draw(name, draw) for draw in DRAWS] for name in ("shuffled", "content")}
    figures = {
        "fusion": fusion,
        "watched": told(("none", fusion), [np.mean(v, axis=0) for v in by_arm.values()]),
        "watched_by_seed": {kind: [v[:, 1].mean() for v in values] for kind, values in by_arm.items()},
        "unmet": told(("shuffled", "content"), [np.concatenate(v) for v in cold.values()]),
        "unmet_by_draw": {name: [v[:, 1].mean() for v in values] for name, values in cold.items()},
        "unmet_chance": K / round(COLD_SHARE * len(features.videos)),
    }
    write_result("tiktok_content", {"k": K, "seeds": SEEDS, "draws": DRAWS, "cold": COLD_SHARE}, figures)
    print(json.dumps(figures, indent=1))
    one, new = figures["watched"]["recall"], figures["unmet"]["recall"]
    print(
        f"Recall@20 with content {one[fusion]['value'] / one['none']['value']:.3f} of that without; among "
        f"unmet videos {new['content']['value'] / figures['unmet_chance']:.2f} times chance"
    )


def _truth(features: FeatureSet, users: tuple[str, ...], relevant: list[Int64s]) -> Truth:
    codes = np.array([features.log.user_code(user) for user in users], np.int64)
    return Truth(users, codes, relevant, np.zeros(len(users), np.int64))


if __name__ == "__main__":
    main()
