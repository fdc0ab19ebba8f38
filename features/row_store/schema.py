"""What a packed feature row holds: its columns, in order, and how one program's differ from another's."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Final

from features.errors import BadInput

ENTITIES: Final = ("video", "user")

MOST_COLUMNS: Final = 65_535
"""The header counts columns in 16 bits."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """The columns of one entity's feature rows; all are float32."""

    entity: str
    """Whose rows: one of ENTITIES."""
    names: tuple[str, ...]
    """Columns, in the order of their values; unique."""
    version: str
    """Of the definitions that compute them: `feature_version`."""

    def __post_init__(self) -> None:
        if self.entity not in ENTITIES:
            raise BadInput(f"feature rows are of {' or '.join(ENTITIES)}, not of {self.entity!r}")
        if not 1 <= len(self.names) <= MOST_COLUMNS:
            raise BadInput(f"a feature row has {len(self.names)} columns; give 1 to {MOST_COLUMNS}")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise BadInput(f"columns {', '.join(twice)} are named more than once in a feature row")

    @property
    def text(self) -> str:
        """The schema, written out."""
        return json.dumps(
            {
                "entity": self.entity,
                "version": self.version,
                "dtype": "float32",
                "names": self.names,
            }
        )

    @staticmethod
    def of_text(text: str) -> RowSchema:
        """The schema that was written out."""
        said = json.loads(text)
        return RowSchema(said["entity"], tuple(said["names"]), said["version"])


@functools.cache
def schema_hash(schema: RowSchema) -> int:
    """32 bits that stand for entity, version, columns, their order and type."""
    return int.from_bytes(hashlib.blake2b(schema.text.encode(), digest_size=4).digest(), "little")


def describe(schema: RowSchema) -> str:
    """The schema in a few words, for messages."""
    return f"version {schema.version}, {len(schema.names)} columns, hash {schema_hash(schema):08x}"


def difference(ours: RowSchema, stored: RowSchema) -> str:
    """Where two schemas differ, for messages."""
    only_ours = [name for name in ours.names if name not in set(stored.names)]
    only_stored = [name for name in stored.names if name not in set(ours.names)]
    said = [f"only ours: {_some(only_ours)}"] * bool(only_ours)
    said += [f"only stored: {_some(only_stored)}"] * bool(only_stored)
    if not said:
        moved = [name for name, other in zip(ours.names, stored.names, strict=True) if name != other]
        said = [f"in other places: {_some(moved)}"] if moved else ["the columns are the same"]
    return "; ".join(said)


def _some(names: list[str], most: int = 10) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
