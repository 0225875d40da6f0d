"""Build the page that reviews burned-in text, with the compiler of the drawing widget (`extensions.annotate.build`).

``python -m extensions.redact.build`` checks the types and writes ``ailab_kernel/privacy/desk/static``. Who only uses
the page needs none of this.
"""

import sys
from pathlib import Path

from extensions.annotate import build as compiler

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "ailab_kernel" / "privacy" / "desk" / "static"
PLACE = compiler.PLACE


def check() -> None:
    """Check every type, strictly."""
    compiler.check(source=HERE)


def build(target: Path = STATIC) -> None:
    """Write ``redact.js`` and ``redact.css``; equal sources give equal bytes."""
    compiler.build(target, source=HERE)


if __name__ == "__main__":
    if compiler.install():
        sys.exit("the compiler could not be installed; see npm's message above")
    check()
    build()
