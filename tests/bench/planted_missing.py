"""What recommendation loses when half of the videos lack their sound and a quarter their title.

On planted worlds of 2,000 clips, vectors (and, for titles, the catalogue's words) are taken away before the
space is built. Recall@20 over users with held-out likes, the whole catalogue ranked less what they had seen;
the last days are held out as the nightly job does. Beside it: everything present, content that is another
video's, popularity, chance and, on the first world only, both ways to impute. The harder slice takes every
event of a tenth of the videos away and asks the content source alone to find them among each other.

`python -m tests.bench.planted_missing --scratch DIR [--seeds 201 202 203] [--epochs 4]`
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.contracts import MODALITIES, Floats
from features.pipeline import FeatureSet, build_features
from features.workspace import Workspace, open_workspace
from infra.nightly import choose_holdout
from ingest.space import build_space
from ranker.bundle import read_manifest
from ranker.content import content_profiles, content_vectors
from ranker.examples import positive_pairs
from ranker.history_rows import history_rows
from ranker.item_graph import fill_missing, fit_item_graph
from ranker.pipeline import TrainSettings, histories_of, ranking_metrics, train
from ranker.popularity import popularity
from ranker.splits import Split, Truth, restrict, split
from tests.bench.planted import SEEDS, planted
from tests.bench.record import write_result

NO_SOUND, NO_TITLE, COLD = 0.5, 0.25, 0.1
"""Shares of the videos."""
K, HELD_OUT_DAYS, DECAY, BOUND = 20, 3, 0.97, 0.10
WORDS = ("title", "description", "tags")
ARMS = {"full": ("full", "none"), "missing": ("missing", "none"), "shuffled": ("shuffled", "none")}
"""The state of the world that each arm is trained on, and what stands for missing modalities."""
IMPUTED_ARMS = {"across": ("missing", "across"), "neighbours": ("missing", "neighbours")}


def one_world(scratch: Path, seed: int, epochs: int, arms: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Recall@20 of every arm on one world, overall and on cold videos."""
    _, _, source = planted(scratch, seed)
    needed = dict.fromkeys(state for state, _ in arms.values())
    states = {name: open_state(scratch, source, seed, name) for name in needed}
    features = {name: build_features(workspace) for name, workspace in states.items()}
    recall, cold = {}, {}
    for arm, (state, impute) in arms.items():
        how = TrainSettings(epochs=epochs, threads=1, time_budget_s=1e6, impute=impute)
        holdout = choose_holdout(features[state], HELD_OUT_DAYS)
        bundle = train(features[state], states[state], how, holdout)
        recall[arm] = read_manifest(states[state].model(bundle))["metrics"][f"recall@{K}"]
        cold[arm] = cold_recall(split(features[state], holdout), seed, impute)
        print(seed, arm, recall[arm], cold[arm], flush=True)
    cut = split(features["full"], choose_holdout(features["full"], HELD_OUT_DAYS))
    recall |= {"popular": judge(cut, popularity(cut.train)), "random": judge(cut, None, seed)}
    return {"seed": seed, "recall": recall, "cold": cold, "fall": 1.0 - recall["missing"] / recall["full"]}


def open_state(scratch: Path, source: Workspace, seed: int, name: str) -> Workspace:
    """A workspace with the world's events, and its content as the state says, with a space of its own."""
    root = scratch / f"missing-{seed}-{name}"
    shutil.rmtree(root, ignore_errors=True)
    workspace, encoder = open_workspace(root, create=True), source.encoder_versions()[-1]
    shutil.copytree(source.interactions.path, workspace.interactions.path)
    table = source.embeddings(encoder)
    vectors = table.read().unique("video_key", keep="last").sort("video_key")
    catalogue = source.catalogue.read().sort("video_key")
    if name != "full":
        vectors, catalogue = take_away(vectors, catalogue, seed)
    if name == "shuffled":
        order = np.random.default_rng(seed).permutation(len(vectors))
        vectors = vectors.with_columns(vectors[order].select(MODALITIES))
        catalogue = catalogue.with_columns(catalogue[order].select(WORDS))
    workspace.catalogue.replace(catalogue)
    workspace.embeddings(encoder).replace(vectors, meta=table.snapshot().meta)
    build_space(workspace)
    return workspace


def take_away(vectors: pl.DataFrame, catalogue: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables without the sounds and the words of the videos that are drawn to lack them."""
    draw = np.random.default_rng(seed).random((len(catalogue), 2))
    lost = catalogue.select("video_key").with_columns(
        sound=pl.Series(draw[:, 0] < NO_SOUND), words=pl.Series(draw[:, 1] < NO_TITLE)
    )

    def without(frame: pl.DataFrame, columns: tuple[str, ...], flag: str) -> pl.DataFrame:
        kept = frame.join(lost, on="video_key", how="left", maintain_order="left")
        gone = [pl.when(~pl.col(flag)).then(pl.col(name)).alias(name) for name in columns]
        return kept.with_columns(gone).drop("sound", "words")

    return without(without(vectors, ("audio",), "sound"), ("text",), "words"), without(
        catalogue, WORDS, "words"
    )


def judge(cut: Split, scores: Floats | None, seed: int = 0) -> float:
    """Recall@20 of one score a video for all users, or of chance."""
    videos, truth = cut.train.videos, cut.truth
    rng = np.random.default_rng(seed)
    rows = np.full((len(truth), K), -1, np.int32)
    seen = history_rows(videos, histories_of(cut.train, truth.user_codes))
    for user in range(len(truth)):
        mine = (rng.random(len(videos)) if scores is None else scores).astype(np.float64)
        mine[seen.rows[user][seen.seen[user]]] = -np.inf
        rows[user] = np.argsort(-mine, kind="stable")[:K]
    return ranking_metrics(rows, [videos.rows_of(keys) for keys in truth.relevant], K)[f"recall@{K}"]


def cold_recall(cut: Split, seed: int, impute: str) -> float:
    """Recall@20 among the cold tenth of the videos, none of whose events was seen, by content alone."""
    count = int(COLD * len(cut.train.videos))
    cold = np.sort(np.random.default_rng(seed).permutation(cut.train.videos.keys)[:count])
    unseen = ~pl.col("video_key").is_in(cold)
    part = restrict(cut.train, cut.train.interactions.filter(unseen))
    graph = fit_item_graph(positive_pairs(part), len(part.log.user_ids), len(part.videos))
    part, _ = fill_missing(part, graph, impute)
    truth = only(cut.truth, cold, part)
    content, rows = content_vectors(part.videos), part.videos.rows_of(cold)
    profiles = content_profiles(
        content, history_rows(part.videos, histories_of(part, truth.user_codes)), DECAY
    )
    best = rows[np.argsort(-(profiles @ content[rows].T), axis=1, kind="stable")[:, :K]]
    relevant = [part.videos.rows_of(keys) for keys in truth.relevant]
    return ranking_metrics(best.astype(np.int32), relevant, K)[f"recall@{K}"]


def only(truth: Truth, keys: Any, part: FeatureSet) -> Truth:
    """The truth of those who liked some of these videos, about these videos."""
    relevant = [np.intersect1d(one, keys) for one in truth.relevant]
    at = np.array([i for i, one in enumerate(relevant) if len(one)])
    users = tuple(truth.users[i] for i in at)
    codes = part.log.user_codes(list(users))
    return replace(
        truth, users=users, user_codes=codes, relevant=[relevant[i] for i in at], at_ms=truth.at_ms[at]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    first, *rest = given.seeds
    worlds = [one_world(given.scratch, first, given.epochs, ARMS | IMPUTED_ARMS)]
    worlds += [one_world(given.scratch, seed, given.epochs, ARMS) for seed in rest]
    mean = {
        kind: {
            arm: float(np.mean([world[kind][arm] for world in worlds]))
            for arm in worlds[0][kind]
            if arm not in IMPUTED_ARMS
        }
        for kind in ("recall", "cold")
    }
    fall = 1.0 - mean["recall"]["missing"] / mean["recall"]["full"]
    parameters = {
        "seeds": given.seeds, "epochs": given.epochs, "k": K, "no_sound": NO_SOUND, "no_title": NO_TITLE,
        "cold": COLD, "held_out_days": HELD_OUT_DAYS,
    }  # fmt: skip
    write_result("planted_missing", parameters, {**mean, "fall": fall, "worlds": worlds})
    print(json.dumps({**mean, "fall": fall}, indent=1))
    print(f"recall@{K} falls by {fall:.1%} of its value (bound {BOUND:.0%}); see the arms beside it")


if __name__ == "__main__":
    main()
