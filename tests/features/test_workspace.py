"""A workspace is one directory with a version; its pointer moves forward and back."""

import json
from pathlib import Path

import pytest

from features.errors import BadInput, NotFound
from features.workspace import Workspace, open_workspace


def with_bundles(root: Path, *names: str) -> Workspace:
    workspace = open_workspace(root, create=True)
    for name in names:
        workspace.model(name).mkdir(parents=True)
        (workspace.model(name) / "manifest.json").write_text("{}")
    return workspace


def test_publish_and_rollback_move_the_pointer(tmp_path: Path) -> None:
    workspace = with_bundles(tmp_path, "a", "b")
    workspace.publish("a")
    workspace.publish("b")
    assert workspace.current_bundle() == "b"
    assert workspace.rollback() == "a"
    assert workspace.current_bundle() == "a"
    with pytest.raises(NotFound, match="a rollback needs two"):
        workspace.rollback()


def test_a_bundle_without_a_manifest_cannot_be_published(tmp_path: Path) -> None:
    workspace = with_bundles(tmp_path, "a")
    workspace.model("half").mkdir()
    with pytest.raises(NotFound, match=r"bundle half is not in .*; it has a"):
        workspace.publish("half")


def test_reading_needs_an_existing_workspace_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="run `reelrank ingest` or `reelrank demo` first"):
        open_workspace(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_and_a_url_are_no_workspaces(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        open_workspace(tmp_path / "file", create=True)
    with pytest.raises(BadInput, match="is a URL"):
        open_workspace("s3://bucket/ws", create=True)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    open_workspace(tmp_path, create=True)
    (tmp_path / "workspace.json").write_text(json.dumps({"layout": 99}))
    with pytest.raises(BadInput, match="has layout 99, this version reads 1"):
        open_workspace(tmp_path)


def test_without_a_published_bundle_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="run `reelrank train` first"):
        open_workspace(tmp_path, create=True).current_bundle()
