"""Where the bytes of a listed uri lie, and whether this source may read there.

A uri comes from a name on disk or from somebody's manifest, so it is not trusted: what it leads to must lie
below the root of the source, whatever links, dots, encodings or URL schemes it is written with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

from ingest.failures import MediaRefused
from ingest.source.attempts import on_disk

FILE_SCHEME: Final = "file://"
LOCAL: Final = "file"
"""Name of the scheme of local files in `Access.schemes`."""
HTTP: Final = frozenset({"http", "https"})
MAX_BYTES: Final = 16 << 30

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s]*@")
_QUERY: Final = re.compile(r"(?<=\S)(\?[^\s'\")>]*|#[^\s'\")>]*=[^\s'\")>]*)")
"""Of a signed URL, or of a redirect that hands on a token; a `#` alone is a part of many names."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a source may read; goes to the workers as it is."""

    root: str
    """Directory or URL; nothing outside it is read."""
    schemes: frozenset[str] = frozenset({LOCAL})
    """URL schemes that are allowed, lower case; `file` stands for local files."""
    max_bytes: int = MAX_BYTES
    """A larger file is not read, bytes."""


def access_to(root: str, also: Iterable[str] = (), max_bytes: int = MAX_BYTES) -> Access:
    """Local files and the root's own scheme, and no other scheme than those in `also`.

    A scheme in `also` is open as a whole where it is not the root's: the root binds uris of its own scheme.
    Local files are never read for a root that is a URL.
    """
    own = scheme_of(root)
    return Access(root, frozenset({LOCAL, own, *(scheme.lower() for scheme in also)}), max_bytes)


def scheme_of(uri: str) -> str:
    """The scheme of a URL, lower case; `file` for a path."""
    found = _URL.match(uri)
    return found[0][:-3].lower() if found else LOCAL


def is_remote(uri: str) -> bool:
    """True for a URL of another scheme than `file`."""
    return scheme_of(uri) != LOCAL


def path_of(uri: str) -> Path:
    """Local path of a listed uri; `file://` URIs carry names that are not UTF-8."""
    return Path(_path_text(uri))


def uri_of(path: str | Path) -> str:
    """The path as text; as a percent-encoded `file://` URI where its bytes are not UTF-8."""
    text = str(path)
    return text if is_utf8(text) else FILE_SCHEME + quote_from_bytes(os.fsencode(text))


def is_utf8(text: str) -> bool:
    """False for a name that was not UTF-8 on disk."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str) -> str:
    """A uri, or a sentence with URLs in it, without user names, passwords and query strings."""
    if "://" not in text:
        return text
    return _QUERY.sub("", _CREDENTIALS.sub("", text))


def confine(uri: str, access: Access) -> str:
    """Where the uri's bytes lie: a real path without links, or the URL as given.

    Raises:
        MediaRefused: `forbidden`, where that is outside the root or its scheme is not allowed; `unreadable`,
            where nothing is there.
    """
    scheme = scheme_of(uri)
    if scheme not in access.schemes:
        raise _forbidden(
            f"{shown(uri)}: this source may not read {scheme}:// (--allow-scheme {scheme} lets it)"
        )
    if scheme != LOCAL:
        return _confined_url(uri, scheme, access.root)
    root = real_root(access.root)
    return on_disk(lambda path: confined_path(path, root), _local(uri, access.root))


def real_root(root: str) -> str | None:
    """The root without links; None where it is a URL, below which no local file lies."""
    return None if is_remote(root) else os.path.realpath(_path_text(root))


def confined_path(path: str, root: str | None) -> str:
    """The path without links, if it leads to something below the root (given without links itself)."""
    if not _is_name(path):
        raise _forbidden(f"{path!r} is no name of a file: it holds a NUL or half a character")
    try:
        real, problem = resolve(path), None
    except OSError as error:  # as far as it goes, to say which: outside, or not there
        real, problem = os.path.realpath(path), error
    if root is None or not is_below(real, root):
        raise _outside(path if real == path else f"{path} leads to {real}, which", root)
    if problem:
        raise problem
    return real


def resolve(path: str) -> str:
    """The path without links of something that is there.

    Raises:
        OSError: it is not, or a link leads to itself. What `realpath` makes of such a path without `strict`
            may still hold links, and must not be read.
    """
    return os.path.realpath(path, strict=True)


def _is_name(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def is_below(real: str, root: str) -> bool:
    """True for the root itself and what lies below it; both without links."""
    return real == root or real.startswith(root if root.endswith("/") else root + "/")


def _outside(what: str, root: str | None) -> MediaRefused:
    below = f"the source's root {shown(root)}" if root else "the source, which is a URL"
    return _forbidden(f"{what} lies outside {below}; name a wider one with --media-root")


def _forbidden(message: str) -> MediaRefused:
    return MediaRefused("list", "forbidden", message)


def _local(uri: str, root: str) -> str:
    """Absolute path of a local uri; a relative one is below the root."""
    path = _path_text(uri)
    if _URL.match(path):
        raise _forbidden(f"{shown(uri)} lies on another machine; write file:///path for a file of this one")
    return path if os.path.isabs(path) or is_remote(root) else os.path.join(_path_text(root), path)


def _path_text(uri: str) -> str:
    if uri[: len(FILE_SCHEME)].lower() != FILE_SCHEME:
        return uri
    host, slash, path = re.split(r"[?#]", uri[len(FILE_SCHEME) :])[0].partition("/")
    if host.lower() not in ("", "localhost"):
        return uri  # a share of another machine: no path here, and below no root
    return os.fsdecode(unquote_to_bytes((slash + path).encode("utf-8", "surrogatepass")))


def _confined_url(url: str, scheme: str, root: str) -> str:
    if _CONTROL.search(url) or _has_dots(url):
        raise _forbidden(f"{shown(url)!r} has control characters or steps up (..); write it without them")
    if scheme == scheme_of(root) and not _is_below_url(url, root):
        raise _outside(shown(url), root)
    return url


def _has_dots(url: str) -> bool:
    """True where a `.` or `..` segment is in the URL, plain or percent-encoded however often."""
    while (plain := unquote(url)) != url:
        url = plain
    return not {".", ".."}.isdisjoint(re.split(r"[/\\?#]", url))


def _is_below_url(url: str, root: str) -> bool:
    host, path = _host_and_path(url)
    root_host, root_path = _host_and_path(root)
    if not root_host and not root_path:
        return True
    return host == root_host and is_below(path, root_path)


def _host_and_path(url: str) -> tuple[str, str]:
    """Authority and path (without query, where the scheme has such) as they stand, no slash at the end."""
    host, slash, path = url.partition("://")[2].partition("/")
    if scheme_of(url) in HTTP:
        host, path = host.lower(), re.split(r"[?#]", path)[0]
    return host, (slash + path).rstrip("/")
