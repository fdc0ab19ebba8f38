"""The network itself, from safetensors, on the CPU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from features.errors import BadInput
from ingest.encoders.hf.source import library


def load_network(
    directory: Path, class_name: str, ignored: str, options: Mapping[str, Any] | None = None
) -> Any:
    """The network in float32, for inference.

    Args:
        directory: whose weights `weights.find_weights` has found whole.
        class_name: of transformers.
        ignored: regular expression of tensors that may lie beside the network's: heads of a training task.
        options: of the class.

    Raises:
        BadInput: tensors that are missing, of another shape or not of this network.
    """
    transformers = library("transformers")
    try:
        with _quiet(transformers.utils.logging):
            model, found = getattr(transformers, class_name).from_pretrained(
                directory,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **(options or {}),
            )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(f"{directory} cannot be loaded as {class_name}: {why}") from error
    _check(directory, class_name, found, ignored)
    return model.eval().requires_grad_(False)


def _check(directory: Path, class_name: str, found: Mapping[str, Any], ignored: str) -> None:
    wrong = sorted(str(entry[0]) for entry in found["mismatched_keys"])
    missing = sorted(found["missing_keys"])
    unexpected = sorted(key for key in found["unexpected_keys"] if not re.fullmatch(ignored, key))
    for what, names in (("of another shape", wrong), ("missing", missing), ("unexpected", unexpected)):
        if names:
            raise BadInput(
                f"{directory}: {len(names)} tensors of {class_name} are {what} ({_some(names)}); config.json "
                "and weights belong to two models, or weights are lost: fetch both again"
            )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without the library's own table and progress bar: what they would say is checked here."""
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
