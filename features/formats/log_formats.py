"""Which file of a log is read how: by the format that was asked for, or by its name and header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.contracts import CATALOGUE, schema
from features.errors import BadInput
from features.formats.kuairand import KUAIRAND
from features.formats.kuairec import KUAIREC
from features.formats.log_format import Batch, LogFormat, Role, check_header, mapped
from features.formats.microlens import MICROLENS
from features.formats.movielens import MOVIELENS
from features.formats.openbandit import OPENBANDIT
from features.formats.readers import find_files, is_table


def _own_events(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    # `further` is what our readers of public logs say of a row; a column that a file calls so says nothing.
    return mapped(path, chunk_bytes, lambda source: source.frame.drop("further", strict=False))


REELRANK: Final = LogFormat(
    "reelrank",
    role=lambda path: "events" if is_table(path) else None,
    needs=lambda path: (),
    events=_own_events,
    videos=lambda path: pl.DataFrame(schema=schema(CATALOGUE)).drop("video_key"),
)
"""Our own: Parquet, CSV or JSON lines with columns of INTERACTIONS."""

PUBLIC: Final = (MOVIELENS, KUAIRAND, KUAIREC, MICROLENS, OPENBANDIT)
FORMATS: Final = ("auto", "reelrank", *(f.name for f in PUBLIC))


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file with what it holds."""

    path: Path
    format: LogFormat
    role: Role


def find_logs(paths: list[Path], fmt: str) -> list[LogFile]:
    """The files below these paths that hold events or videos, in the order of the paths, then of names.

    Args:
        paths: files and folders.
        fmt: one of FORMATS. `auto` takes a file for a public log where its name and header say so, else for
            our own; in a folder with a public log's events, only files of that format are taken.

    Raises:
        NotFound: a path is not there.
        BadInput: an unknown format, a folder or file without anything of it, or an absent column.
    """
    if fmt not in FORMATS:
        raise BadInput(f"unknown format {fmt}; this reads {', '.join(FORMATS)}")
    if not paths:
        find_files(paths, is_table)  # says what to do
    asked = next((f for f in (REELRANK, *PUBLIC) if f.name == fmt), None)
    found: dict[Path, LogFile] = {}
    for path in paths:
        files = _recognise(path) if asked is None else _of_format(path, asked)
        found |= {file.path: file for file in files if file.path not in found}
    return list(found.values())


def _of_format(path: Path, asked: LogFormat) -> list[LogFile]:
    if path.is_dir() and not any(asked.role(p) for p in path.iterdir() if p.is_file()):
        raise BadInput(f"folder {path} has no file that can be read here as {asked.name}")
    files = []
    for file in _prefer_one_spelling(find_files([path], lambda p: asked.role(p) is not None)):
        role = asked.role(file) or ("events" if asked is REELRANK else None)
        if role is None:
            raise BadInput(f"{file} is none of the files of format {asked.name} by its name; name its folder")
        check_header(file, asked.needs(file), asked.name)
        files.append(LogFile(file, asked, role))
    return files


def _recognise(path: Path) -> list[LogFile]:
    inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    for public in PUBLIC:
        mine = [p for p in inside if public.role(p) is not None and p.is_file() and public.recognises(p)]
        roles = [(p, public.role(p)) for p in _prefer_one_spelling(mine)]
        if any(role == "events" for _, role in roles) or (roles and not path.is_dir()):
            return [LogFile(p, public, role) for p, role in roles if role is not None]
    return [LogFile(p, REELRANK, "events") for p in find_files([path], is_table)]


def _prefer_one_spelling(files: list[Path]) -> list[Path]:
    """Where a folder holds the same table in several spellings, the first is taken: `.csv` before others."""
    taken: dict[tuple[Path, str], Path] = {}
    for path in files:
        role = MOVIELENS.role(path)
        kind = role or (path.stem if MICROLENS.role(path) == "events" else path.name)
        taken.setdefault((path.parent, kind), path)
    return list(taken.values())
