"""Settings refuse what they do not know, and name it."""

from pathlib import Path

import pytest

from features.errors import BadInput
from infra import settings as known
from infra.settings import load_nightly_settings, settings_from
from ingest.devices import ASKED
from ingest.fuse import KINDS
from ingest.media.decode import SAMPLINGS
from ranker.fusion import DEFAULT_FUSION, FUSIONS


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "reelrank.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    path = written(tmp_path, 'workspace = "ws"\nvideos = "clips"\nevents = ["log.parquet", "/logs/x.csv"]')
    settings = load_nightly_settings(path)
    assert settings.workspace == str(tmp_path / "ws")
    assert settings.videos == str(tmp_path / "clips")
    assert settings.events == (str(tmp_path / "log.parquet"), "/logs/x.csv")


def test_a_models_path_is_made_absolute_and_a_hubs_name_is_left(tmp_path: Path) -> None:
    (tmp_path / "models" / "clip").mkdir(parents=True)
    path = written(
        tmp_path, 'videos = "v"\nencoder = ["hf:models/clip", "audio=hf:models/clip", "hf:org/clip"]'
    )
    model = f"hf:{tmp_path / 'models' / 'clip'}"
    assert load_nightly_settings(path).encoder == (model, f"audio={model}", "hf:org/clip")


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'workspace = "ws"\nvideos = "clips"')
    assert load_nightly_settings(path, workspace="/other").workspace == "/other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('vidoes = "clips"', r"unknown key\(s\) vidoes; known are"),
        ('videos = "clips"\nworkers = 0', "workers is 0; at least 1 is needed"),
        ('videos = "clips"\nworkers = "two"', "workers is 'two'; give a whole number"),
        ('videos = "clips"\nmax_unknown_share = 3', "max_unknown_share is 3.0; give a share between 0 and 1"),
        ("events = 3", "events is 3; give a list of strings"),
        ('workspace = "ws"', "the job has no input"),
        ("= 3", "is not valid TOML"),
    ],
)
def test_a_wrong_value_is_named_with_its_bound(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_nightly_settings(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no settings file at .*nowhere\.toml"):
        load_nightly_settings(tmp_path / "nowhere.toml")


def test_the_environment_gives_redis_where_the_file_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://host:1/0")
    assert settings_from({"videos": "v"}, Path("/")).redis_url == "redis://host:1/0"
    assert settings_from({"videos": "v", "redis_url": "redis://b"}, Path("/")).redis_url == "redis://b"


def test_what_settings_may_be_is_what_their_users_know() -> None:
    assert (known.SAMPLINGS, known.DEVICES, known.SPACE_FUSIONS) == (SAMPLINGS, ASKED, KINDS)
    # `none` knows no content at all: something to compare with, and no setting of a job.
    assert ((*known.FUSIONS, "none"), known.DEFAULT_FUSION) == (FUSIONS, DEFAULT_FUSION)
