"""The widget on 512×512×200, in JupyterLab and Chromium: ``python -m benchmarks.annotate [strokes] [slices]``.

Prints medians and 95th percentiles, ms: pointer up to the record on the disk (kernel's clock against the page's, one
machine), pointer up to the acknowledgement on the page, the next slice when it was prefetched and when it was not, the
view in 3-D turned, and the seconds to the first picture and to the first view in 3-D. The load of the machine is
printed beside them: figures of a busy machine are no figures.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CELL = """
import time
import numpy as np
from pathlib import Path
from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label
from ailab_kernel.volumes.volume import Volume
values = np.random.default_rng(1).integers(-1000, 1000, {shape}, dtype=np.int16)
vol = Volume(values, Grid({shape}, np.diag([1.5, 0.7, 0.7, 1.0])), facts={{"Modality": "CT"}})
session = Session(Path("strokes"), vol, case=Case("", "1.2.3", "reader-1", (Label(1, "lung", LUNG),)))
kept, whole = [], session.do
def do(message, points=b""):
    done = whole(message, points)
    kept.append([message["number"], time.time() * 1000])
    Path("kept.json").write_text(__import__("json").dumps(kept))
    return done
session.do = do
Annotator(session, title="benchmark")
"""
WAIT = "() => document.querySelector('.ailab-annotate')?.annotate.ready()"
# Scroll and wait until the slice is painted on the canvas, ms; half a frame of waiting for the browser is in it.
SOLID = "() => document.querySelector('.ailab-annotate')?.annotate.solid.ready"
TURN = """() => {
  const { solid } = document.querySelector('.ailab-annotate').annotate, begin = performance.now();
  solid.camera.turn(0.05, 0.01);
  solid.paint();
  return performance.now() - begin;
}"""
SCROLL = """async (axis) => {
  const root = document.querySelector('.ailab-annotate'), { state, ready } = root.annotate;
  const begin = performance.now();
  state.moveTo(axis, STEP);
  const drawn = () => new Promise(done => requestAnimationFrame(() => done(performance.now())));
  let own = await drawn();
  while (!ready()) own = await drawn();
  return own - begin;
}"""


def summary(name: str, values: list[float]) -> str:
    """One line of the table."""
    return f"| {name} | {np.median(values):.1f} | {np.percentile(values, 95):.1f} | {max(values):.1f} | {len(values)} |"


def main(strokes: int = 40, slices: int = 200) -> None:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    from tests.annotation.labs import jupyterlab

    folder = Path(tempfile.mkdtemp(prefix="annotate-"))
    with jupyterlab(folder) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        lab.notebook(CELL.format(shape=(slices, 512, 512)))
        lab.run_all(page)
        page.wait_for_selector(".ailab-annotate")
        begin = time.perf_counter()
        page.wait_for_function(WAIT, polling=5)
        first = time.perf_counter() - begin
        lines = [*_strokes(page, folder, strokes), *_slices(page, strokes, slices)]
        solid, turned = _solid(page, strokes)
        browser.close()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; first picture {first:.2f} s after the frame, "
          f"first view in 3-D {solid:.2f} s after it was asked for")
    lines.append(turned)
    print("| what, ms | median | 95 % | most | n |\n|---|---|---|---|---|", *lines, sep="\n")


def _strokes(page, folder: Path, strokes: int) -> list[str]:
    box = page.locator(".ailab-pane:not([hidden]) canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate("""() => { window.ups = []; window.acks = [];
      const root = document.querySelector('.ailab-annotate');
      const now = () => performance.timeOrigin + performance.now();
      root.addEventListener('pointerup', () => window.ups.push(now()), true);
      const seen = () => { if (root.annotate.ready()) window.acks.push(now()); };
      new MutationObserver(seen)
        .observe(root.querySelector('.ailab-status'), {childList: true, subtree: true}); }""")
    for number in range(strokes):
        page.mouse.move(x - 80 + 3 * number, y - 60)
        page.mouse.down()
        page.mouse.move(x + 3 * number, y + 80 - 2 * number, steps=12)
        page.mouse.up()
        page.wait_for_function(WAIT, polling=5)
    ups, acks = page.evaluate("() => [window.ups, window.acks]")
    kept = [at for _, at in json.loads((folder / "kept.json").read_text())]
    to_disk = [at - up for up, at in zip(ups, kept, strict=True)]
    to_page = [min(ack for ack in acks if ack > up) - up for up in ups]
    return [summary("pointer up to the record on the disk", to_disk),
            summary("pointer up to acknowledged on the page", to_page)]


def _slices(page, count: int, slices: int) -> list[str]:
    near, far = [], []
    for _ in range(count):
        page.wait_for_timeout(250)                      # what is ahead has come meanwhile
        near.append(page.evaluate(SCROLL.replace("STEP", "state.cursor[axis] + 1"), 0))
    for index in (*range(0, slices // 2 - 10, 10), *range(3 * slices // 4, slices, 10)):
        page.wait_for_timeout(250)
        far.append(page.evaluate(SCROLL.replace("STEP", str(index)), 0))
    return [summary("next slice, prefetched, until it is painted on the canvas", near),
            summary("a slice that was not prefetched, the same", far)]


def _solid(page, count: int) -> tuple[float, str]:
    page.locator(".ailab-annotate").focus()
    begin = time.perf_counter()
    page.keyboard.press("x")
    page.wait_for_function(SOLID, polling=5)
    first = time.perf_counter() - begin
    return first, summary("the view in 3-D turned and painted", [page.evaluate(TURN) for _ in range(count)])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
