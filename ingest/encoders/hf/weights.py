"""Weights in safetensors files: whole and complete, or refused in a sentence. Pickles are never opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from features.errors import BadInput
from ingest.encoders.hf.settings import read_object

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack", "*.onnx")
MAX_HEADER: Final = 100_000_000
"""Bytes; the format's own bound."""
CONVERT: Final = (
    "load it once where you trust it and call save_pretrained(DIRECTORY, safe_serialization=True)"
)


def find_weights(directory: Path) -> tuple[Path, ...]:
    """The safetensors files of a model, each checked to be whole.

    Raises:
        BadInput: none, only pickles, a shard that is missing, or a file that is cut short.
    """
    if (directory / SINGLE).is_file():
        tensors(directory / SINGLE)
        return (directory / SINGLE,)
    if (directory / INDEX).is_file():
        return _shards(directory)
    others = sorted({path.name for pattern in PICKLES for path in directory.glob(pattern)})
    if others:
        raise BadInput(
            f"{directory} holds its weights as {', '.join(others)} and not as {SINGLE}; only safetensors are "
            f"read, for other formats can run code: {CONVERT}"
        )
    raise BadInput(f"{directory} holds no {SINGLE} and no {INDEX}; copy the model's weights there")


def _shards(directory: Path) -> tuple[Path, ...]:
    index = directory / INDEX
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadInput(f"{index} has no weight_map from tensors to files; fetch it again")
    held: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise BadInput(f"{index} names {name!r}, which is no file beside it; fetch it again")
        if name not in held:
            if not (directory / name).is_file():
                raise BadInput(f"{directory / name} is missing, and {INDEX} names it; fetch that shard")
            held[name] = set(tensors(directory / name))
        if tensor not in held[name]:
            raise BadInput(
                f"{directory / name} lacks {tensor}, which {INDEX} promises; fetch that shard again"
            )
    return tuple(directory / name for name in sorted(held))


def tensors(path: Path) -> dict[str, Any]:
    """Header of a safetensors file, by tensor.

    Raises:
        BadInput: no safetensors file, or not all of it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if start == b"version ":
            raise BadInput(f"{path} is a Git LFS pointer and not the weights; run: git lfs pull")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            raise BadInput(f"{path} is no whole safetensors file ({size} bytes); fetch it again")
        header = _parse(path, file.read(length))
    promised = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if promised != size:
        raise BadInput(f"{path} has {size} bytes where its header promises {promised}; fetch it again")
    return header


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
        return {
            name: entry for name, entry in header.items() if name != "__metadata__" and entry["data_offsets"]
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is no safetensors file: its header cannot be read; fetch it again") from error
