"""What a GPU gives is what the CPU gives. Collected with REELRANK_GPU=1 only, and then fails without a GPU.

torchcodec must not share a process with decord, so everything runs in the script's own process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Of one run of the script on the GPU."""
    command = [
        sys.executable,
        "-m",
        "tests.gpu.check_gpu",
        "--device",
        "cuda",
        "--clips",
        "6",
        "--repeats",
        "1",
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = json.loads(run.stdout)
    assert "fault" not in said, said["fault"]
    found: dict[str, Any] = said["figures"]
    return found


def test_frames_times_and_vectors_agree_within_the_stated_bounds(figures: dict[str, Any]) -> None:
    assert figures["faults"] == []


def test_the_video_engine_decodes_all_clips_that_phones_make(figures: dict[str, Any]) -> None:
    assert figures["device"]["decoder"] == "nvdec", figures["device"]["why"]
    assert figures["decoded_on_device"] == figures["files"], figures["refused_by_device"]


def test_encoders_of_models_give_what_the_cpu_gives_and_keep_the_gpu_busy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu.check_encoders", "--scratch", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
