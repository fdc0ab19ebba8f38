"""The whole job on real bytes: media and log in, a published bundle, a full store and a report out."""

import dataclasses
import json
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from features.redis_server import private_redis
from features.store import Store
from features.workspace import open_workspace
from infra.cli import main
from infra.demo import generate
from infra.ledger import FILE, begin
from infra.nightly import _bring_in, run_nightly
from infra.progress import Stages
from infra.settings import NightlySettings
from ranker.bundle import load_bundle, read_manifest

QUIET = Stages(Console(quiet=True))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> NightlySettings:
    """A small demo world after one night."""
    root = tmp_path_factory.mktemp("night")
    files = generate(root / "world", seed=3, n_videos=24, n_users=80, days=14)
    settings = NightlySettings(
        workspace=str(root / "ws"),
        videos=str(files.manifest),
        events=(str(files.interactions),),
        redis_url=None,
    )
    run_nightly(settings, QUIET)
    return settings


def test_every_video_is_embedded_or_in_quarantine_with_a_reason(night: NightlySettings) -> None:
    workspace = open_workspace(night.workspace)
    listed = pl.read_parquet(str(night.videos))["video_id"]
    embedded = workspace.embeddings(workspace.encoder_versions()[-1]).read()
    quarantined = workspace.quarantine.read()
    assert sorted([*embedded["video_id"], *quarantined["video_id"]]) == sorted(listed)
    assert len(quarantined)
    assert quarantined["message"].str.len_chars().min() > 0


def test_a_bundle_is_published_that_names_all_it_was_built_with(night: NightlySettings) -> None:
    workspace = open_workspace(night.workspace)
    bundle = load_bundle(workspace.model(workspace.current_bundle()))
    assert bundle.manifest["encoder_version"] == workspace.encoder_versions()[-1]
    assert bundle.manifest["space_version"] == workspace.space_versions()[-1]
    assert (workspace.model(bundle.name) / "encoder").is_dir()


def test_the_store_holds_every_users_history_after_the_job(night: NightlySettings) -> None:
    workspace = open_workspace(night.workspace)
    log = workspace.interactions.read()
    user = log.filter(pl.col("event") == "play")["user_id"][0]
    with private_redis(workspace.root / "redis") as url:
        store = Store.connect(url)
        history = store.read_user(user).histories
        store.close()
    mine = log.filter((pl.col("user_id") == user) & (pl.col("event") != "impression"))
    assert 0 < history.lengths[0] <= len(mine)
    assert history.ts_ms[0, 0] == mine["ts"].dt.epoch("ms").max()


def test_the_report_is_one_file_and_its_numbers_stand_in_json(night: NightlySettings) -> None:
    workspace = open_workspace(night.workspace)
    (report,) = (workspace.root / "reports").iterdir()
    page = (report / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert json.loads((report / "report.json").read_text())["verdict"]


def test_a_second_night_over_unchanged_input_embeds_nothing_again(night: NightlySettings) -> None:
    workspace = open_workspace(night.workspace)
    before = workspace.embeddings(workspace.encoder_versions()[-1]).snapshot()
    result = run_nightly(night, QUIET)
    ingest, events = result.steps["ingest"], result.steps["events"]
    assert ingest["embedded"] == 0
    assert ingest["listed"] == ingest["skipped"] + ingest["quarantined"]
    assert (events["imported"], events["duplicates"]) == (0, events["rows"])
    assert workspace.embeddings(workspace.encoder_versions()[-1]).snapshot() == before
    assert json.loads((workspace.run(result.run) / FILE).read_text())["finished_at"]


def test_recommendations_hold_only_unseen_videos_of_the_catalogue(
    night: NightlySettings, tmp_path: Path
) -> None:
    workspace = open_workspace(night.workspace)
    out = tmp_path / "out.parquet"
    assert main(["recommend", "--all", "--k", "5", "--out", str(out), "--workspace", night.workspace]) == 0
    rows = pl.read_parquet(out)
    assert rows.columns == ["user_id", "rank", "video_id", "score", "source"]
    log = workspace.interactions.read()
    seen = log.filter(pl.col("event").is_in(["play", "like", "share", "dislike"])).select(
        "user_id", "video_id"
    )
    assert rows.join(seen, on=["user_id", "video_id"], how="semi").is_empty()
    assert set(rows["video_id"]) <= set(workspace.catalogue.read()["video_id"])
    assert rows.group_by("user_id").len()["len"].max() == 5


def test_search_and_similar_answer_from_the_published_bundle(
    night: NightlySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_workspace(night.workspace)
    titled = workspace.catalogue.read().filter(pl.col("title").is_not_null())
    assert main(["search", titled["title"][0], "--workspace", night.workspace, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["videos"]
    assert len(found) == 10
    first = found[0]["video_id"]
    assert main(["similar", first, "--k", "3", "--workspace", night.workspace, "--json"]) == 0
    near = json.loads(capsys.readouterr().out.splitlines()[-1])["videos"]
    assert len(near) == 3
    assert first not in [video["video_id"] for video in near]


def test_the_job_runs_on_real_media(shared_data: Path, tmp_path: Path) -> None:
    clips = shared_data / "clips"
    names = sorted(str(p.relative_to(clips)) for p in clips.rglob("*") if p.is_file())
    log = pl.DataFrame(
        [
            {"user_id": f"u{user}", "video_id": names[(user * 7 + step * step) % len(names)],
             "ts": f"2026-03-{1 + step:02d}T08:00:00Z"}
            for user in range(30)
            for step in range(12)
        ]
    )  # fmt: skip
    log.write_csv(tmp_path / "log.csv")
    settings = NightlySettings(
        workspace=str(tmp_path / "ws"),
        videos=str(clips),
        events=(str(tmp_path / "log.csv"),),
        max_unknown_share=0.5,
    )
    counts = run_nightly(settings, QUIET).steps["ingest"]
    assert counts["listed"] == len(names) == counts["embedded"] + counts["quarantined"]
    quarantined = set(open_workspace(settings.workspace).quarantine.read()["video_id"])
    assert {"odd/zero_length.mp4", "odd/random_bytes.mp4"} <= quarantined
    assert all(name.startswith("odd/") for name in quarantined)


def test_the_bundle_is_built_on_the_embeddings_that_the_job_names(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    ids = [f"v{i}" for i in range(12)]
    for name in ("a", "b"):
        vectors = pl.DataFrame({"video_id": ids, "visual": draw.normal(size=(12, 4)).tolist()})
        vectors.write_parquet(tmp_path / f"{name}.parquet")
    users = [f"u{i % 20}" for i in range(120)]
    pl.DataFrame({"user_id": users, "video_id": draw.choice(ids, 120)}).write_csv(tmp_path / "log.csv")
    encoders = []
    for name in ("a", "b", "a"):
        settings = NightlySettings(
            workspace=str(tmp_path / "ws"),
            embeddings=(str(tmp_path / f"{name}.parquet"),),
            events=(str(tmp_path / "log.csv"),),
            holdout_days=0,
        )
        result = run_nightly(settings, QUIET)
        bundle = read_manifest(open_workspace(settings.workspace).model(result.bundle))
        assert bundle["encoder_version"] == result.steps["embeddings"]["encoder_version"]
        encoders.append(bundle["encoder_version"])
    assert encoders[0] == encoders[2] != encoders[1]


def test_vectors_brought_beside_videos_are_said_to_be_left_out_of_the_space(
    night: NightlySettings, tmp_path: Path
) -> None:
    vectors = pl.DataFrame({"video_id": ["a", "b"], "visual": [[1.0, 0.0], [0.0, 1.0]]})
    vectors.write_parquet(tmp_path / "vectors.parquet")
    shutil.copytree(night.workspace, tmp_path / "ws")
    settings = dataclasses.replace(
        night, workspace=str(tmp_path / "ws"), embeddings=(str(tmp_path / "vectors.parquet"),), events=()
    )
    workspace, screen = open_workspace(settings.workspace), StringIO()
    stages = Stages(Console(file=screen, width=200))
    ledger = begin(workspace, settings, resume=False)
    encoder = _bring_in(workspace, settings, ledger, stages)
    assert encoder is not None
    assert encoder.startswith("signal-")
    imported = ledger.said["steps"]["embeddings"]["result"]["encoder_version"]
    assert f"imported vectors ({imported}) are kept and not used" in " ".join(screen.getvalue().split())
