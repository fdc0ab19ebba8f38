"""Settings of a nightly job, from `reelrank.toml`, and the environment, read here only."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from features.errors import BadInput

DEFAULT_WORKSPACE = "workspace"
SAMPLINGS = ("exact", "keyframe", "shots")
DEVICES = ("auto", "cpu", "cuda")
SPACE_FUSIONS = ("mean", "gated")
FUSIONS = ("concat", "gated", "attention")
DEFAULT_FUSION = "gated"


def workspace_from_environment() -> str:
    """`REELRANK_WORKSPACE`, else the directory `workspace` here."""
    return os.environ.get("REELRANK_WORKSPACE", DEFAULT_WORKSPACE)


def redis_url_from_environment() -> str | None:
    """`REDIS_URL`, or None: then a private server is started."""
    return os.environ.get("REDIS_URL") or None


@dataclass(frozen=True, slots=True)
class NightlySettings:
    """One nightly job. Paths are relative to the file they stand in."""

    workspace: str
    """Directory of the deployment."""
    videos: str | None = None
    """Source of videos: directory, glob or manifest; None where there is no media."""
    embeddings: tuple[str, ...] = ()
    """Files of bring-your-own embeddings."""
    events: tuple[str, ...] = ()
    """Event logs to import before building features."""
    events_format: str = "auto"
    redis_url: str | None = None
    """None: a private server."""
    ray_address: str | None = None
    """None: Ray on this machine."""
    workers: int = 2
    """Ray actors that decode and describe, >= 1; one core each."""
    encoder: tuple[str, ...] = ("signal",)
    """What embeds: signal, hf:PATH_OR_NAME or package.module:ClassName; one modality alone as visual=…"""
    sampling: str = "exact"
    """How frames are chosen: exact, keyframe or shots."""
    device: str = "auto"
    """Where videos are decoded and described: auto, cpu or cuda."""
    media_root: str | None = None
    """Files of a manifest may lie below it; None for the manifest's own directory."""
    allow_schemes: tuple[str, ...] = ()
    """URL schemes that files of a manifest may have beside that of the source."""
    space_fusion: Literal["mean", "gated"] = "mean"
    """How the modalities of a video become its joint vector: mean or gated."""
    co_watched: bool = False
    """Align modalities on what people watch together too, once a bundle has left an item graph."""
    fusion: str = DEFAULT_FUSION
    """How the ranker's video tower combines modalities: concat, gated or attention."""
    threads: int = 2
    """Threads of torch, LightGBM and FAISS while training, >= 1."""
    max_unknown_share: float = 0.5
    """Largest share of interactions with videos outside the catalogue, [0, 1]."""
    holdout_days: int = 3
    """Last days of the log, unseen by training and asked for by evaluation, >= 0; 0 evaluates nothing."""
    k: int = 10
    """Length of the evaluated lists, >= 1."""
    arms: tuple[str, ...] = (
        "popular=popular",
        "fused=current",
        "no-trees=current-trees",
        "no-visual=current-visual",
        "no-audio=current-audio",
        "no-text=current-text",
        "random=random",
    )
    """Arms of the offline report; the first is the control that the others are held against."""
    seed: int = 7

    def __post_init__(self) -> None:
        for name, low in (("workers", 1), ("threads", 1), ("holdout_days", 0), ("k", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise BadInput(f"{name} is {getattr(self, name)}; at least {low} is needed")
        choices = (
            ("sampling", SAMPLINGS), ("device", DEVICES), ("space_fusion", SPACE_FUSIONS), ("fusion", FUSIONS)
        )  # fmt: skip
        for name, known in choices:
            if getattr(self, name) not in known:
                raise BadInput(f"{name} is {getattr(self, name)!r}; known are {', '.join(known)}")
        if not 0 <= self.max_unknown_share <= 1:
            raise BadInput(f"max_unknown_share is {self.max_unknown_share}; give a share between 0 and 1")
        if self.videos is None and not self.embeddings and not self.events:
            raise BadInput("the job has no input; name at least one of `videos`, `embeddings` and `events`")


def load_nightly_settings(path: Path, *, workspace: str | None = None) -> NightlySettings:
    """The job described by a TOML file.

    Args:
        path: the file; relative paths in it are relative to its directory.
        workspace: used instead of the file's own.

    Raises:
        BadInput: the file is missing or not TOML, a key is unknown, or a value has the wrong type.
    """
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise BadInput(
            f"there is no settings file at {path}; infra/docs/nightly.md has one to start from"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} is not valid TOML: {error}") from error
    return settings_from(given, path.absolute().parent, workspace=workspace, what=str(path))


def settings_from(
    given: Mapping[str, Any], base: Path, *, workspace: str | None = None, what: str = "settings"
) -> NightlySettings:
    """Settings from plain values; see `load_nightly_settings`."""
    known = {field.name: field for field in fields(NightlySettings)}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise BadInput(f"{what} has unknown key(s) {', '.join(unknown)}; known are {', '.join(known)}")
    values = {name: _typed(name, value, what) for name, value in given.items()}
    for name in ("workspace", "videos", "media_root"):
        if isinstance(values.get(name), str):
            values[name] = _beside(base, values[name])
    for name in ("embeddings", "events"):
        if name in values:
            values[name] = tuple(_beside(base, value) for value in values[name])
    if "encoder" in values:
        values["encoder"] = tuple(encoder_beside(base, spec) for spec in values["encoder"])
    if workspace is not None:
        values["workspace"] = workspace
    if "workspace" not in values:
        values["workspace"] = workspace_from_environment()
    values.setdefault("redis_url", redis_url_from_environment())
    return NightlySettings(**values)


_INTEGERS = ("workers", "threads", "holdout_days", "k", "seed")
_LISTS = ("embeddings", "events", "arms", "allow_schemes", "encoder")
_FLAGS = ("co_watched",)


def _typed(name: str, value: Any, what: str) -> Any:
    if name in _LISTS:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadInput(f"{what}: {name} is {value!r}; give a list of strings")
        return tuple(value)
    if name in _INTEGERS:
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadInput(f"{what}: {name} is {value!r}; give a whole number")
        return value
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise BadInput(f"{what}: {name} is {value!r}; give true or false")
        return value
    if name == "max_unknown_share":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadInput(f"{what}: {name} is {value!r}; give a number between 0 and 1")
        return float(value)
    if not isinstance(value, str):
        raise BadInput(f"{what}: {name} is {value!r}; give a string")
    return value


def _beside(base: Path, value: str) -> str:
    if "://" in value:
        return value
    path = Path(value).expanduser()
    return str(path if path.is_absolute() else base / path)


def encoder_beside(base: Path, spec: str) -> str:
    """The spec with the path of a model made absolute, where there is one: it is found from anywhere."""
    before, model, after = spec.partition("hf:")
    path = base / Path(after).expanduser()
    return f"{before}hf:{path}" if model and after and path.is_dir() else spec
