"""A trained ranker as a directory: written whole or not at all, checked and loaded without torch.

`manifest.json` is written last and names the other files with their checksums: `videos.arrow` and
`vectors.safetensors` (the catalogue), `tower.safetensors`, `item_item.safetensors`, `statistics.npy`,
`activity.npy`, `popularity.npy`, `index.faiss`, `content.faiss`, `trees.txt` where trees are used, `card.md`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl
from safetensors.numpy import load_file, save_file

from features.assemble import FEATURE_NAMES
from features.contracts import MODALITIES, Floats, Int64s, VideoTable
from features.definitions import feature_version
from features.errors import BadInput, NotFound, VersionMismatch
from features.tables import read_json, write_durably
from ranker.content import centred, content_vectors, without_modalities
from ranker.fusion import Fusion
from ranker.index import Index, build_index, read_index
from ranker.item_item import ItemGraph
from ranker.user_vector import Tower, less, video_vectors

FORMAT = 3
"""Of the directory; another number refuses to load."""

SOURCES: Final = ("two_tower", "item_item", "content", "popular", "fresh")
"""Where candidates come from, in the order of the columns of their scores."""

COMPONENTS: Final = (*SOURCES, "trees", *MODALITIES)
"""What can be taken away from a bundle, to see what it is worth."""


@dataclass(frozen=True)
class Scorer:
    """How the sources' scores become one."""

    weights: Floats
    """Of each source's z-score, float32, (len(SOURCES),)."""
    trees: Any
    """LightGBM booster whose raw score is added to the blend, or None."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that turns a history into recommendations; rows are those of `videos`."""

    name: str
    manifest: dict[str, Any]
    videos: VideoTable
    titles: tuple[str | None, ...]
    statistics: Floats
    """`video_statistics`, float32, (n, len(STATISTIC_NAMES))."""
    activity: npt.NDArray[np.int32]
    """ACTIVITY_NAMES as of the end of what was learnt from, or as of now when served, int32, (n, 14)."""
    tower: Tower
    vectors: Floats
    """The video tower's unit vectors, float32, (n, dim)."""
    item_item: ItemGraph
    popularity: Floats
    """float32, (n,)."""
    content: Floats
    """`content_vectors`, float32, (n, d); d may be 0."""
    index: Index
    """Over `vectors`."""
    content_index: Index
    """Over `content`."""
    scorer: Scorer
    decay: float
    """Of item-item and content scores: an event counts this much less than the one after it."""
    candidates: int
    """How many candidates the scorer was fitted with."""
    newest: Int64s
    """Rows with a known publication, oldest first."""

    @functools.cached_property
    def centred(self) -> dict[str, Floats]:
        """Each modality's unit vectors less what all videos share, float32, (n, d)."""
        return {name: centred(self.videos.vectors[name]) for name in MODALITIES}

    def __post_init__(self) -> None:
        if not len(self.videos):
            raise BadInput("a bundle needs at least one video; the catalogue is empty")


def assemble_bundle(
    *,
    videos: VideoTable,
    titles: tuple[str | None, ...],
    statistics: Floats,
    activity: npt.NDArray[np.int32],
    tower: Tower,
    item_item: ItemGraph,
    popularity: Floats,
    decay: float,
    candidates: int,
    queries: Floats,
    scorer: Scorer,
    threads: int = 2,
) -> Bundle:
    """A bundle in memory; `queries` are user vectors, (u, dim), with which its index is tuned."""
    vectors, content = video_vectors(tower, videos), content_vectors(videos)
    return Bundle(
        name="",
        manifest={},
        videos=videos,
        titles=titles,
        statistics=statistics,
        activity=activity,
        tower=tower,
        vectors=vectors,
        item_item=item_item,
        popularity=popularity,
        content=content,
        index=build_index(vectors, queries, threads=threads),
        content_index=build_index(content, content[: len(queries)], threads=threads),
        scorer=scorer,
        decay=decay,
        candidates=candidates,
        newest=newest_rows(videos),
    )


def newest_rows(videos: VideoTable) -> Int64s:
    """Rows with a known publication, oldest first."""
    order = np.argsort(videos.published_ms, kind="stable")
    return order[videos.published_ms[order] > 0].astype(np.int64)


def modalities_in(without: frozenset[str]) -> frozenset[str]:
    """Those of the taken components that are modalities.

    Raises:
        BadInput: one is no component.
    """
    unknown = sorted(without - set(COMPONENTS))
    if unknown:
        raise BadInput(f"{', '.join(unknown)} is no component of a bundle; they are {', '.join(COMPONENTS)}")
    return without & frozenset(MODALITIES)


def ablated(bundle: Bundle, modalities: frozenset[str]) -> Bundle:
    """The bundle as if its videos had never had these modalities; the weights stay as they were learnt."""
    return _ablated(bundle, modalities) if modalities else bundle


@functools.lru_cache(maxsize=4)
def _ablated(bundle: Bundle, modalities: frozenset[str]) -> Bundle:
    videos = without_modalities(bundle.videos, modalities)
    tower = less(bundle.tower, modalities)
    vectors, content = video_vectors(tower, videos), content_vectors(videos)
    return replace(
        bundle,
        videos=videos,
        tower=tower,
        vectors=vectors,
        content=content,
        index=build_index(vectors, vectors[:200]),
        content_index=build_index(content, content[:200]),
    )


def write_bundle(
    bundle: Bundle,
    models: Path,
    stamp: str,
    card: str,
    manifest: dict[str, Any],
    attach: Callable[[Path], None] | None = None,
) -> str:
    """Writes a bundle below `models` under the name `<stamp>-<hash of its files>`, and returns that name.

    `attach` may put more files into the directory before it is sealed: its query encoder, say.
    """
    aside = models / f".{stamp}-{os.getpid()}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _write_parts(bundle, aside)
        write_durably(aside / "card.md", card.encode())
        if attach is not None:
            attach(aside)
        parts = sorted(path for path in aside.rglob("*") if path.is_file())
        files = {str(path.relative_to(aside)): _described(path) for path in parts}
        digest = hashlib.blake2b(
            json.dumps({k: v for k, v in files.items() if k != "card.md"}).encode(), digest_size=4
        )
        name = f"{stamp}-{digest.hexdigest()}"
        said = {
            "format": FORMAT,
            "name": name,
            "feature_names": list(FEATURE_NAMES),
            "decay": bundle.decay,
            "candidates": bundle.candidates,
            "index": {"kind": bundle.index.kind, "recall": bundle.index.recall},
            "content_index": {"kind": bundle.content_index.kind, "recall": bundle.content_index.recall},
            "item_item_method": bundle.item_item.method,
            "fusion": bundle.tower.fusion.kind,
            "weights": dict(zip(SOURCES, map(float, bundle.scorer.weights), strict=True)),
            **manifest,
            "files": files,
        }
        write_durably(aside / "manifest.json", json.dumps(said, indent=1, sort_keys=True).encode())
        os.rename(aside, models / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return name


def read_manifest(path: Path) -> dict[str, Any]:
    """What a bundle says of itself; NotFound where there is no complete bundle."""
    manifest: dict[str, Any] = read_json(path / "manifest.json", f"bundle {path.name}")
    return manifest


def load_bundle(path: Path, threads: int = 1) -> Bundle:
    """The bundle at a directory, its checksums compared; torch is not imported.

    Args:
        path: `workspace.model(name)`.
        threads: for searches in its indexes.

    Raises:
        NotFound: there is no complete bundle.
        VersionMismatch: a file is not the one that was written, or the bundle was built by another version.
    """
    manifest = read_manifest(path)
    if manifest["format"] != FORMAT:
        raise VersionMismatch(
            f"bundle {path.name} has format {manifest['format']}, this version reads {FORMAT}"
        )
    if manifest["feature_version"] != feature_version():
        raise VersionMismatch(
            f"bundle {path.name} was built with features {manifest['feature_version']}, this version has "
            f"{feature_version()}; run `reelrank train` again"
        )
    for name, said in manifest["files"].items():
        if not (path / name).exists():
            raise NotFound(f"bundle {path.name} lacks {name}; copy it again or run `reelrank train`")
        if _described(path / name) != said:
            raise VersionMismatch(
                f"{name} of bundle {path.name} is damaged; copy it again or run `reelrank train`"
            )
    videos, titles = _read_videos(path)
    tower = _read_tower(path / "tower.safetensors", manifest["fusion"])
    graph = load_file(path / "item_item.safetensors")
    trees = lightgbm.Booster(model_file=path / "trees.txt") if "trees.txt" in manifest["files"] else None
    return Bundle(
        name=manifest["name"],
        manifest=manifest,
        videos=videos,
        titles=titles,
        statistics=np.load(path / "statistics.npy", mmap_mode="r"),
        activity=np.load(path / "activity.npy", mmap_mode="r"),
        tower=tower,
        vectors=video_vectors(tower, videos),
        item_item=ItemGraph(graph["indptr"], graph["indices"], graph["values"], manifest["item_item_method"]),
        popularity=np.load(path / "popularity.npy"),
        content=content_vectors(videos),
        index=read_index(path / "index.faiss", manifest["index"]["recall"], threads),
        content_index=read_index(path / "content.faiss", manifest["content_index"]["recall"], threads),
        scorer=Scorer(np.array([manifest["weights"][name] for name in SOURCES], np.float32), trees),
        decay=manifest["decay"],
        candidates=manifest["candidates"],
        newest=newest_rows(videos),
    )


def _write_parts(bundle: Bundle, directory: Path) -> None:
    videos = bundle.videos
    pl.DataFrame(
        {
            "video_key": videos.keys,
            "video_id": videos.ids,
            "title": bundle.titles,
            "mask": videos.mask,
            "agreement": videos.agreement,
            "imputed": videos.imputed,
            "sound_fit": videos.sound_fit,
            "text_fit": videos.text_fit,
            "duration_s": videos.duration_s,
            "published_ms": videos.published_ms,
            "creator": videos.creators,
            "tags": [list(tags) for tags in videos.tags],
        },
        schema_overrides={"title": pl.String, "tags": pl.List(pl.String), "video_id": pl.String},
    ).write_ipc(directory / "videos.arrow", compression="uncompressed")
    spaces = {"joint": videos.joint, **videos.vectors, "quality": videos.quality,
              "neighbours": videos.neighbours, "neighbour_weights": videos.neighbour_weights}  # fmt: skip
    save_file(
        {name: np.ascontiguousarray(v) for name, v in spaces.items()}, directory / "vectors.safetensors"
    )
    save_file(_tower_parts(bundle.tower), directory / "tower.safetensors")
    graph = bundle.item_item
    parts: dict[str, npt.NDArray[Any]] = {
        "indptr": graph.indptr,
        "indices": graph.indices,
        "values": graph.values,
    }
    save_file(parts, directory / "item_item.safetensors")
    np.save(directory / "statistics.npy", bundle.statistics)
    np.save(directory / "activity.npy", bundle.activity)
    np.save(directory / "popularity.npy", bundle.popularity)
    bundle.index.write(directory / "index.faiss")
    bundle.content_index.write(directory / "content.faiss")
    if bundle.scorer.trees is not None:
        bundle.scorer.trees.save_model(directory / "trees.txt")


def _read_videos(path: Path) -> tuple[VideoTable, tuple[str | None, ...]]:
    frame = pl.read_ipc(path / "videos.arrow")
    vectors = load_file(path / "vectors.safetensors")
    videos = VideoTable(
        keys=frame["video_key"].to_numpy(),
        ids=tuple(frame["video_id"]),
        vectors={name: vectors[name] for name in MODALITIES},
        joint=vectors["joint"],
        mask=frame["mask"].to_numpy(),
        agreement=frame["agreement"].to_numpy(),
        imputed=frame["imputed"].to_numpy(),
        quality=vectors["quality"],
        neighbours=vectors["neighbours"],
        neighbour_weights=vectors["neighbour_weights"],
        sound_fit=frame["sound_fit"].to_numpy(),
        text_fit=frame["text_fit"].to_numpy(),
        duration_s=frame["duration_s"].to_numpy(),
        published_ms=frame["published_ms"].to_numpy(),
        creators=frame["creator"].to_numpy(),
        tags=tuple(tuple(tags) for tags in frame["tags"].to_list()),
    )
    return videos, tuple(frame["title"].to_list())


def _tower_parts(tower: Tower) -> dict[str, Floats]:
    parts = {
        "ids": tower.ids,
        "token_weights": tower.token_weights,
        "place_weights": tower.place_weights,
        "prior": tower.prior,
    }
    fusion = tower.fusion
    parts["fusion.neutral"] = fusion.neutral
    parts |= {f"weight.{name}": value for name, value in fusion.weights.items()}
    return {name: np.ascontiguousarray(value) for name, value in parts.items()}


def _read_tower(path: Path, kind: str) -> Tower:
    parts = load_file(path)
    weights = {name.removeprefix("weight."): v for name, v in parts.items() if name.startswith("weight.")}
    return Tower(
        ids=parts["ids"],
        fusion=Fusion(
            kind,
            tuple(name for name in MODALITIES if f"projection.{name}" in weights),
            parts["fusion.neutral"],
            weights,
        ),
        token_weights=parts["token_weights"],
        place_weights=parts["place_weights"],
        prior=parts["prior"],
    )


def _described(path: Path) -> dict[str, Any]:
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
    return {"bytes": path.stat().st_size, "blake2b": digest.hexdigest()}
