"""JSON beside the weights, and the version made of all files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from features.errors import BadInput

CODE_VERSION: Final = "hf-1"
"""Of what this package computes around a network; another number where vectors change."""
PICTURES: Final = ("preprocessor_config.json", "processor_config.json")
BESIDE: Final = (
    "config.json",
    *PICTURES,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
)
"""Files that vectors depend on, beside the weights."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BadInput: it cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON: {error}; fetch it again") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds a {type(found).__name__} where a JSON object belongs; fetch it again")
    return found


def read_optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is no such file."""
    return read_object(path) if path.is_file() else {}


def read_config(directory: Path) -> dict[str, Any]:
    """The model's config.json.

    Raises:
        BadInput: it is missing, or names no model type.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise BadInput(f"{directory} holds no config.json; a model's directory has it beside its weights")
    config = read_object(path)
    if not isinstance(config.get("model_type"), str):
        raise BadInput(
            f"{path} names no model_type; fetch it again, or save the model with transformers >= 4"
        )
    return config


def read_processor(directory: Path, part: str) -> dict[str, Any]:
    """Settings of the model's own processor.

    Args:
        directory: of the model.
        part: `image_processor` or `feature_extractor`: its name where one file holds several.

    Raises:
        BadInput: there are none.
    """
    for name in PICTURES:
        found = read_optional(directory / name)
        inner = found.get(part)
        if isinstance(inner, dict):
            return inner
        if found and name == PICTURES[0]:
            return found
    raise BadInput(
        f"{directory} holds no preprocessor_config.json, which says how the model wants its input; fetch it"
    )


def fingerprint(directory: Path, weights: Iterable[Path], *more: str) -> str:
    """8 hex digits of all that vectors depend on; the same wherever the directory lies."""
    digest = hashlib.blake2b(" ".join((CODE_VERSION, *more)).encode(), digest_size=4)
    beside = [directory / name for name in BESIDE if (directory / name).is_file()]
    for path in [*beside, *weights]:
        status = path.stat()
        content = _file_hash(path.resolve(), status.st_size, status.st_mtime_ns)
        digest.update(f"{path.relative_to(directory).as_posix()}={content} ".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """Of the content; size and instant stand for it within a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
