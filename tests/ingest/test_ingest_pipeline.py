"""Every listed file is embedded, skipped or in quarantine, once, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import ray
from PIL import Image

from features.errors import BadInput
from features.workspace import Workspace, open_workspace
from ingest.counts import IngestCounts
from ingest.crew import start_ray
from ingest.pipeline import IngestSettings, ingest_videos

ClipMaker = Callable[..., Path]
SETTINGS = IngestSettings(frames=4, workers=2, shard_size=2)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace", create=True)


@pytest.fixture
def source(tmp_path: Path, make_clip: ClipMaker) -> Path:
    """Three contents that can be decoded, one of them twice, and two that cannot, one of them twice."""
    make_clip("videos/grey.mp4", frames=20, tone_hz=440.0)
    make_clip("videos/sub/fast.mp4", frames=30, size=(96, 64), tone_hz=880.0)
    make_clip("videos/mute.mp4", frames=10)
    folder = tmp_path / "videos"
    shutil.copy(folder / "mute.mp4", folder / "again.mp4")
    (folder / "empty.mp4").touch()
    for name in ("noise.mp4", "noise too.webm"):
        (folder / name).write_bytes(np.random.default_rng(7).bytes(5000))
    return folder


def embeddings(workspace: Workspace, counts: IngestCounts) -> pl.DataFrame:
    assert counts.encoder_version
    return workspace.embeddings(counts.encoder_version).read().sort("video_id")


def check_sums(counts: IngestCounts) -> None:
    assert counts.listed == counts.embedded + counts.skipped + counts.quarantined
    assert sum(counts.reasons.values()) == counts.quarantined


def test_every_file_is_embedded_or_in_quarantine_and_a_second_run_decodes_nothing(
    workspace: Workspace, source: Path, in_process: None
) -> None:
    first = ingest_videos(workspace, str(source), SETTINGS)
    check_sums(first)
    assert (first.listed, first.embedded, first.quarantined, first.decoded) == (7, 4, 3, 5)
    assert first.reasons == {"corrupt": 2, "empty": 1}
    assert first.rungs == {"pyav": 3}
    table = embeddings(workspace, first)
    assert table["video_id"].to_list() == ["again.mp4", "grey.mp4", "mute.mp4", "sub/fast.mp4"]
    assert table["audio"].is_null().to_list() == [True, False, True, False]
    for vector in [*table["visual"], *table["audio"].drop_nulls()]:
        assert np.linalg.norm(vector.to_numpy()) == pytest.approx(1.0, abs=1e-5)
    assert table["frames_got"].to_list() == [4, 4, 4, 4]
    quarantine = workspace.quarantine.read().sort("video_id")
    assert quarantine["video_id"].to_list() == ["empty.mp4", "noise too.webm", "noise.mp4"]
    assert not quarantine["retryable"].any()

    second = ingest_videos(workspace, str(source), SETTINGS)
    check_sums(second)
    assert (second.embedded, second.skipped, second.quarantined, second.decoded) == (0, 4, 3, 0)
    assert second.reasons == first.reasons
    assert embeddings(workspace, second).equals(table)
    assert workspace.quarantine.read().height == 3, "nothing is written twice"
    again = ingest_videos(workspace, str(source), IngestSettings(frames=4, verify=True))
    assert (again.skipped, again.decoded) == (4, 0)


def test_catalogue_and_thumbnails_hold_what_was_embedded_and_nothing_else(
    workspace: Workspace, source: Path, in_process: None
) -> None:
    counts = ingest_videos(workspace, str(source), SETTINGS)
    catalogue = workspace.catalogue.read().sort("video_id")
    assert catalogue["video_id"].to_list() == embeddings(workspace, counts)["video_id"].to_list()
    assert catalogue["duration_s"].to_list() == pytest.approx([0.4, 0.8, 0.4, 1.2], abs=0.1)
    assert catalogue.row(0, named=True)["content_hash"] == catalogue.row(2, named=True)["content_hash"]
    for key in catalogue["video_key"]:
        with Image.open(workspace.thumbnail(key)) as picture:
            assert max(picture.size) == 320
        with Image.open(workspace.preview(key)) as moving:
            assert moving.n_frames > 1
    assert len(list((workspace.root / "thumbnails").iterdir())) == 8


def test_changed_bytes_are_embedded_anew_under_the_same_key(
    workspace: Workspace, source: Path, make_clip: ClipMaker, in_process: None
) -> None:
    before = embeddings(workspace, ingest_videos(workspace, str(source), SETTINGS))
    make_clip("videos/mute.mp4", frames=40, size=(64, 128))
    counts = ingest_videos(workspace, str(source), SETTINGS)
    after = embeddings(workspace, counts)
    assert (counts.embedded, counts.skipped, counts.decoded) == (1, 3, 1)
    assert after["video_key"].to_list() == before["video_key"].to_list()
    same = [a == b for a, b in zip(after["visual"].to_list(), before["visual"].to_list(), strict=True)]
    assert same == [True, True, False, True]


def test_a_new_title_is_embedded_without_a_decoder(
    workspace: Workspace, source: Path, tmp_path: Path, in_process: None
) -> None:
    manifest = tmp_path / "videos.csv"
    rows = {"video_id": ["g", "m"], "uri": [f"{source}/grey.mp4", f"{source}/mute.mp4"]}
    pl.DataFrame({**rows, "title": ["grey sweater", "quiet morning"]}).write_csv(manifest)
    first = embeddings(workspace, ingest_videos(workspace, str(manifest), SETTINGS))
    pl.DataFrame({**rows, "title": ["grey sweater", "loud evening"]}).write_csv(manifest)
    counts = ingest_videos(workspace, str(manifest), SETTINGS)
    assert (counts.embedded, counts.skipped, counts.decoded) == (1, 1, 0)
    second = embeddings(workspace, counts)
    assert second["text"][0].to_list() == first["text"][0].to_list()
    assert second["text"][1].to_list() != first["text"][1].to_list()
    assert workspace.catalogue.read().sort("video_id")["title"].to_list() == ["grey sweater", "loud evening"]


def test_known_bad_bytes_under_a_new_name_are_quarantined_untried_and_an_io_failure_is_retried(
    workspace: Workspace, source: Path, in_process: None
) -> None:
    (source / "gone.mp4").symlink_to(source / "nowhere.mp4")
    first = ingest_videos(workspace, str(source), SETTINGS)
    assert first.reasons == {"corrupt": 2, "empty": 1, "unreadable": 1}
    shutil.copy(source / "noise.mp4", source / "third name.mp4")
    shutil.copy(source / "mute.mp4", source / "nowhere.mp4")
    second = ingest_videos(workspace, str(source), SETTINGS)
    check_sums(second)
    assert second.decoded == 0
    assert second.reasons == {"corrupt": 3, "empty": 1}
    assert second.embedded == 2, "the link and what it points to"


def test_a_run_that_is_cut_off_goes_on_where_it_was_and_ends_with_the_same_table(
    workspace: Workspace, source: Path, tmp_path: Path, in_process: None
) -> None:
    def cut(done: int, listed: int) -> None:
        if done == listed - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_videos(workspace, str(source), SETTINGS, progress=cut)
    assert not workspace.encoder_versions()
    resumed = ingest_videos(workspace, str(source), SETTINGS)
    check_sums(resumed)
    assert resumed.decoded < 5, "committed shards are not decoded again"
    other = open_workspace(tmp_path / "undisturbed", create=True)
    undisturbed = embeddings(other, ingest_videos(other, str(source), SETTINGS))
    assert embeddings(workspace, resumed).equals(undisturbed)
    assert resumed.reasons == {"corrupt": 2, "empty": 1}


def test_a_corpus_that_has_grown_fourfold_gets_new_statistics_and_a_row_for_every_video(
    workspace: Workspace, source: Path, tmp_path: Path, in_process: None
) -> None:
    first = ingest_videos(workspace, str(source), SETTINGS)
    (tmp_path / "more").mkdir()
    for grey in range(16):
        Image.new("RGB", (32, 24), (grey * 9, 80, 200 - grey * 9)).save(tmp_path / "more" / f"{grey}.png")
    second = ingest_videos(workspace, str(tmp_path / "more"), SETTINGS)
    assert second.encoder_version != first.encoder_version
    assert (second.listed, second.embedded, second.decoded) == (16, 16, 16)
    assert len(embeddings(workspace, second)) == 20, "also the four that are not listed now"
    third = ingest_videos(workspace, str(tmp_path / "more"), SETTINGS)
    assert (third.encoder_version, third.skipped) == (second.encoder_version, 16)


def test_other_settings_are_seen_in_every_row_and_going_back_too(
    workspace: Workspace, source: Path, in_process: None
) -> None:
    def run(frames: int) -> pl.DataFrame:
        return embeddings(workspace, ingest_videos(workspace, str(source), IngestSettings(frames=frames)))

    assert run(4)["frames_got"].to_list() == [4] * 4
    assert run(2)["frames_got"].to_list() == [2] * 4
    shutil.copy(source / "sub/fast.mp4", source / "mute.mp4")
    assert run(2)["frames_got"].to_list() == [2] * 4
    back = run(4)
    assert back["frames_got"].to_list() == [4] * 4
    rows = {row["video_id"]: row for row in back.iter_rows(named=True)}
    assert rows["mute.mp4"]["visual"] == rows["sub/fast.mp4"]["visual"], "the bytes it has now"


def test_extras_that_were_left_out_can_be_had_later(
    workspace: Workspace, source: Path, in_process: None
) -> None:
    bare = embeddings(
        workspace, ingest_videos(workspace, str(source), IngestSettings(frames=4, extras=False))
    )
    assert bare["black_share"].null_count() == len(bare)
    assert not (workspace.root / "thumbnails").exists()
    whole = embeddings(workspace, ingest_videos(workspace, str(source), SETTINGS))
    assert whole["black_share"].null_count() == 0
    assert len(list((workspace.root / "thumbnails").glob("*.webp"))) == 8


def test_bytes_that_come_back_are_known_again(workspace: Workspace, source: Path, in_process: None) -> None:
    first = source / "grey.mp4"
    kept, stamp = first.read_bytes(), first.stat().st_mtime_ns
    ingest_videos(workspace, str(source), SETTINGS)
    shutil.copy(source / "mute.mp4", first)
    ingest_videos(workspace, str(source), SETTINGS)
    first.write_bytes(kept)
    os.utime(first, ns=(stamp, stamp))
    assert ingest_videos(workspace, str(source), SETTINGS).opened == 1
    assert ingest_videos(workspace, str(source), SETTINGS).opened == 0


def test_a_source_without_one_good_file_ends_in_quarantine_alone(
    workspace: Workspace, tmp_path: Path, in_process: None
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "zero.mp4").touch()
    counts = ingest_videos(workspace, str(tmp_path / "bad"), SETTINGS)
    assert (counts.embedded, counts.quarantined, counts.encoder_version) == (0, 1, None)
    assert not workspace.catalogue.exists()


def test_wrong_settings_and_sources_are_refused_before_anything_is_written(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match="frames is 0"):
        IngestSettings(frames=0)
    with pytest.raises(BadInput, match="is not there"):
        ingest_videos(workspace, str(workspace.root / "nowhere"), SETTINGS)
    assert [path.name for path in workspace.root.iterdir()] == ["workspace.json"]


def test_ray_workers_that_are_killed_cost_no_video(workspace: Workspace, source: Path) -> None:
    killed: list[int] = []

    def kill_one(done: int, listed: int) -> None:
        if done == listed - 4 and not killed:
            killed.extend(own_workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    try:
        start_ray(None, 2)
        counts = ingest_videos(workspace, str(source), SETTINGS, progress=kill_one)
    finally:
        ray.shutdown()
    assert killed
    check_sums(counts)
    assert (counts.embedded, counts.quarantined) == (4, 3)
    assert counts.reasons == {"corrupt": 2, "empty": 1}


def own_workers() -> list[int]:
    """Actor processes of the Ray that this process started: others may run on the machine."""

    def parent(pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])

    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "cmdline").read_bytes()
                if name.startswith(b"ray::Worker") and parent(parent(int(entry.name))) == os.getpid():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
