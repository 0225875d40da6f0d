"""Build the page that reviews burned-in text, with the compiler of the drawing widget (`extensions.annotate.build`).

``python -m extensions.redact.build`` checks the types and writes ``ailab_kernel/privacy/desk/static``. Who only uses
the page needs none of this.
"""

import subprocess
import sys
from pathlib import Path

from extensions.annotate.build import PLACE, install, node

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "ailab_kernel" / "privacy" / "desk" / "static"


def check(place: Path = PLACE) -> None:
    """Check every type, strictly."""
    _run(place, "typescript/bin/tsc", "-p", str(HERE / "tsconfig.json"))


def build(target: Path = STATIC, *, place: Path = PLACE) -> None:
    """Write ``redact.js`` and ``redact.css``; equal sources give equal bytes."""
    shape = ["--bundle", "--minify", "--target=es2022", "--log-level=warning", "--legal-comments=none"]
    _run(place, "esbuild/bin/esbuild", "src/index.ts", *shape, "--format=esm", f"--outfile={target / 'redact.js'}")
    _run(place, "esbuild/bin/esbuild", "src/redact.css", *shape, f"--outfile={target / 'redact.css'}")


def _run(place: Path, script: str, *words: str) -> None:
    subprocess.run([node(), str(place / "node_modules" / script), *words], check=True, cwd=HERE)


if __name__ == "__main__":
    if install():
        sys.exit("the compiler could not be installed; see npm's message above")
    check()
    build()
