"""Both viewers on large images, in JupyterLab and Chromium: ``python -m benchmarks.viewers [engine slices]``.

A CT of 512×512 and so many slices, oblique, with noise and four labels, is opened. Printed are the seconds from the
view's cell to labels on the screen and from a step to another slice's picture (to a third of a second), the most memory
that the browser, and the kernel with its server, held (proportional set size), and what crossed the websockets. The
load of the machine is printed beside them: figures of a busy machine are no figures.
"""

import os
import sys
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path

import numpy as np

MADE = """
import numpy as np
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume
shape, turn, affine = ({slices}, 512, 512), np.radians(10), np.eye(4)
oblique = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
affine[:3, :3] = (oblique @ np.diag([0.7, 0.7, 1.0]))[:, [2, 1, 0]]
affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
z, y, x = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in shape), indexing="ij", sparse=True)
body = np.where((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1, 40, -1000).astype(np.int16)
values = body + np.random.default_rng(1).integers(-20, 20, shape, dtype=np.int16)
labels = np.zeros(shape, np.uint8)
for index, (right, down) in enumerate(((-0.4, -0.3), (0.4, -0.3), (-0.4, 0.3), (0.4, 0.3)), start=1):
    labels[(x - right) ** 2 + (y - down) ** 2 + (z / 2) ** 2 < 0.04] = index
grid, colors = Grid(shape, affine), ((220, 60, 60), (240, 160, 40), (220, 90, 160), (200, 60, 30))
vol = Volume(values, grid, facts={{"Modality": "CT"}})
mask = Mask(labels, grid, tuple(Label(n, f"part-{{n}}", LUNG, color=color) for n, color in enumerate(colors, start=1)))
print("made")
"""
OPENED = "vol.view(mask, engine={engine!r})"
SIZES = (("niivue", 400), ("itk", 200))        # the largest that NiiVue is given whole; what was promised of the other
FRAMES = {"niivue": ".jp-OutputArea canvas", "itk": "iframe.ailab-itk"}
STEPS = {"niivue": "() => document.querySelector('.ailab-niivue').viewer.moveCrosshairInVox(0, 0, 20)",
         "itk": "() => document.querySelector('iframe.ailab-itk').viewer.setZSlice(20)"}  # fmt: skip
LONGEST_S = 600
RED, ENOUGH = 40, 500                          # more red than blue are labels and nothing else in a viewer; pixels


class Memory(threading.Thread):
    """The most that processes and all their children held, MB, looked at every half second."""

    def __init__(self, **roots: int) -> None:
        """Look at these, by process id, from now on."""
        super().__init__(daemon=True)
        self.roots, self.over = roots, False
        self.most = dict.fromkeys(roots, 0.0)
        self.start()

    def run(self) -> None:
        """Look until told that it is over."""
        while not self.over:
            self.most = {name: max(self.most[name], _held(root)) for name, root in self.roots.items()}
            time.sleep(0.5)


def _held(root: int) -> float:
    import psutil

    held = 0.0
    for one in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
        try:
            held += one.memory_full_info().pss / 1e6
        except psutil.NoSuchProcess:
            continue
    return held


def _picture(page, engine: str) -> np.ndarray:
    """What is on the screen of a viewer, (rows, columns, RGB); nothing before there is one."""
    from PIL import Image

    frame = page.locator(FRAMES[engine])
    box = frame.bounding_box() if frame.count() else None
    if not box:
        return np.zeros((1, 1, 3), int)
    return np.asarray(Image.open(BytesIO(page.screenshot(clip=box))).convert("RGB")).astype(int)


def _until(page, engine: str, holds) -> float:
    """Seconds until a picture holds what is asked of it."""
    begin = time.perf_counter()
    while not holds(_picture(page, engine)):
        if time.perf_counter() - begin > LONGEST_S:
            said = page.locator(".jp-OutputArea").last.inner_text()
            sys.exit(f"{engine} showed nothing new in {LONGEST_S} s; its cell says: {said}")
        time.sleep(0.1)
    return time.perf_counter() - begin


def _roots() -> dict[str, int]:
    """Process ids of the browser and of JupyterLab, which this process started."""
    import psutil

    found = {}
    for one in psutil.Process().children(recursive=True):
        words = " ".join(one.cmdline())
        found.setdefault("browser" if "/chromium" in words else "kernel" if "jupyterlab" in words else "", one.pid)
    return {name: found[name] for name in ("browser", "kernel")}


def measure(engine: str, slices: int, folder: Path) -> str:
    """Return one line of the table."""
    from playwright.sync_api import sync_playwright

    from tests.annotation.labs import jupyterlab

    crossed = {"framereceived": 0, "framesent": 0}

    def _count(socket) -> None:
        for way in crossed:
            socket.on(way, lambda data, way=way: crossed.update({way: crossed[way] + len(data)}))

    with jupyterlab(folder) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1600})
        page.set_default_timeout(600_000)
        page.on("websocket", _count)
        lab.notebook(MADE.format(slices=slices), OPENED.format(engine=engine))
        lab.run_all(page)
        page.wait_for_selector(".jp-OutputArea-output:has-text('made')")
        before, memory = {name: _held(root) for name, root in _roots().items()}, Memory(**_roots())
        first = _until(page, engine, lambda shown: (shown[..., 0] - shown[..., 2] > RED).sum() > ENOUGH)
        page.wait_for_timeout(10_000)                   # what a viewer does after its first picture counts too
        shown = _picture(page, engine)
        page.evaluate(STEPS[engine])
        step = _until(page, engine, lambda other: other.shape != shown.shape or (other != shown).any())
        memory.over = True
        memory.join()
        browser.close()
    held = " | ".join(f"{before[name]:.0f} → {most:.0f} MB" for name, most in memory.most.items())
    back = f"{crossed['framereceived'] / 1e6:.1f} MB in, {crossed['framesent'] / 1e6:.2f} MB back"
    return f"| {engine} 512×512×{slices} | {first:.0f} s | {step:.1f} s | {held} | {back} | {os.getloadavg()[0]:.1f} |"


def main(*asked: str) -> None:
    """Print a line for each size, or for the one that was asked for."""
    print("| viewer | first picture | next slice | browser | kernel and server | websockets | load |")
    print("|---" * 7 + "|")
    for engine, slices in [(asked[0], int(asked[1]))] if asked else SIZES:
        with tempfile.TemporaryDirectory(prefix="viewers-", ignore_cleanup_errors=True) as folder:
            print(measure(engine, slices, Path(folder)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
