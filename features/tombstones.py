"""Who was erased (being written)."""

from features.workspace import Workspace


def refused_hashes(workspace: Workspace) -> list[tuple[int, bytes]]:
    return []
