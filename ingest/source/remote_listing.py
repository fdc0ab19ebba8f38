"""Files of a folder or glob of a remote filesystem, and manifests that lie there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from features.errors import BadInput
from ingest.failures import DecodeFailure, MediaRefused
from ingest.source.attempts import T, tried
from ingest.source.locations import HTTP, Access, access_to, confine, scheme_of, shown
from ingest.source.manifest import MANIFESTS
from ingest.source.remote import errors_of, etag_of, file_system, modified_ns_of, size_of
from ingest.source.walk import fixed_part, is_media_name

Row = tuple[str, str, int | None, int | None, str | None]
"""id, uri, size_bytes, modified_ns, etag."""


def kind_of_source(url: str) -> str:
    """`folder`, `glob` or `manifest`.

    Raises:
        BadInput: nothing is there, it may not be read, or it is a file and no manifest.
    """
    ending = os.path.splitext(re.split(r"[?#]", url)[0])[1].lower()
    if scheme_of(url) in HTTP:  # a web server knows of files only; a folder is a page of links
        return "manifest" if ending in MANIFESTS else "folder"
    info = _asked(url, lambda: _info(url))
    if info is None and glob.has_magic(url):
        return "glob"
    if info is None:
        raise BadInput(f"source {shown(url)} is not there; name a directory, a glob or a manifest")
    if info.get("type") == "directory":
        return "folder"
    if ending not in MANIFESTS:
        known = ", ".join(sorted(MANIFESTS))
        raise BadInput(f"source {shown(url)} is a file but no manifest ({known}); name its directory")
    return "manifest"


def read_bytes(url: str) -> bytes:
    """All bytes of a remote file."""
    return _asked(url, lambda: bytes(file_system(url).cat_file(url)))


def list_folder(url: str) -> list[Row]:
    """Files of a folder and all below it; the id of a file is its path below the folder."""
    found = _asked(url, lambda: file_system(url).find(url, detail=True))
    return list(_rows(found, url.rstrip("/")))


def list_glob(url: str) -> tuple[list[Row], str]:
    """Files that a pattern names, by their path below its fixed part, and that part."""
    root = fixed_part(url)
    found = _asked(url, lambda: file_system(url).glob(url, detail=True))
    return list(_rows(found, root)), root


def _info(url: str) -> Mapping[str, Any] | None:
    """None where nothing is there."""
    try:
        info: Mapping[str, Any] = file_system(url).info(url)
    except FileNotFoundError:
        return None
    return info


def _asked(url: str, ask: Callable[[], T]) -> T:
    """The answer to a question about the source; BadInput says why none came in three attempts."""

    def guarded() -> T:
        with errors_of(url):
            return ask()

    answer = tried(guarded)
    if isinstance(answer, DecodeFailure):
        name = shown(url)
        said = answer.message if answer.message.startswith(name) else f"{name}: {answer.message}"
        raise BadInput(f"source {said}")
    return answer


def _rows(found: Mapping[str, Mapping[str, Any]], root: str) -> Iterator[Row]:
    """Rows of what a filesystem found; markers of folders, hidden, text and table files are left out."""
    above = file_system(root)._strip_protocol(root).rstrip("/") + "/"
    access = access_to(root)
    for name, info in found.items():
        below = name[len(above) :]
        if not name.startswith(above) or info.get("type") == "directory" or not _may_be_media(below):
            continue
        uri = f"{root}/{below}"
        yield (below, uri, *(_facts(info) if _is_inside(uri, access) else (None, None, None)))


def _may_be_media(below: str) -> bool:
    *folders, name = below.split("/")
    return bool(name) and is_media_name(name) and not any(map(_is_hidden, folders))


def _is_hidden(folder: str) -> bool:
    return folder.startswith(".") and folder not in (".", "..")


def _is_inside(uri: str, access: Access) -> bool:
    """False for keys with dots that step out of the root; such a file is listed, and refused when read."""
    try:
        confine(uri, access)
    except MediaRefused:
        return False
    return True


def _facts(info: Mapping[str, Any]) -> tuple[int | None, int | None, str | None]:
    return size_of(info), modified_ns_of(info), etag_of(info)
