"""A folder of the workspace for the time of an import, and what imports left there that were killed.

An import holds a lock in its folder for as long as it lives. Where nobody holds it, the import is dead, and
its rows, which name users, are taken away: by the next import, and by a deletion.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from features.tables import storing

LAID_ASIDE: Final = ".import-"
"""What the names of such folders begin with."""

_LOCK: Final = "lock"
_ABANDONED_S: Final = 86_400
"""A folder without a lock, of an earlier release or just made, is left behind when it is this old."""


@contextmanager
def laid_aside(root: Path) -> Iterator[Path]:
    """A folder below the root that is gone afterwards; what killed imports left goes first."""
    with storing(root):
        for left in left_behind(root):
            shutil.rmtree(left, ignore_errors=True)
        folder = tempfile.TemporaryDirectory(prefix=LAID_ASIDE, dir=root)
    with folder as name:
        new = Path(name) / f"{_LOCK}.new"
        with open(new, "xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new.rename(new.with_name(_LOCK))  # by then it is held: nobody meets it free
            yield Path(name)


def left_behind(root: Path) -> list[Path]:
    """Folders of imports that live no more, sorted."""
    return sorted(path for path in root.glob(f"{LAID_ASIDE}*") if _is_dead(path))


def _is_dead(folder: Path) -> bool:
    try:
        with open(folder / _LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return folder.is_dir() and time.time() - folder.stat().st_mtime > _ABANDONED_S
