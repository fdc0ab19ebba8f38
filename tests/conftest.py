"""Fixtures that more than one package's tests use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: what is right is asked here, how fast in `bench`.
settings.register_profile("reelrank", deadline=None)
settings.load_profile("reelrank")

# As the command line does, and before anything loads torch: OpenMP's threads sleep while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not at {SHARED}")
    return SHARED
