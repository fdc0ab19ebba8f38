"""Files of a local directory or glob, with what the directory knows of them.

Every regular file is listed unless its name says that it is text or a table, or hides it. What cannot be
looked into is listed as it is, so that it ends in quarantine instead of going missing.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from features.errors import BadInput
from ingest.source.locations import is_below

NOT_MEDIA: Final = frozenset(
    {".txt", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".md", ".log", ".py", ".srt", ".vtt", ".xml"}
    | {".yaml", ".yml", ".toml", ".html", ".sha256", ".md5"}
)


class Found(NamedTuple):
    """A file, or a directory that is closed to us."""

    below: str
    """Path below the root."""
    size_bytes: int | None = None
    """None where the directory does not know, as for a link."""
    modified_ns: int | None = None
    is_closed: bool = False
    """A directory that may not be read, or lies elsewhere."""


def is_media_name(name: str) -> bool:
    """False for the name of a hidden, text or table file."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() not in NOT_MEDIA


def walk(root: str, bound: str) -> Iterator[Found]:
    """Files below the root; links are followed, but no real directory is entered twice.

    Args:
        root: a directory, absolute.
        bound: real path; a directory outside it is not entered.

    Raises:
        BadInput: the root itself cannot be read.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        folder = os.path.join(root, below)
        entries = _enter(folder, bound, entered)
        if entries is None and not below:
            raise BadInput(f"directory {root} cannot be read; check its permissions")
        if entries is None:
            yield Found(below, is_closed=True)
            continue
        for entry in entries:
            name = os.path.join(below, entry.name)
            if not entry.name.startswith(".") and _is_directory(entry):
                waiting.append(name)
            elif is_media_name(entry.name) and (found := _file(entry, name)):
                yield found


def glob_files(root: str, rest: str, bound: str) -> Iterator[Found]:
    """Files below the root that a pattern names; `**` enters no real directory twice.

    Args:
        root: the fixed part of the pattern, absolute.
        rest: what follows it.
        bound: see `walk`.
    """
    wanted = rest.split("/")
    if "**" not in wanted:
        names = glob.iglob(rest, root_dir=root)
        yield from (Found(name) for name in names if _may_be_media(os.path.join(root, name)))
    elif os.path.isdir(root):
        files = walk(root, bound)
        yield from (found for found in files if found.is_closed or _fits(found.below.split("/"), wanted))


def fixed_part(pattern: str) -> str:
    """The longest leading directory of a glob without a wildcard."""
    head = os.path.dirname(pattern)
    while glob.has_magic(head):
        head = os.path.dirname(head)
    return head


def _enter(folder: str, bound: str, entered: set[tuple[int, int]]) -> list[os.DirEntry[str]] | None:
    """Entries by name, none where it was entered before; None where it may not be entered."""
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in entered:
            return []
        if not is_below(os.path.realpath(folder), bound):
            return None
        entered.add(identity)
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(entry: os.DirEntry[str], name: str) -> Found | None:
    """None for devices, pipes and sockets; a link is left to be looked at where it leads."""
    if entry.is_symlink():
        return Found(name) if _is_regular_or_missing(entry.path) else None
    if not entry.is_file(follow_symlinks=False):
        return None
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # it went away meanwhile
        return Found(name)
    return Found(name, status.st_size, status.st_mtime_ns)


def _may_be_media(path: str) -> bool:
    return is_media_name(os.path.basename(path)) and _is_regular_or_missing(path)


def _is_regular_or_missing(path: str) -> bool:
    """True also for a dangling link, which has to be accounted for."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _fits(names: list[str], wanted: list[str]) -> bool:
    """Names of a path against those of a pattern, where `**` stands for any number, also none."""
    if not wanted:
        return not names
    if wanted[0] == "**":
        return any(_fits(names[at:], wanted[1:]) for at in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], wanted[0]) and _fits(names[1:], wanted[1:])
