"""What a planted world's maker knows, beside the raw descriptors of its videos, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import MODALITIES, Floats, Int64s
from features.workspace import Workspace
from infra.demo.generate import DemoFiles
from infra.demo.topics import TOPICS
from infra.demo.world import CARRIES
from ingest.descriptors import descriptors_table
from ingest.encoders.signal import SignalEncoder

Flags = npt.NDArray[np.bool_]
Vectors = dict[str, Floats]
CONFLICT_COLUMNS = {"audio": "sound_topic", "text": "text_topic"}
"""Of the truth: which topic a modality really shows."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One world: raw descriptors, and what only its maker knows."""

    raw: Vectors
    titles: tuple[str, ...]
    topic: Int64s
    carries: Flags
    """(n, topics): the topic has a share of `CARRIES` or more."""
    wrong: dict[str, Flags]
    """By modality that has a planted conflict and is there, (n,)."""
    queries: tuple[str, ...]
    query_topic: Int64s
    seed: int
    """Of the world; what is hidden is drawn from it."""

    def hide(self, modality: str) -> tuple[Vectors, Flags]:
        """Raw descriptors without those of half of the videos, and which half."""
        order = np.random.default_rng([self.seed, MODALITIES.index(modality)]).permutation(len(self.topic))
        hidden = np.zeros(len(order), np.bool_)
        hidden[order[: len(order) // 2]] = True
        return {**self.raw, modality: np.where(hidden[:, None], np.float32(0), self.raw[modality])}, hidden


def read_world(workspace: Workspace, files: DemoFiles, seed: int) -> Planted:
    """Descriptors of a workspace beside the truth."""
    encoder = SignalEncoder()
    newest = workspace.embeddings(workspace.encoder_versions()[-1]).read(["video_id", "content_hash"])
    catalogue = workspace.catalogue.read(["video_id", "title", "description", "tags"])
    folder = next((workspace.root / "descriptors").glob(f"version={encoder.descriptor_version}-*"), None)
    if folder is None:
        raise SystemExit(
            f"{workspace.root} holds no descriptors of {encoder.descriptor_version}; make it again"
        )
    described = descriptors_table(workspace, folder.name.removeprefix("version="))
    frame = (
        newest.unique("video_id", keep="last")
        .join(described.read(["content_hash", "visual", "audio"]).unique("content_hash"), on="content_hash")
        .join(catalogue.unique("video_id", keep="last"), on="video_id")
        .join(pl.read_parquet(files.truth_videos), on="video_id")
        .sort("video_id")
    )
    words = [(r["title"], r["description"], r["tags"]) for r in frame.iter_rows(named=True)]
    raw = {m: stack(frame[m].to_list()) for m in ("visual", "audio")}
    raw["text"] = stack(encoder.describe_texts(words))
    topic, asked = _topics(frame["topic"]), pl.read_parquet(files.truth_queries)
    wrong = {m: (_topics(frame[c]) != topic) & raw[m].any(axis=1) for m, c in CONFLICT_COLUMNS.items()}
    titles = tuple(title or "" for title, _, _ in words)
    carries = np.array(frame["mixture"].to_list()) >= CARRIES
    return Planted(raw, titles, topic, carries, wrong, tuple(asked["query"]), _topics(asked["topic"]), seed)


def stack(rows: list[Any]) -> Floats:
    """Rows of one array, float32, (n, d); zeros for None."""
    size = next(len(row) for row in rows if row is not None)
    return np.array([np.zeros(size) if row is None else row for row in rows], np.float32)


def _topics(names: pl.Series) -> Int64s:
    places = {topic.name: place for place, topic in enumerate(TOPICS)}
    return np.array([places[name] for name in names], np.int64)
