"""Bad usage and bad input end in one sentence and exit code 2, with nothing half-written."""

import json
import socket
from pathlib import Path

import polars as pl
import pytest

from features.erasure.erase import FUTURES
from features.errors import BadInput
from features.formats.log_formats import FORMATS
from infra import cli, commands
from infra.cli import main
from infra.nightly import describe_ingest
from ingest.pipeline import IngestSettings

Captured = pytest.CaptureFixture[str]


def refused(capsys: Captured, *arguments: str) -> str:
    """The one sentence with which the command was refused."""
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("reelrank: "), said
    assert not any("Traceback" in line for line in said)
    return said[-1]


def test_a_missing_folder_is_named(tmp_path: Path, capsys: Captured) -> None:
    said = refused(capsys, "ingest", str(tmp_path / "nowhere"), "--workspace", str(tmp_path / "ws"))
    assert str(tmp_path / "nowhere") in said


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "videos").mkdir()
    said = refused(capsys, "ingest", str(tmp_path / "videos"), "--workspace", str(tmp_path / "ws"))
    assert str(tmp_path / "videos") in said


def test_a_manifest_without_video_id_is_refused_by_that_name(tmp_path: Path, capsys: Captured) -> None:
    pl.DataFrame({"uri": ["a.mp4"]}).write_parquet(tmp_path / "videos.parquet")
    said = refused(capsys, "ingest", str(tmp_path / "videos.parquet"), "--workspace", str(tmp_path / "ws"))
    assert "video_id" in said


def test_an_event_log_without_user_id_is_refused_by_that_name(tmp_path: Path, capsys: Captured) -> None:
    pl.DataFrame({"video_id": ["a"]}).write_csv(tmp_path / "log.csv")
    said = refused(capsys, "events", "import", str(tmp_path / "log.csv"), "--workspace", str(tmp_path / "ws"))
    assert "user_id" in said


def test_unknown_videos_above_the_stated_share_are_refused_and_below_it_counted(
    tmp_path: Path, capsys: Captured
) -> None:
    ws = str(tmp_path / "ws")
    vectors = pl.DataFrame({"video_id": ["a", "b", "c"], "visual": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]})
    vectors.write_parquet(tmp_path / "vectors.parquet")
    users = [f"u{i}" for i in range(8)]
    pl.DataFrame({"user_id": users, "video_id": ["a", "b", "c", "a", "x", "y", "z", "x"]}).write_csv(
        tmp_path / "log.csv"
    )
    assert main(["embeddings", "import", str(tmp_path / "vectors.parquet"), "--workspace", ws]) == 0
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", ws]) == 0
    said = refused(capsys, "features", "build", "--workspace", ws, "--max-unknown-share", "0.4")
    assert "more than 40%" in said
    assert main(["features", "build", "--workspace", ws, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (answer["rows"], answer["used"], answer["unknown_video"]) == (8, 4, 4)


def test_a_port_in_use_is_refused_before_any_work(tmp_path: Path, capsys: Captured) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(capsys, "demo", "--workspace", str(tmp_path / "ws"), "--port", port)
    assert port in said
    assert not (tmp_path / "ws").exists()


def test_a_redis_that_does_not_answer_is_refused(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = str(tmp_path / "ws")
    pl.DataFrame({"user_id": ["u"], "video_id": ["a"]}).write_csv(tmp_path / "log.csv")
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", ws]) == 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("REDIS_URL", f"redis://:secret@127.0.0.1:{closed.getsockname()[1]}/0")
        said = refused(capsys, "features", "build", "--workspace", ws)
    assert "127.0.0.1" in said
    assert "secret" not in said


def test_bad_usage_is_code_2(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["recommend", "--all", "--k", "0", "--out", "x"])
    assert ended.value.code == 2
    assert "0 is too small; at least 1" in capsys.readouterr().err


def test_a_workspace_that_is_not_there_names_the_next_step(tmp_path: Path, capsys: Captured) -> None:
    assert "run `reelrank ingest`" in refused(capsys, "versions", "--workspace", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("words", [["events", "import"], ["embeddings", "import"], ["ingest"]])
def test_refused_input_leaves_no_workspace_behind(words: list[str], tmp_path: Path, capsys: Captured) -> None:
    refused(capsys, *words, str(tmp_path / "nofile.csv"), "--workspace", str(tmp_path / "ws"))
    assert not (tmp_path / "ws").exists()


def test_a_column_called_row_is_just_a_column(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("row,user_id,video_id\na,u1,v1\na,u2,v1\n")
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", str(tmp_path / "ws")]) == 0


def test_ids_that_are_not_utf8_are_refused_and_not_altered(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "log.csv").write_bytes(b"user_id,video_id\nu\xe9,v1\n")
    ws = str(tmp_path / "ws")
    assert "save it as UTF-8" in refused(
        capsys, "events", "import", str(tmp_path / "log.csv"), "--workspace", ws
    )


def test_a_report_name_stays_below_the_reports(tmp_path: Path, capsys: Captured) -> None:
    ws = str(tmp_path / "ws")
    (tmp_path / "log.csv").write_text("user_id,video_id\nu1,v1\n")
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", ws]) == 0
    arms = ["--arm", "a=popular", "--arm", "b=random"]
    assert "holds a slash" in refused(capsys, "evaluate", *arms, "--name", "../../evil", "--workspace", ws)


def test_users_and_settings_that_are_directories_are_refused(tmp_path: Path, capsys: Captured) -> None:
    assert "not valid TOML" in refused(capsys, "nightly", "--config", str(tmp_path))
    ws, out = str(tmp_path / "ws"), str(tmp_path / "out.parquet")
    (tmp_path / "log.csv").write_text("user_id,video_id\nu1,v1\n")
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", ws]) == 0
    said = refused(capsys, "recommend", "--users", str(tmp_path), "--out", out, "--workspace", ws)
    assert "UTF-8 file of users" in said


@pytest.mark.parametrize("words", [["events", "import"], ["embeddings", "import"], ["ingest"]])
def test_a_column_of_an_impossible_type_is_named_with_both_types(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    lists = pl.Series("video_id", [["a"], ["b"]])
    given = {"user_id": ["u", "u"], "video_id": lists, "uri": ["a", "b"], "visual": [[1.0], [2.0]]}
    pl.DataFrame(given).write_parquet(tmp_path / "given.parquet")
    said = refused(capsys, *words, str(tmp_path / "given.parquet"), "--workspace", str(tmp_path / "ws"))
    assert "video_id is List(String), not String" in said


def test_the_path_of_a_model_is_kept_such_that_it_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []

    def refuse(workspace: object, source: str, how: IngestSettings, progress: object) -> None:
        seen.append(how.encoder)
        raise BadInput("that is enough")

    monkeypatch.setattr(commands, "ingest_videos", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip").mkdir()
    words = ["ingest", "v", "--encoder", "hf:clip", "--encoder", "text=hf:org/name", "--workspace", "ws"]
    assert main(words) == 2
    assert seen == [(f"hf:{tmp_path / 'clip'}", "text=hf:org/name")]


def test_rows_that_need_no_file_are_not_called_nothing() -> None:
    counts = {"listed": 3, "skipped": 0, "quarantined": 0, "reasons": {}, "opened": 0}
    assert describe_ingest({**counts, "embedded": 3})[-1] == "no file was opened"
    assert describe_ingest({**counts, "embedded": 0})[-1] == "nothing is new: no file was opened"


def test_the_choices_that_help_lists_are_those_of_the_code() -> None:
    assert cli.EVENT_FORMATS == FORMATS
    assert cli.FUTURES == FUTURES


@pytest.mark.parametrize(
    "words", [["user", "delete"], ["user", "merge"], ["plan"], ["features", "training-set"], ["user"]]
)
def test_help_of_every_command_is_short(words: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) < 40


def test_a_training_set_is_written_once_and_needs_a_new_directory(tmp_path: Path, capsys: Captured) -> None:
    ws, out = str(tmp_path / "ws"), tmp_path / "rows"
    (tmp_path / "log.csv").write_text(
        "user_id,video_id,event,ts\n"
        "u1,v1,impression,2026-01-01T10:00:00Z\nu1,v1,play,2026-01-01T10:00:05Z\n"
        "u1,v2,impression,2026-01-01T11:00:00Z\n"
    )
    assert main(["events", "import", str(tmp_path / "log.csv"), "--workspace", ws]) == 0
    assert main(["features", "build", "--workspace", ws]) == 0
    words = ["features", "training-set", "--out", str(out), "--workspace", ws]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert answer["rows"] == sum(len(pl.read_parquet(path)) for path in out.glob("*.parquet")) == 2
    assert "is there already" in refused(capsys, *words)


def test_amounts_that_are_no_numbers_are_bad_usage(capsys: Captured) -> None:
    for given in ("-1", "inf", "nan", "many"):
        with pytest.raises(SystemExit) as ended:
            main(["plan", "--users", "1", "--videos", "1", "--events-a-day", given])
        assert ended.value.code == 2
