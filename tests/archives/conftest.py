"""The archives that the conformance suite runs against."""

from pathlib import Path

import pytest

from ailab_kernel.archives import Archive, open_archive


@pytest.fixture(params=["folder"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An empty archive of each kind."""
    return open_archive(f"folder:{tmp_path / 'archive'}")
