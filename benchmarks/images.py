"""Images in and out beside the best peers, one page: ``python -m benchmarks.images`` (some 20 minutes).

Runs every part of ``benchmarks.imaging`` (read, convert, seg, retrieve), each interleaved with its peers in one run
and with voxels asserted equal, and writes the table and the chart of docs/performance.md.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE, CHART = DOCS / "performance.md", DOCS / "pictures" / "images.png"
BEGIN, END = "<!-- images: written by benchmarks/images.py -->\n", "<!-- images: end -->\n"


@dataclass(frozen=True)
class Row:
    """One tool at one job.

    Attributes
    ----------
    part, job, tool
        What was done, and by whom.
    ms
        Median, milliseconds.
    ratio
        Its time over ours.
    note
        Peak memory, or what its time includes.
    """

    part: str
    job: str
    tool: str
    ms: float
    ratio: float
    note: str = ""


def read() -> Iterator[Row]:
    """Series to array."""
    from benchmarks.imaging.read import rows

    for row in rows():
        yield Row("read 512×512×200", row["syntax"], row["reader"], row["ms"], row["ratio"], f"peak {row['mb']:.0f} MB")


def convert() -> Iterator[Row]:
    """Series to NIfTI."""
    from benchmarks.imaging.convert import rows

    for row in rows():
        yield Row("convert", f"{row['job']}, {row['where']}", row["tool"], row["ms"], row["ours_is_faster"])


def seg() -> Iterator[Row]:
    """SEG out and in."""
    from benchmarks.imaging.seg import rows

    for row in rows():
        job = f"{row['act']} {row['segments']} segments, {row['type']}"
        yield Row("SEG 512×512×200", job, row["tool"], row["ms"], row["times ours"], row["includes"])


def retrieve() -> Iterator[Row]:
    """Series out of a real Orthanc; the ratio is to a raw GET that parses nothing."""
    from benchmarks.imaging.retrieve import rows

    for row in rows():
        yield Row("retrieve 200 slices from Orthanc", "ratio to a raw GET", row["way"], row["ms"], row["ratio"])


PARTS: dict[str, Callable[[], Iterator[Row]]] = {"read": read, "convert": convert, "seg": seg, "retrieve": retrieve}


def table(rows: list[Row]) -> str:
    """Markdown, one table a part."""
    lines = []
    for part in dict.fromkeys(row.part for row in rows):
        lines += [f"\n**{part}**\n", "| job | tool | ms | ratio | |", "|---|---|---|---|---|"]
        lines += [f"| {row.job} | {row.tool} | {row.ms:,.0f} | {row.ratio:.2f} | {row.note} |"
                  for row in rows if row.part == part]  # fmt: skip
    return "\n".join(lines) + "\n"


def chart(rows: list[Row]) -> None:
    """Bars of every peer's time over ours, on a scale of halves and doubles."""
    from matplotlib.figure import Figure

    own = ("ours", "ai-lab", "ailab")
    shown = [row for row in rows if not row.tool.lower().startswith(own) and "GET" not in row.job]
    figure = Figure(figsize=(9, 0.24 * len(shown) + 1.4), layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    colors = ["#2f6f9f" if row.ratio >= 1 else "#b5452c" for row in shown]
    axes.barh(places, [row.ratio - 1 for row in shown], left=1, color=colors)
    axes.set_yticks(places, [f"{row.job}: {row.tool}" for row in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks := [0.5, 1, 2, 4, 8, 16, 32, 64], [f"{tick:g}×" for tick in ticks])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time over ours: to the right of 1× AI-LAB is faster")
    axes.margins(y=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(CHART, dpi=110)


def write(rows: list[Row]) -> None:
    """Put the table between its marks in docs/performance.md."""
    page = PAGE.read_text()
    body = (f"{BEGIN}\n![time of each tool over ours](pictures/images.png)\n{table(rows)}\n{END}")
    found = re.search(f"{re.escape(BEGIN)}.*{re.escape(END)}", page, re.DOTALL)
    PAGE.write_text(page.replace(found.group(), body) if found else f"{page}\n## Images in and out\n\n{body}")


def main() -> None:
    """Run the named parts (all without names); the page is written when all ran."""
    named = [word for word in sys.argv[1:] if word in PARTS] or list(PARTS)
    rows = [row for name in named for row in PARTS[name]()]
    sys.stdout.write(table(rows))
    if len(named) == len(PARTS):
        chart(rows)
        write(rows)


if __name__ == "__main__":
    main()
