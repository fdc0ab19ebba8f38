"""Words and sounds find planted topics, conflicts are found: beside chance and a shuffled control.

Half of the videos lose their words (or their sound) before anything is fitted: statistics, heads and index
have never met them. The control is the same training on shuffled pairs of modalities.
`python -m tests.bench.planted_search --scratch DIR` reads, or makes, the worlds of `planted`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from features.contracts import MODALITIES, Floats, Int64s
from infra.demo import generator_hash
from ingest.agree import judge_agreement
from ingest.align import AlignSettings, align, publishable
from ingest.alignment.corpus import ALONE, Corpus
from ingest.encoders.heads import Heads, block_heads
from ingest.encoders.projector import FittedProjector
from ingest.encoders.signal import SignalEncoder
from ingest.encoders.text import tokenize
from ingest.fuse import fuse
from tests.bench.planted import SEEDS, planted
from tests.bench.planted_truth import Flags, Planted, Vectors, read_world, stack
from tests.bench.record import write_result

K = 10
FEWEST_TITLES = 20
"""A query's word stands in so many titles at least: the combination is new, not the words."""
SETTINGS = AlignSettings()


def search_by_words(world: Planted) -> dict[str, Any]:
    """Precision among the videos whose words are hidden."""
    raw, hidden = world.hide("text")
    fitted, vectors = _project(raw)
    asked = fitted.project(
        "text", stack(SignalEncoder().describe_texts([(q, None, None) for q in world.queries]))
    )
    candidates = np.broadcast_to(hidden, (len(asked), len(hidden)))
    return {
        "queries": len(asked),
        **_check_queries(world),
        **_both(vectors, "text", asked, candidates, world.query_topic, world),
    }


def search_by_sound(world: Planted) -> dict[str, Any]:
    """Precision of held-out sounds among the videos whose sound is hidden, the clip itself left out."""
    raw, hidden = world.hide("audio")
    fitted, vectors = _project(raw)
    held = np.flatnonzero(hidden & world.raw["audio"].any(axis=1))
    asked = fitted.project("audio", world.raw["audio"][held])
    candidates = hidden[None, :] & (held[:, None] != np.arange(len(hidden))[None, :])
    return {"queries": len(asked), **_both(vectors, "audio", asked, candidates, world.topic[held], world)}


def find_conflicts(world: Planted) -> dict[str, Any]:
    """AUC of the conflict score, over all and apart; how often the odd modality is the wrong one."""
    _, vectors = _project(world.raw)
    heads, control, said = _train(vectors)
    wrong_any = world.wrong["audio"] | world.wrong["text"]
    found = judge_agreement(vectors, heads)
    score = np.nan_to_num(found.conflict, nan=0.0)  # nothing to compare: nothing is claimed
    fooled = np.nan_to_num(judge_agreement(vectors, control).conflict, nan=0.0)
    out: dict[str, Any] = {
        "planted": int(wrong_any.sum()),
        **said,
        "auc": area_under_curve(score, wrong_any),
        "auc_shuffled": area_under_curve(fooled, wrong_any),
        "auc_random": 0.5,
        "fusion": _neighbours(vectors, heads, world, wrong_any),
    }
    for modality, wrong in world.wrong.items():
        apart = ~wrong_any | (wrong & ~world.wrong["text" if modality == "audio" else "audio"])
        out[f"auc_{modality}"] = area_under_curve(score[apart], wrong[apart])
        three = wrong & (found.odd >= 0)
        out[f"odd_is_{modality}"] = float((found.odd[three] == MODALITIES.index(modality)).mean())
    return out


def stay_near(world: Planted) -> dict[str, Any]:
    """Mean cosine of joint vectors with last night's, 5 % of the videos being new, warm and cold."""
    _, vectors = _project(world.raw)
    before = round(len(world.topic) / 1.05)
    some = {m: rows[:before] for m, rows in vectors.items()}
    last = align(some, "planted", SETTINGS)
    assert last is not None
    yesterday = fuse(some, last.heads).joint
    out = {}
    for name, start in (("warm", last.heads), ("cold", None)):
        tonight = align(vectors, "planted", SETTINGS, start=start)
        assert tonight is not None
        assert tonight.warm == (name == "warm")
        cosine = np.einsum("nd,nd->n", fuse(some, tonight.heads).joint, yesterday)
        out[f"{name}_mean_cosine"] = float(cosine[yesterday.any(axis=1)].mean())
    return out


def area_under_curve(scores: Floats, positive: Flags) -> float:
    """Share of (positive, negative) pairs in which the positive scores higher; equal ones count half."""
    below = np.searchsorted(np.sort(scores[~positive]), scores[positive], side="left")
    not_above = np.searchsorted(np.sort(scores[~positive]), scores[positive], side="right")
    return float((below + not_above).mean() / 2 / max(int((~positive).sum()), 1))


def _project(raw: Vectors) -> tuple[FittedProjector, Vectors]:
    fitted = SignalEncoder().fit({m: rows[rows.any(axis=1)] for m, rows in raw.items()})
    return fitted, {m: fitted.project(m, rows) for m, rows in raw.items()}


def _train(vectors: Vectors) -> tuple[Heads, Heads, dict[str, Any]]:
    """Heads as they would be published, heads of shuffled pairs, and what the verdict was."""
    found = align(vectors, "planted", SETTINGS)
    none = np.full(len(vectors["visual"]), ALONE, np.int64)
    shuffled = align(
        Corpus(vectors, none).shuffled(SETTINGS.seed).vectors, "planted", replace(SETTINGS, folds=2)
    )
    assert found is not None
    assert shuffled is not None
    said = {"recall": found.recall, "recall_shuffled": found.control, "published": found.beats_control}
    dims = {m: rows.shape[1] for m, rows in vectors.items()}
    return publishable(found, "planted", dims), shuffled.heads, said


def _both(
    vectors: Vectors, modality: str, asked: Floats, candidates: Flags, topic: Int64s, world: Planted
) -> dict[str, Any]:
    heads, control, said = _train(vectors)
    relevant = world.carries[:, topic].T & candidates  # (q, n)
    chance = relevant.sum(axis=1) / candidates.sum(axis=1)
    out: dict[str, Any] = {**said, "precision_random": float(chance.mean())}
    for name, used in (("precision", heads), ("precision_shuffled", control)):
        scores = used.by_modality[modality].apply(asked) @ fuse(vectors, used).joint.T
        top = np.argsort(-np.where(candidates, scores, -np.inf), axis=1, kind="stable")[:, :K]
        out[name] = float(np.take_along_axis(relevant, top, axis=1).mean())
        if used is heads:
            out["precision_main_topic"] = float((world.topic[top] == topic[:, None]).mean())
    return out


def _neighbours(vectors: Vectors, heads: Heads, world: Planted, wrong: Flags) -> dict[str, Any]:
    """Precision of a video's ten nearest in the joint space, by how modalities are fused."""
    blocks = block_heads("planted", {m: rows.shape[1] for m, rows in vectors.items()})
    kinds = {
        "mean": fuse(vectors, heads),
        "gated": fuse(vectors, heads, "gated"),
        "concatenation": fuse(vectors, blocks),
    }
    out = {}
    for name, fused in kinds.items():
        cosine = fused.joint @ fused.joint.T
        np.fill_diagonal(cosine, -2.0)
        top = np.argsort(-cosine, axis=1, kind="stable")[:, :K]
        right = world.carries[top, world.topic[:, None]].mean(axis=1)
        out[name] = {"all": float(right.mean()), "conflicts": float(right[wrong].mean())}
    return out


def _check_queries(world: Planted) -> dict[str, int]:
    """In how many titles the rarest word of the queries stands, and how many have a whole query."""
    spoken = [set(tokenize(title)) for title in world.titles]
    asked = [tokenize(query) for query in world.queries]
    fewest = min(sum(word in title for title in spoken) for words in asked for word in words)
    whole = sum(set(words) <= title for words in asked for title in spoken)
    if fewest < FEWEST_TITLES or whole:
        raise SystemExit(
            f"a word is in {fewest} titles, a whole query in {whole}: not what was to be measured"
        )
    return {"rarest_word_in_titles": fewest, "titles_with_whole_query": whole}


def one_seed(scratch: Path, seed: int) -> dict[str, Any]:
    """All figures of a seed."""
    _, files, workspace = planted(scratch, seed, "plain")
    world = read_world(workspace, files, seed)
    said = {"text": search_by_words(world), "sound": search_by_sound(world), "warm_start": stay_near(world)}
    _, files, workspace = planted(scratch, seed, "conflicts")
    return {"seed": seed, **said, "conflicts": find_conflicts(read_world(workspace, files, seed))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scratch", type=Path, required=True, help="folder of the worlds; made where missing"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="others are not recorded")
    given = parser.parse_args()
    worlds = [one_seed(given.scratch, seed) for seed in given.seeds]
    means = {
        f"{task}_{name}": float(np.mean([world[task][name] for world in worlds]))
        for task, names in HEADLINES.items()
        for name in names
    }
    print(json.dumps({"worlds": worlds, "means": means}, indent=1))
    if tuple(given.seeds) == SEEDS:
        parameters = {"generator": generator_hash(), "k": K, "align": asdict(SETTINGS), "seeds": SEEDS}
        write_result("planted_search", parameters, {"means": means, "worlds": worlds})
    ratio = means["text_precision"] / means["text_precision_random"]
    print(f"generator {generator_hash()}: words find their topic {ratio:.1f} times as often as chance")


HEADLINES = {
    "text": ("precision", "precision_random", "precision_shuffled"),
    "sound": ("precision", "precision_random", "precision_shuffled"),
    "conflicts": ("auc", "auc_audio", "auc_text", "auc_random", "auc_shuffled"),
    "warm_start": ("warm_mean_cosine", "cold_mean_cosine"),
}


if __name__ == "__main__":
    main()
