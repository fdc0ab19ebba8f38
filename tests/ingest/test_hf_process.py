"""A Hugging Face encoder beside decord, and a hub's name, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ingest import hf_tiny as tiny

BESIDE_DECORD = """
import sys
from ingest.encoders.hf import open_hf
encoder = open_hf(sys.argv[1])
order = list(sys.modules)
assert "decord" not in order
import decord
import numpy as np, torch
assert list(sys.modules).index("torch") < list(sys.modules).index("decord")
rows = encoder.encode("visual", [np.zeros((2, 50, 40, 3), np.uint8)])
product = torch.ones(600, 600) @ torch.ones(600, 600)
print(rows.shape, float(product[0, 0]), "torchvision" in sys.modules)
"""

OFFLINE = """
import sys
from ingest.encoders.hf import open_hf
from features.errors import BadInput
print(open_hf("tiny-org/tiny_clip").encoder_version)
print(open_hf(sys.argv[1]).encoder_version)
try:
    open_hf("tiny-org/another")
except BadInput as refusal:
    print(refusal)
"""


def run(code: str, folder: Path, **environment: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=Path(__file__).resolve().parents[2],
        env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_clip(tmp_path_factory.mktemp("clip"))


def test_torch_comes_before_decord_and_a_matrix_product_does_not_crash(model: Path) -> None:
    assert run(BESIDE_DECORD, model) == ["(1, 12) 600.0 False"]


def test_a_hubs_name_is_taken_from_the_hubs_cache_and_one_that_is_not_there_is_refused(
    model: Path, tmp_path: Path
) -> None:
    held = tmp_path / "hub" / "models--tiny-org--tiny_clip"
    (held / "refs").mkdir(parents=True)
    (held / "refs" / "main").write_text("c" * 40)
    (held / "snapshots").mkdir()
    (held / "snapshots" / ("c" * 40)).symlink_to(model, target_is_directory=True)
    cached, local, refusal = run(OFFLINE, model, HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
    assert cached == local
    assert refusal.startswith("tiny-org/another is no directory and cannot be fetched (")
    assert refusal.endswith("copy the model here and give its path")
