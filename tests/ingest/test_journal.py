"""A content that was being read when runs ended is read last and alone, and in the end not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import BadInput
from ingest.journal import MAX_ALONE, open_journal


def test_what_has_an_outcome_is_not_suspected(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        for content in ("a", "b"):
            journal.begin(content, alone=False)
        journal.end("a")
    with open_journal(tmp_path / "j") as journal:
        assert dict(journal.suspects) == {"b": 0}
        assert not journal.lethal
        journal.begin("b", alone=True)
        journal.end("b")
    with open_journal(tmp_path / "j") as journal:
        assert not journal.suspects


def test_ends_that_were_shared_condemn_nothing_and_ends_alone_do(tmp_path: Path) -> None:
    for _ in range(10):
        with open_journal(tmp_path / "j") as journal:
            journal.begin("shared", alone=False)
    for _ in range(MAX_ALONE):
        with open_journal(tmp_path / "j") as journal:
            assert not journal.lethal
            journal.begin("alone", alone=True)
    with open_journal(tmp_path / "j") as journal:
        assert journal.lethal == {"alone"}
        assert set(journal.suspects) == {"shared", "alone"}


def test_one_run_counts_once_however_many_workers_it_lost(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        for _ in range(3):
            journal.begin("a", alone=True)
    with open_journal(tmp_path / "j") as journal:
        assert dict(journal.suspects) == {"a": 1}


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("+whole\n+cu")
    with open_journal(tmp_path / "j") as journal:
        journal.begin("next", alone=False)
    with open_journal(tmp_path / "j") as journal:
        assert {"whole", "next"} <= set(journal.suspects)


def test_a_run_that_ends_well_leaves_an_empty_journal(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.begin("a", alone=False)
        journal.forget()
        journal.begin("b", alone=False)
    with open_journal(tmp_path / "j") as journal:
        assert set(journal.suspects) == {"b"}


def test_a_run_that_is_refused_before_it_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no GPU"), open_journal(tmp_path / "d" / "j"):
        raise BadInput("there is no GPU")
    assert not list(tmp_path.iterdir())


def test_two_runs_do_not_write_to_one_workspace(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "j"),
        pytest.raises(BadInput, match="another ingest is writing"),
        open_journal(tmp_path / "j"),
    ):
        pass
    with open_journal(tmp_path / "j"):
        pass
