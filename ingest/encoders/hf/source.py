"""The directory that a path or a hub's name means."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Final

from features.errors import BadInput
from ingest.encoders.hf.weights import find_weights

HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WANTED: Final = ("*.json", "*.safetensors", "1_Pooling/*.json")
"""What is fetched of a hub's repository: no pickle, no code."""


def locate(source: str) -> Path:
    """The model's directory.

    A path that exists is looked up nowhere else. What does not exist and looks like `organisation/name`
    is taken from the hub's cache or, where it is not there whole, fetched.

    Raises:
        BadInput: no such path, a path that is no directory, a name that the hub does not give.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise BadInput(f"{source} is a file; give the directory that holds config.json and model.safetensors")
    if not HUB_NAME.fullmatch(source):
        raise BadInput(
            f"{source!r} is no directory, and no hub's name of the form organisation/name; check the path"
        )
    return _fetch(source)


def _fetch(name: str) -> Path:
    hub = library("huggingface_hub")
    try:
        cached = Path(hub.snapshot_download(name, allow_patterns=list(WANTED), local_files_only=True))
        find_weights(cached)
        return cached
    except (OSError, ValueError, BadInput):
        pass  # not there, or its download was broken off: asked for below, and that answer is reported
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(WANTED)))
    except (OSError, ValueError) as error:  # the hub's own errors, and those of its connection, are OSError
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"{name} is no directory and cannot be fetched ({why}); copy the model here and give its path"
        ) from error


def library(name: str) -> Any:
    """A module of the optional extra.

    Raises:
        BadInput: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInput(f"an hf: encoder needs {name}; run: pip install 'reelrank[hf]'") from error
