"""`reelrank user delete`, `user merge` and `plan`: what they say, what they leave, what they refuse."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.erasure.tombstones import hash_of_user
from features.store import Store
from features.workspace import Workspace, open_workspace
from infra.cli import main
from infra.nightly import open_store
from infra.users import _write_report

Captured = pytest.CaptureFixture[str]

T0 = 1_767_225_600_000
USERS, VIDEOS = 80, 12


@pytest.fixture(autouse=True)
def _no_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)  # the workspace's own server


@pytest.fixture
def ws(tmp_path: Path) -> str:
    """A workspace with a log of 80 users over ten days."""
    rng = np.random.default_rng(5)
    n = USERS * 12
    log = pl.DataFrame(
        {
            "user_id": [f"user-{at % USERS}" for at in range(n)],
            "video_id": [f"v{at}" for at in rng.integers(0, VIDEOS, n)],
            "event": ["like" if at % 3 else "play" for at in range(n)],
            "ts": T0 + np.sort(rng.integers(0, 10 * 86_400_000, n)),
        }
    )
    log.write_csv(tmp_path / "log.csv")
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", str(tmp_path / "ws")]) == 0
    return str(tmp_path / "ws")


def run(capsys: Captured, *words: str) -> dict[str, Any]:
    """What the command answers a machine."""
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return answer


def refused(capsys: Captured, *words: str) -> str:
    """The one sentence with which it is refused."""
    capsys.readouterr()
    assert main(words) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def users_of(workspace: Workspace) -> set[str]:
    return set(workspace.interactions.read(["user_id"])["user_id"])


def test_a_deleted_user_is_gone_with_a_proof_and_a_new_import_leaves_that_so(
    ws: str, capsys: Captured
) -> None:
    assert main(["features", "build", "--workspace", ws]) == 0
    answer = run(capsys, "user", "delete", "user-7", "--workspace", ws)
    assert answer["future"] == "refuse"
    assert answer["removed"]["interactions rows"] == 12
    assert answer["removed"]["redis record"] == 1
    assert set(answer["left"].values()) == {0}
    proof = Path(answer["proof"])
    assert proof.parent == Path(ws) / "erasures"
    said = json.loads(proof.read_text())
    assert said["user_hash"] == hash_of_user("user-7")
    assert said["runs"][0]["append_only_file"] == "written anew"
    again = run(capsys, "events", "import", str(Path(ws).parent / "log.csv"), "--workspace", ws)
    assert again["imported"] == 0
    workspace = open_workspace(ws)
    assert "user-7" not in users_of(workspace)
    assert main(["features", "build", "--workspace", ws]) == 0
    with open_store(None, workspace) as store:
        assert not any(store.find_user("user-7").values())
        assert store.find_user("user-8")["record"] == 1


def test_an_id_may_return_by_choice(ws: str, capsys: Captured) -> None:
    log = str(Path(ws).parent / "log.csv")
    assert (
        run(capsys, "user", "delete", "user-7", "--future", "accept", "--workspace", ws)["future"] == "accept"
    )
    assert run(capsys, "events", "import", log, "--workspace", ws)["imported"] == 12


def test_a_person_reads_what_went_and_where_the_proof_lies(ws: str, capsys: Captured) -> None:
    assert main(["user", "delete", "user-7", "--workspace", ws]) == 0
    said = capsys.readouterr().out
    assert "interactions rows 12" in said
    assert "nothing is left" in said
    assert "--future accept" in said
    assert "/erasures/" in said
    assert main(["user", "delete", "nobody", "--workspace", ws]) == 0
    assert "nothing was held of this user" in capsys.readouterr().out


def test_a_user_leaves_the_examples_of_reports_on_all_their_pages(ws: str, capsys: Captured) -> None:
    arms = ["--arm", "a=popular", "--arm", "b=random"]
    assert main(["train", "--holdout-days", "2", "--workspace", ws]) == 0
    assert main(["evaluate", *arms, "--workspace", ws]) == 0
    folder = open_workspace(ws).report("evaluation")
    shown = [one["user_id"] for one in json.loads((folder / "report.json").read_text())["examples"]]
    assert f"User {shown[0]} " in (folder / "report.html").read_text()
    assert run(capsys, "user", "delete", shown[0], "--workspace", ws)["removed"]["reports"] == 1
    left = json.loads((folder / "report.json").read_text())
    assert [one["user_id"] for one in left["examples"]] == shown[1:]
    for name in ("report.html", "report.md"):
        assert f"{shown[0]} " not in (folder / name).read_text()
    assert f"User {shown[1]} " in (folder / "report.html").read_text()


def test_a_report_of_an_earlier_release_keeps_its_numbers_and_loses_its_pages(
    ws: str, tmp_path: Path
) -> None:
    for name in ("report.json", "report.html", "report.md"):
        (tmp_path / name).write_text("old")
    _write_report(open_workspace(ws), {"name": "old", "examples": [], "metrics": 3}, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["metrics"] == 3
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "report.md").exists()


@pytest.fixture
def store(ws: str) -> Iterator[Store]:
    with open_store(None, open_workspace(ws)) as opened:
        yield opened


def test_a_merged_user_is_the_other_in_the_store_and_in_the_log(
    ws: str, store: Store, capsys: Captured
) -> None:
    assert main(["features", "build", "--workspace", ws]) == 0
    both = sum(int(store.read_user(user).counters.events.sum()) for user in ("user-1", "user-2"))
    answer = run(capsys, "user", "merge", "user-1", "user-2", "--workspace", ws)
    assert answer["merged_at_ms"] > T0
    for name in ("user-1", "user-2"):
        assert int(store.read_user(name).counters.events.sum()) == both
    again = run(capsys, "user", "merge", "user-1", "user-2", "--workspace", ws)
    assert again["merged_at_ms"] is None
    counts = run(capsys, "features", "build", "--workspace", ws)
    assert counts["users_in_store"] == USERS - 1
    assert int(store.read_user("user-1").counters.events.sum()) == both
    assert "user-1" in users_of(open_workspace(ws))  # the log keeps what happened


def test_merges_and_deletions_that_cannot_be_are_refused(ws: str, capsys: Captured) -> None:
    run(capsys, "user", "merge", "user-1", "user-2", "--workspace", ws)
    assert "cannot be merged into itself" in refused(capsys, "user", "merge", "a", "a", "--workspace", ws)
    assert "was merged into it" in refused(capsys, "user", "merge", "user-2", "user-1", "--workspace", ws)
    assert "before" in refused(capsys, "user", "merge", "user-1", "user-3", "--workspace", ws)
    assert "delete 'user-2'" in refused(capsys, "user", "delete", "user-1", "--workspace", ws)
    run(capsys, "user", "delete", "user-2", "--workspace", ws)
    assert users_of(open_workspace(ws)).isdisjoint({"user-1", "user-2"})
    assert "was deleted" in refused(capsys, "user", "merge", "user-4", "user-2", "--workspace", ws)


def test_a_plan_says_what_was_measured_and_what_is_needed(ws: str, capsys: Captured) -> None:
    words = ("plan", "--users", "1000000", "--videos", "50000", "--workspace", ws)
    answer = run(capsys, *words)
    assert answer["histories"] == f"histories as in the log: {USERS} users, mean 12"
    assert answer["measured"]["misfit"] < 0.02
    user = answer["measured"]["user"]["used"]
    assert 12 * 21 < user < 1000
    records = next(part for part in answer["parts"] if part["name"] == "users: records")
    assert records["usual"] == pytest.approx(1_000_000 * user)
    assert answer["with_replicas"] == pytest.approx(2 * answer["redis_most"])
    assert answer["worker"] is None
    longer = run(capsys, *words, "--history-events", "100", "--replicas", "0", "--events-a-day", "0")
    assert longer["measured"]["user"]["used"] > user + 80 * 21
    assert longer["with_replicas"] == longer["redis_most"]
    assert longer["hours_to_bound"] is None


def test_a_plan_needs_no_workspace_and_makes_none(tmp_path: Path, capsys: Captured) -> None:
    where = tmp_path / "nowhere"
    assert main(["plan", "--users", "1000", "--videos", "100", "--workspace", str(where)]) == 0
    said = capsys.readouterr().out
    assert "Redis" in said
    assert "there is no log to ask" in said
    assert "a worker's memory is told by a published bundle" in said
    assert not where.exists()


def test_a_worker_is_measured_on_the_published_bundle(ws: str, capsys: Captured) -> None:
    assert main(["train", "--workspace", ws]) == 0
    worker = run(capsys, "plan", "--users", "10", "--videos", "1000", "--workspace", ws)["worker"]
    assert worker["videos"] == VIDEOS
    assert worker["bytes_a_video"] > 13 * 4  # its statistics alone
    assert worker["bytes_fixed"] > 0
