"""Whatever ends a run, the next one finishes it, and the table is that of a run that nothing disturbed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import ray
from PIL import Image
from ray.cluster_utils import Cluster

from features import tables
from features.errors import StorageFailed
from features.workspace import Workspace, open_workspace
from ingest.counts import IngestCounts
from ingest.pipeline import IngestSettings, ingest_videos

ClipMaker = Callable[..., Path]
SETTINGS = IngestSettings(frames=4, workers=2, shard_size=2)
ROOT = Path(__file__).resolve().parents[2]


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four contents, one under two names, and one that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)).save(
            folder / f"{i}.png"
        )
    shutil.copy(folder / "1.png", folder / "one more.png")
    (folder / "broken.png").write_bytes(b"no picture at all" * 20)
    return folder


@pytest.fixture
def videos(tmp_path: Path, make_clip: ClipMaker) -> Path:
    """Thirty small videos with sound, and a broken one."""
    for i in range(30):
        make_clip(f"videos/{i:02d}.mp4", frames=20 + i, size=(96, 64 + 2 * i), tone_hz=300.0 + 40 * i)
    (tmp_path / "videos" / "broken.mp4").write_bytes(np.random.default_rng(7).bytes(5000))
    return tmp_path / "videos"


def final(workspace: Workspace) -> dict[str, pl.DataFrame]:
    """All that a later job reads."""
    [version] = workspace.encoder_versions()
    refused = workspace.quarantine.read(["video_id", "content_hash", "reason"]).unique()
    return {
        "embeddings": workspace.embeddings(version).read().sort("video_id"),
        "catalogue": workspace.catalogue.read().sort("video_id"),
        "duplicates": workspace.duplicates.read().sort("video_id"),
        "quarantine": refused.sort("video_id", "reason"),
        "pictures": pl.DataFrame({"name": sorted(p.name for p in (workspace.root / "thumbnails").iterdir())}),
    }


def check_same(one: Workspace, other: Workspace) -> None:
    expected = final(other)
    for name, frame in final(one).items():
        assert frame.equals(expected[name]), name


def undisturbed(source: Path, root: Path) -> Workspace:
    workspace = open_workspace(root, create=True)
    check_sums(ingest_videos(workspace, str(source), SETTINGS))
    return workspace


def check_sums(counts: IngestCounts) -> None:
    assert counts.listed == counts.embedded + counts.skipped + counts.quarantined


def test_a_run_that_ends_at_any_write_is_finished_by_the_next_one(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(pictures, tmp_path / "undisturbed")
    whole = tables._write_aside
    for last in range(1, 60):
        workspace = open_workspace(tmp_path / f"w{last}", create=True)
        written = iter(range(last))

        def write(target: Path, content: bytes, written: Iterator[int] = written) -> Path:
            if next(written, None) is None:
                raise Ended
            return whole(target, content)

        monkeypatch.setattr(tables, "_write_aside", write)
        try:
            ingest_videos(workspace, str(pictures), SETTINGS)
        except Ended:
            monkeypatch.setattr(tables, "_write_aside", whole)
            check_sums(ingest_videos(workspace, str(pictures), SETTINGS))
            check_same(workspace, expected)
            shutil.rmtree(workspace.root)
        else:
            break
    assert 10 < last < 59, "every write was the last one once"


def test_a_full_disk_is_said_in_one_sentence_leaves_no_half_file_and_loses_nothing(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path / "w", create=True)
    synced = os.fsync
    calls = iter(range(100))

    def fail(handle: int) -> None:
        if next(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFailed, match="cannot be written: No space left on device; see to the disk"):
        ingest_videos(workspace, str(pictures), SETTINGS)
    monkeypatch.setattr(os, "fsync", synced)
    assert not list(workspace.root.rglob("*.tmp"))
    check_sums(ingest_videos(workspace, str(pictures), SETTINGS))
    check_same(workspace, undisturbed(pictures, tmp_path / "undisturbed"))


def test_a_driver_that_is_killed_leaves_no_process_and_the_next_run_ends_with_the_same_table(
    videos: Path, tmp_path: Path, in_process: None
) -> None:
    expected = undisturbed(videos, tmp_path / "undisturbed")
    root = tmp_path / "killed"
    words = ["ingest", str(videos), "--workspace", str(root), "--workers", "2", "--frames", "4"]
    command = [sys.executable, "-m", "infra.cli", *words]
    for begun in (1, 12):
        kill_in_the_middle(command, root / "descriptors" / "ingest.journal", begun)
    resumed = subprocess.run([*command, "--resume"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "listed 31 = embedded 30 + skipped 0 + quarantined 1" in resumed.stdout
    check_same(open_workspace(root), expected)


def test_a_node_that_dies_in_the_middle_costs_no_video(videos: Path, tmp_path: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    workspace = open_workspace(tmp_path / "w", create=True)
    killed: list[bool] = []

    def kill_node(done: int, listed: int) -> None:
        if done >= 4 and not killed:
            killed.append(True)
            cluster.remove_node(node, allow_graceful=False)

    try:
        how = IngestSettings(frames=4, workers=2, shard_size=2, ray_address=cluster.address)
        counts = ingest_videos(workspace, str(videos), how, kill_node)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed
    check_sums(counts)
    assert (counts.embedded, counts.reasons) == (30, {"corrupt": 1})


def kill_in_the_middle(command: list[str], journal: Path, begun: int) -> None:
    """Starts a run, kills it when it has begun so many contents, and waits for the end of what it started."""
    mark = uuid.uuid4().hex
    run = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "REELRANK_TEST_MARK": mark})
    before = count_begun(journal)
    wait_until(lambda: run.poll() is not None or count_begun(journal) >= before + begun)
    assert run.poll() is None, "it was still at work"
    ours = [
        pid for pid in processes_of(mark) if is_ours(pid)
    ]  # Ray's own agents look around but once a minute
    assert len(ours) >= 2, "a worker and its decoder"
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until(lambda: not any(is_ours(pid) for pid in ours))


def count_begun(journal: Path) -> int:
    return sum(line[:1] in ("+", "!") for line in journal.read_text().splitlines()) if journal.exists() else 0


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def is_ours(pid: int) -> bool:
    """Whether a worker or a decoder runs under this number."""
    try:
        return any(
            word in Path(f"/proc/{pid}/cmdline").read_bytes() for word in (b"ray::Worker", b"decoder_child")
        )
    except OSError:
        return False


def processes_of(mark: str) -> list[int]:
    """Processes that inherited the mark, and what they started."""
    parents: dict[int, int] = {}
    marked: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
                if mark.encode() in (entry / "environ").read_bytes():
                    marked.add(int(entry.name))
            except OSError:
                continue
    return [pid for pid, parent in parents.items() if pid in marked or parent in marked]
