"""Commands in this process, as a terminal sees them."""

import sys

import pytest

from ailab_kernel.cli.main import main


def ailab(*words) -> int:
    """Run ``ailab`` with these words and return its exit code."""
    before, sys.argv = sys.argv, ["ailab", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as done:
            main()
    finally:
        sys.argv = before
    return done.value.code or 0
