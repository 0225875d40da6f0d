"""De-identification beside its peers: ``python -m benchmarks.privacy`` (some 10 minutes).

The peers' newest releases from PyPI, each in an environment of its own below ``build/peers`` and with its defaults.
First the battery of ``tests/privacy/battery``, scored alike for all by an answer key that is not ours; then throughput
on an archive of 500 studies, one process against one process, in rounds of a fifth of the archive each. Tables go to
docs/privacy.md and docs/performance.md, the chart beside them.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks.deidentify.archive import write
from tests.privacy.battery.pictures import KINDS
from tests.privacy.battery.planting import KEY, rows
from tests.privacy.battery.scoring import Score, Scorer, table
from tests.privacy.battery.test_battery import burned_cases, cases

ROOT = Path(__file__).parents[1]
PEERS, DOCS, WORKER = ROOT / "build" / "peers", ROOT / "docs", ROOT / "benchmarks" / "deidentify" / "worker.py"
SHARED = ROOT.parent / "shared" / "data"
OURS, PROVEN = "AI-LAB", "AI-LAB, proven"
RIVALS = ("dicom-anonymizer", "dicognito", "deid", "dcm-anonymizer")
STUDIES, SLICES, ROUNDS = 500, 4, 5
CHART = DOCS / "pictures" / "deidentify.png"


def pythons() -> dict[str, Path]:
    """Interpreter of every tool; a peer that is not there yet is installed."""
    found = {OURS: Path(sys.executable), PROVEN: Path(sys.executable)}
    for name in RIVALS:
        folder = PEERS / name
        found[name] = folder / "bin" / "python"
        if not (folder / "done").is_file():
            venv.create(folder, with_pip=True, clear=True)
            subprocess.run([found[name], "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name],
                           check=True, stderr=subprocess.DEVNULL)  # fmt: skip
            (folder / "done").touch()
    return found


def version(python: Path, name: str) -> str:
    """Installed release of a peer."""
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def run(tool: str, python: Path, source: Path, target: Path) -> dict[str, object]:
    """Run one tool over a folder in a process of its own."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    place = {"PYTHONPATH": str(ROOT) if tool.startswith(OURS) else "", "HOME": str(target)}
    done = subprocess.run([python, "-W", "ignore", WORKER, tool, source, target], check=True, cwd=ROOT, text=True,
                          capture_output=True, env=place)  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def scores(tools: Mapping[str, Path], folder: Path) -> dict[str, Score]:
    """The battery, every row of the key and pictures of every kind, through every tool."""
    planted = [*cases(rows(SHARED / KEY), (1, 2)), *burned_cases((1, 2), KINDS * 3)]
    source = folder / "battery"
    source.mkdir()
    for number, case in enumerate(planted):
        (source / f"{number:05d}.dcm").write_bytes(case.file)
    found = {}
    for tool, python in tools.items():
        if tool != PROVEN:
            said, scorer = run(tool, python, source, folder / "out"), Scorer()
            for number, case in enumerate(planted):
                made = folder / "out" / f"{number:05d}.dcm"
                scorer.add(case, made.read_bytes() if made.is_file() else None)
            found[tool] = scorer.score
            sys.stderr.write(f"{tool}: {100 * scorer.score.share():.2f} %, raised {said['raised'][:3]}\n")
    return found


def throughput(tools: Mapping[str, Path], folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds a file by tool, of every round: by the clock, and of the processor."""
    wall: dict[str, list[float]] = defaultdict(list)
    used: dict[str, list[float]] = defaultdict(list)
    total = write(folder / "archive", STUDIES, slices=SLICES)
    sys.stderr.write(f"{STUDIES} studies, {STUDIES * SLICES} files, {total / 1e6:.0f} MB\n")
    studies = sorted((folder / "archive").iterdir())
    for number in range(ROUNDS):
        part = folder / "part"
        part.mkdir()
        for study in studies[number::ROUNDS]:
            study.rename(part / study.name)
        count = sum(1 for path in part.rglob("*") if path.is_file())
        for tool, python in tools.items():
            said = run(tool, python, part, folder / "out")
            if said["raised"]:
                sys.stderr.write(f"{tool} raised {len(said['raised'])} times\n")
            wall[tool].append(float(said["seconds"]) / count * 1000)
            used[tool].append(float(said["cpu"]) / count * 1000)
        shutil.rmtree(part)
    return {tool: (wall[tool], used[tool]) for tool in tools}


def told(found: Mapping[str, tuple[list[float], list[float]]], names: Mapping[str, str]) -> str:
    """Markdown: medians, and every tool's time over ours, which is the median of the rounds' ratios."""
    lines = ["| tool | ms a file | files/s | time over ours | processor over ours |", "|---|---|---|---|---|"]
    for tool, (wall, _) in found.items():
        ms, ratio, busy = statistics.median(wall), over(found, tool, 0), over(found, tool, 1)
        lines.append(f"| {names[tool]} | {ms:.2f} | {1000 / ms:,.0f} | {ratio:.2f} | {busy:.2f} |")
    return "\n".join(lines) + "\n"


def over(found: Mapping[str, tuple[list[float], list[float]]], tool: str, kind: int) -> float:
    """A tool's time over ours."""
    return statistics.median(a / b for a, b in zip(found[tool][kind], found[OURS][kind], strict=True))


def chart(found: Mapping[str, tuple[list[float], list[float]]], names: Mapping[str, str]) -> None:
    """Bars of every tool's time over ours."""
    from matplotlib.figure import Figure

    shown = [tool for tool in found if tool != OURS]
    figure = Figure(figsize=(8, 0.4 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    ratios = [over(found, tool, 0) for tool in shown]
    colors = ["#7a7a7a" if tool == PROVEN else "#2f6f9f" for tool in shown]
    bars = axes.barh([names[tool] for tool in shown], ratios, color=colors)
    axes.bar_label(bars, [f"{ratio:.1f}×" for ratio in ratios], padding=3)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time over ours (500 studies of CT and MR, one process each)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(CHART, dpi=110)


def put(page: Path, mark: str, title: str, body: str) -> None:
    """Put a text between its marks on a page of the docs."""
    begin, end = f"<!-- {mark}: written by benchmarks/privacy.py -->\n", f"<!-- {mark}: end -->\n"
    text, block = page.read_text(), f"{begin}\n{body}\n{end}"
    found = re.search(f"{re.escape(begin)}.*{re.escape(end)}", text, re.DOTALL)
    page.write_text(text.replace(found.group(), block) if found else f"{text.rstrip()}\n\n## {title}\n\n{block}")


def main() -> None:
    """Run the parts that are named (score, speed); all of them without names."""
    parts = set(sys.argv[1:]) or {"score", "speed"}
    tools = pythons()
    names = {tool: tool if tool.startswith(OURS) else f"{tool} {version(tools[tool], tool)}" for tool in tools}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "score" in parts and not (SHARED / KEY).is_file():
            sys.stderr.write("the answer key is not here (../shared/data/ps315_annexe): nothing is scored\n")
        elif "score" in parts:
            body = table({names[tool]: one for tool, one in scores(tools, folder).items()})
            sys.stdout.write(body)
            put(DOCS / "privacy.md", "scores", "Beside its peers", body)
        if "speed" in parts:
            found = throughput(tools, folder)
            body = told(found, names)
            sys.stdout.write(body)
            chart(found, names)
            put(DOCS / "performance.md", "deidentification", "De-identification",
                f"![time of each tool over ours](pictures/deidentify.png)\n\n{body}")  # fmt: skip


if __name__ == "__main__":
    main()
