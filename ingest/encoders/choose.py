"""From what somebody wrote on a command line to an encoder.

A spec is `signal`, `hf:PATH_OR_NAME` or `package.module:ClassName`, for all that it reads; `MODALITY=SPEC` is
for one modality, and `MODALITY=none` leaves it out. What no spec reads, `signal` does.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any, Final

from features.contracts import MODALITIES
from features.errors import BadInput
from ingest.encoders.compose import ComposedEncoder
from ingest.encoders.protocol import Encoder
from ingest.encoders.signal import SignalEncoder
from ingest.encoders.vectors import ModelEncoder

DEFAULT: Final = ("signal",)
NONE: Final = "none"
FORMS: Final = "signal, hf:PATH_OR_NAME or package.module:ClassName, each also as visual=…, audio=… or text=…"
KNOWN: Final = re.compile(r"signal|none|hf:.+|[^\W\d][\w.]*:[^\W\d]\w*")
NEEDED: Final = ("encoder_version", "dims", "shared", "device", "batch_size", "encode")
"""What a class must have to be an encoder."""


def make_encoder(specs: Sequence[str] = DEFAULT, device: str = "cpu") -> Encoder:
    """The encoder that these specs name.

    Args:
        specs: see the module; none at all is `signal`.
        device: torch device that computes.

    Raises:
        BadInput: an unknown spec, two for one modality, a class that is no encoder, no modality left.
    """
    parsed = [_parse(spec) for spec in specs]
    opened = {what: _open(what, device) for what in dict.fromkeys(w for _, w in parsed) if what != NONE}
    chosen: dict[str, str] = {}
    for modality, what in parsed:
        if modality is not None:
            _check_reads(what, modality, opened)
            _claim(chosen, modality, what)
    explicit = set(chosen)
    for modality, what in parsed:
        for read in opened[what].reads if modality is None else ():
            if read not in explicit:
                _claim(chosen, read, what)
    opened.setdefault("signal", SignalEncoder(device, threads=None))
    used = {m: opened[what] for m in MODALITIES if (what := chosen.get(m, "signal")) != NONE}
    if not used:
        raise BadInput(f"{' '.join(specs)} leaves no modality to embed; name an encoder for one at least")
    only = next(iter(used.values()))
    if set(used) == set(only.reads) and tuple(specs or DEFAULT) == only.specs:
        return only
    return ComposedEncoder(used, tuple(specs))


def _parse(spec: str) -> tuple[str | None, str]:
    """(modality or None for all that it reads, what reads it)."""
    before, equals, what = spec.partition("=")
    modality = before if equals and before in MODALITIES else None
    what = what if modality else spec
    if what == NONE and modality is None:
        raise BadInput(f"encoder none needs a modality, as in audio=none; known are {', '.join(MODALITIES)}")
    if not KNOWN.fullmatch(what):
        raise BadInput(f"encoder {spec!r} is not known; give {FORMS}")
    return modality, what


def _claim(chosen: dict[str, str], modality: str, what: str) -> None:
    other = chosen.setdefault(modality, what)
    if other != what:
        raise BadInput(f"{other} and {what} both read {modality}; say which with {modality}=…")


def _check_reads(what: str, modality: str, opened: dict[str, Encoder]) -> None:
    if what != NONE and modality not in opened[what].reads:
        raise BadInput(f"{what} reads {', '.join(opened[what].reads)}, not {modality}")


def _open(what: str, device: str) -> Encoder:
    if what == "signal":
        return SignalEncoder(device, threads=None)
    before, _, after = what.partition(":")
    if before == "hf":
        from ingest.encoders.hf import open_hf  # needs an extra that few install

        return ModelEncoder(open_hf(after, device=device), what)
    return ModelEncoder(_bring(before, after, device), what)


def _bring(module: str, name: str, device: str) -> Any:
    """An instance of somebody's class, made with the device alone."""
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"encoder {module}:{name} cannot be imported: {error}; put it on the PYTHONPATH"
        ) from error
    try:
        model = made(device=device)
    except TypeError as error:
        raise BadInput(f"{module}:{name} cannot be made with device={device!r} alone: {error}") from error
    lost = [attribute for attribute in NEEDED if not hasattr(model, attribute)]
    if lost:
        raise BadInput(f"{module}:{name} is no encoder: it lacks {', '.join(lost)}")
    return model
