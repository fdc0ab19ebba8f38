"""Whether the content of a quarantine row names a user, in any of the forms that rows are set aside in.

A row is JSON, possibly cut; a record of Python's; a line of a file; or a packed record in hex. Where it can
be read the columns of users are compared; elsewhere the id counts as named where it stands as a word of its
own.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any, Final

USER_COLUMNS: Final = ("user_id", "userid", "user", "uid")
"""What files call the column of the user, in lower case."""

_WHOLE: Final = re.compile(r"^(\d+)\.0+$")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


def named_in(content: str, ids: Sequence[str]) -> bool:
    """True where the content of a quarantine row names one of the users."""
    if _HEX.fullmatch(content) and any(_as_packed(user_id) in bytes.fromhex(content) for user_id in ids):
        return True
    forms = {form for user_id in ids for form in _forms(user_id)}
    row = _parsed(content)
    if row is None:
        return any(_stands_in(form, content) for form in forms)
    said = [value for key, value in row.items() if str(key).lower() in USER_COLUMNS]
    return any(not _read_as(value).isdisjoint(ids) for value in said)


def marks_of(ids: Sequence[str]) -> list[str]:
    """Texts of which every content that names one of the users holds one; others may hold one too."""
    forms = {form for user_id in ids for form in _forms(user_id)}
    return sorted(forms | {_as_packed(user_id).hex() for user_id in ids})


def _parsed(content: str) -> dict[Any, Any] | None:
    """The row as a record, where the whole of it is there."""
    for read in (json.loads, ast.literal_eval):
        try:
            row = read(content)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return row if isinstance(row, dict) else None
    return None


def _read_as(value: Any) -> set[str]:
    """The ids that the importers make of what a file says: some take 12.0 and " 12" for 12."""
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return {text, _WHOLE.sub(r"\1", text.strip())}


def _as_packed(user_id: str) -> bytes:
    """The id as a packed record holds it: behind its length."""
    name = user_id.encode("utf-8", "surrogatepass")
    return len(name).to_bytes(2, "little") + name


def _forms(user_id: str) -> set[str]:
    """The id as it is, as in JSON, and as in Python."""
    return {user_id, json.dumps(user_id, ensure_ascii=False)[1:-1], repr(user_id)[1:-1]}


def _stands_in(form: str, content: str) -> bool:
    """The text with no letter, digit, `_` or `-` directly before or after it."""
    return re.search(rf"(?<![\w-]){re.escape(form)}(?![\w-])", content) is not None
