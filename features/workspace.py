"""Where everything of a deployment lies: one directory, its tables by name, and its version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from features.contracts import CATALOGUE, DUPLICATES, EMBEDDINGS, INTERACTIONS, ITEM_GRAPH, QUARANTINE, SPACES
from features.errors import BadInput, NotFound
from features.tables import Table, create_durably, read_json, write_durably

LAYOUT_VERSION = 1
MARK = "workspace.json"
"""File that makes a directory a workspace."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory of one deployment. Making the object touches nothing; `open_workspace` does."""

    root: Path

    @property
    def catalogue(self) -> Table:
        """One row a video; replaced as a whole."""
        return Table(self.root / "catalogue", CATALOGUE)

    @property
    def interactions(self) -> Table:
        """All events, in one directory a UTC day (`date=unknown` where there are no times)."""
        return Table(self.root / "interactions", INTERACTIONS)

    @property
    def quarantine(self) -> Table:
        """What could not be ingested, and why."""
        return Table(self.root / "quarantine", QUARANTINE)

    @property
    def duplicates(self) -> Table:
        """Groups of near-duplicate videos; replaced as a whole."""
        return Table(self.root / "duplicates", DUPLICATES)

    @property
    def item_graph(self) -> Table:
        """Neighbours of each video by audience; replaced as a whole."""
        return Table(self.root / "graph", ITEM_GRAPH)

    def embeddings(self, encoder_version: str) -> Table:
        """Per-modality vectors and quality columns of one encoder version."""
        return Table(self.root / "embeddings" / f"encoder={encoder_version}", EMBEDDINGS)

    def encoder_versions(self) -> list[str]:
        """Encoder versions with committed embeddings, latest commit last."""
        return self._versions("embeddings", "encoder=")

    def space(self, space_version: str) -> Table:
        """Joint vectors, masks and agreement of one space version."""
        return Table(self.root / "spaces" / f"space={space_version}", SPACES)

    def space_versions(self) -> list[str]:
        """Space versions with a commit, latest commit last."""
        return self._versions("spaces", "space=")

    def thumbnail(self, video_key: int) -> Path:
        """Where the thumbnail of a video lies, whether or not it is there."""
        return self.root / "thumbnails" / f"{video_key}.webp"

    def preview(self, video_key: int) -> Path:
        """Where the moving preview of a video lies, whether or not it is there."""
        return self.root / "thumbnails" / f"{video_key}.preview.webp"

    def model(self, bundle: str) -> Path:
        """Directory of a bundle."""
        return self.root / "models" / _plain(bundle, "bundle")

    def report(self, name: str) -> Path:
        """Directory of a report."""
        return self.root / "reports" / _plain(name, "report")

    def run(self, name: str) -> Path:
        """Directory of a run's ledger."""
        return self.root / "runs" / name

    def bundles(self) -> list[str]:
        """Names of complete bundles (those with a manifest), oldest first: a name starts with its time."""
        return sorted(p.parent.name for p in (self.root / "models").glob("*/manifest.json"))

    def current_bundle(self) -> str:
        """The published bundle; NotFound says what to do where there is none."""
        pointer = self.root / "models" / "current.json"
        if not pointer.exists():
            raise NotFound(f"no bundle is published in {self.root}; run `reelrank train` first")
        return str(read_json(pointer, "the published bundle")["bundle"])

    def published_bundles(self) -> list[str]:
        """Every bundle that was published, oldest first; the last is the one that is served."""
        pointer = self.root / "models" / "current.json"
        return list(read_json(pointer, "the published bundle")["published"]) if pointer.exists() else []

    def publish(self, bundle: str) -> None:
        """Makes a complete bundle the one that is served."""
        if not (self.model(bundle) / "manifest.json").exists():
            have = ", ".join(self.bundles()) or "none"
            raise NotFound(f"bundle {bundle} is not in {self.root}; it has {have}")
        self._point([*self.published_bundles(), bundle])

    def rollback(self) -> str:
        """Publishes the bundle that was served before the current one, and returns its name."""
        published = self.published_bundles()
        if len(published) < 2:
            raise NotFound(f"{self.root} has published {len(published)} bundle(s); a rollback needs two")
        self._point(published[:-1])
        return published[-2]

    def _point(self, published: list[str]) -> None:
        content = json.dumps({"bundle": published[-1], "published": published[-100:]})
        write_durably(self.root / "models" / "current.json", content.encode())

    def _versions(self, folder: str, prefix: str) -> list[str]:
        def found() -> Iterator[tuple[float, str]]:
            for path in (self.root / folder).glob(f"{prefix}*"):
                snapshot = Table(path, ()).snapshot()
                if snapshot.sequence:
                    yield snapshot.committed_at, path.name.removeprefix(prefix)

        return [version for _, version in sorted(found())]


def _plain(name: str, what: str) -> str:
    """The name, if it stays below its folder."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise BadInput(f"{what} name {name!r} is empty, starts with a dot or holds a slash; choose another")
    return name


def open_workspace(where: str | Path, *, create: bool = False) -> Workspace:
    """The workspace at a local directory.

    Args:
        where: a directory.
        create: make it where it is missing.

    Raises:
        BadInput: it is a URL, not a directory, missing (and not `create`), or of another layout version.
    """
    text = str(where)
    if "://" in text:
        raise BadInput(f"workspace {text} is a URL; this version keeps workspaces in local directories only")
    root = Path(text).expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise BadInput(f"workspace {root} is a file; name a directory")
    mark = root / MARK
    if not mark.exists():
        if not create:
            raise BadInput(f"there is no workspace at {root}; run `reelrank ingest` or `reelrank demo` first")
        create_durably(mark, json.dumps({"layout": LAYOUT_VERSION}).encode())
    found = read_json(mark, "the workspace's mark")["layout"]
    if found != LAYOUT_VERSION:
        raise BadInput(f"workspace {root} has layout {found}, this version reads {LAYOUT_VERSION}")
    return Workspace(root)


@contextmanager
def workspace_to_fill(where: str | Path) -> Iterator[Workspace]:
    """A workspace, made where it is missing; input that is refused leaves no new workspace behind."""
    existed = Path(where).expanduser().exists()
    workspace = open_workspace(where, create=True)
    try:
        yield workspace
    except BadInput:
        if not existed and [path.name for path in workspace.root.iterdir()] == [MARK]:
            (workspace.root / MARK).unlink()
            workspace.root.rmdir()
        raise
