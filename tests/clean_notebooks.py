"""Fail when a committed notebook holds outputs or execution counts: results live in reports, not in the source."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def dirty(path: Path) -> list[str]:
    """Return what is unclean in a notebook: cell numbers with outputs or counts."""
    cells = json.loads(path.read_text(encoding="utf8"))["cells"]
    return [f"cell {n}" for n, cell in enumerate(cells, 1) if cell.get("outputs") or cell.get("execution_count")]


def main() -> int:
    """Check every notebook that git knows."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.ipynb"], capture_output=True, text=True,
                            check=True, cwd=ROOT).stdout.split()  # fmt: skip
    found = {name: dirty(ROOT / name) for name in listed}
    for name, cells in found.items():
        if cells:
            sys.stderr.write(f"{name}: {', '.join(cells)} not clean; run nbdev-clean\n")
    sys.stdout.write(f"{len(found)} notebooks looked at\n")
    return any(found.values())


if __name__ == "__main__":
    sys.exit(main())
