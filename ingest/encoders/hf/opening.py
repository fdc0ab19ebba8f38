"""From a path or a hub's name to an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from features.errors import BadInput
from ingest.encoders.hf.encoder import HuggingFaceEncoder
from ingest.encoders.hf.families import Family, Reader, family_of
from ingest.encoders.hf.loading import load_network
from ingest.encoders.hf.settings import fingerprint, read_config
from ingest.encoders.hf.source import locate
from ingest.encoders.hf.weights import find_weights

BATCH: Final = {"cpu": 16, "cuda": 256}
"""Rows computed at once: frames, windows or texts."""


def open_hf(
    source: str, device: str = "cpu", batch_size: int | None = None, modalities: tuple[str, ...] | None = None
) -> HuggingFaceEncoder:
    """A Hugging Face model as an encoder; weights are read here and moved to the device at the first use.

    Args:
        source: a directory or, where there is none, a hub's name `organisation/name`.
        device: torch device that computes.
        batch_size: frames, windows or texts computed at once, >= 1; None for what suits the device.
        modalities: of those it reads, the ones wanted; None for all.

    Raises:
        BadInput: a model that is not supported, not whole, or not in safetensors; each says what to do.
    """
    directory = locate(source)
    config = read_config(directory)
    family = family_of(directory, config["model_type"])
    wanted = _wanted(source, family, modalities)
    size = _size(batch_size, device)
    weights = find_weights(directory)
    version = f"hf-{config['model_type']}-{fingerprint(directory, weights)}"
    model = load_network(directory, family.class_name, family.ignored, family.options)
    readers = {modality: _reader(directory, family, modality, model.config) for modality in wanted}
    return HuggingFaceEncoder(version, wanted if len(wanted) > 1 else (), device, size, model, readers)


def _wanted(source: str, family: Family, modalities: tuple[str, ...] | None) -> tuple[str, ...]:
    if modalities is None:
        return tuple(family.readers)
    unread = [modality for modality in modalities if modality not in family.readers]
    if unread or not modalities:
        raise BadInput(
            f"{source} reads {', '.join(family.readers)}, not {', '.join(unread) or 'nothing'}; "
            "name some of what it reads"
        )
    return tuple(modality for modality in family.readers if modality in modalities)


def _reader(directory: Path, family: Family, modality: str, config: Any) -> Reader:
    try:
        return family.readers[modality](directory, config)
    except (TypeError, ValueError, KeyError) as error:  # of a value that is no number, or no name
        raise BadInput(
            f"{directory}: its settings for {modality} cannot be read: {error}; fetch them again"
        ) from error


def _size(batch_size: int | None, device: str) -> int:
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise BadInput(f"device {device!r} is not known; give cpu, cuda or cuda:N") from error
    if batch_size is not None and batch_size < 1:
        raise BadInput(f"batch_size is {batch_size}; it is at least 1")
    return batch_size or BATCH.get(kind, BATCH["cpu"])
