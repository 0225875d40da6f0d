"""What every test may ask for."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FULL_BATTERY = os.environ.get("AILAB_BATTERY") == "full"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; the project commits none of it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real images are not here (../shared/data); phantoms cover the same code")
    return folder


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty lab in a folder of its own."""
    from ailab_kernel.workspace import open_workspace

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AILAB_") and name != "AILAB_REQUIRE_SERVICES"]:
        monkeypatch.delenv(name)
    return open_workspace(tmp_path)
