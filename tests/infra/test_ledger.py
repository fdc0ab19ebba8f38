"""A run that broke is resumed at the step that broke, and a step that is done is not done again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from features.errors import BadInput
from features.workspace import open_workspace
from infra.ledger import begin


@dataclass(frozen=True)
class Settings:
    word: str


def test_finished_steps_are_not_repeated_on_resume(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, create=True)
    calls: list[str] = []

    def work(name: str) -> dict[str, Any]:
        calls.append(name)
        if name == "second" and calls.count("second") == 1:
            raise KeyboardInterrupt
        return {"name": name}

    first = begin(workspace, Settings("a"), resume=False)
    first.step("first", lambda: work("first"))
    with pytest.raises(KeyboardInterrupt):
        first.step("second", lambda: work("second"))

    again = begin(workspace, Settings("a"), resume=True)
    assert again.run == first.run
    assert again.step("first", lambda: work("first")) == {"name": "first"}
    assert again.step("second", lambda: work("second")) == {"name": "second"}
    again.finish()
    assert calls == ["first", "second", "second"]
    with pytest.raises(BadInput, match="no unfinished run with these settings"):
        begin(workspace, Settings("a"), resume=True)


def test_an_older_broken_run_is_not_resumed_behind_a_newer_one_that_finished(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, create=True)
    begin(workspace, Settings("a"), resume=False)
    begin(workspace, Settings("a"), resume=False).finish()
    with pytest.raises(BadInput, match="no unfinished run"):
        begin(workspace, Settings("a"), resume=True)


def test_other_settings_are_another_run(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, create=True)
    begin(workspace, Settings("a"), resume=False)
    with pytest.raises(BadInput, match="run without --resume"):
        begin(workspace, Settings("b"), resume=True)
