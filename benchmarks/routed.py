"""The seed's 3.4, 30 chest CTs of 512×512×100 from Orthanc to the adapter and back: ``python -m benchmarks.routed``.

A real Orthanc holds the studies and sends them by its REST interface, as an auto-route does. Counted are the seconds
from the last acknowledged instance until the last study was worked on, and until SEG, SR and PDF of all are listed by
Orthanc; and the seconds that loading, inference, writing and delivering took, of all studies together. Two processes
work. The phantoms are six, each sent under UIDs of its own.
"""

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ailab_kernel.adapter.ledger import Outbox
from ailab_kernel.adapter.place import ledger_of
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.workspace import open_workspace
from benchmarks.hospital import GRACE_S, RESULTS, hospital, study, verdict, works

TEMPLATES, SIZE, SPACING = 6, (100, 512, 512), (3.0, 0.75, 0.75)
WORKERS = 2


def loaded(day, count):
    """Put studies into Orthanc and return its names of their series."""
    models = [make_objects(seed, style="university", size=SIZE, truth=False, spacing_mm=SPACING)
              for seed in range(TEMPLATES)]  # fmt: skip
    series = []
    for number in range(count):
        uid, paths = study(day, list(models[number % TEMPLATES]), number, broken=False)
        found = {day.pacs.rest("/instances", method="POST", raw=path.read_bytes())["ParentSeries"] for path in paths}
        series += found
        day.sent[uid] = "routed"
        shutil.rmtree(paths[0].parent)
    return series


def stamps(day):
    """When the last instance came, the last study was worked on, and the last result was confirmed."""
    with ledger_of(open_workspace(home=day.folder / "lab")) as ledger:
        arrived = max(one.at for one in ledger.arrivals())
        sent = [one.changed_at for one in Outbox(ledger).all() if one.state == "confirmed"]
        first = {}
        for one in Outbox(ledger).all():
            first.setdefault(one.work, one.path)
    written = [Path(path).stat().st_mtime for path in first.values()]
    return arrived, max(written, default=arrived), max(sent, default=arrived)


def main(count=30):
    folder = Path(tempfile.mkdtemp(prefix="routed-"))
    with hospital(folder, 1, WORKERS) as day:
        series = loaded(day, count)
        load, began = os.getloadavg()[0], time.time()
        for one in series:
            day.pacs.rest("/modalities/AILAB/store", method="POST", body=[one])
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until:
            done = works(day)
            if len(done) >= count and all(one.state in ("done", "failed", "held") for one in done):
                break
            time.sleep(0.5)
        wrong, (arrived, written, confirmed) = verdict(day, SIZE[0]), stamps(day)
        seconds = Counter()
        for one in works(day):
            seconds.update(one.told.get("seconds", {}))
    print(f"{count} studies of {'×'.join(map(str, SIZE[::-1]))}, {WORKERS} processes, load before {load:.1f}")
    print(f"sent and acknowledged in {arrived - began:.0f} s")
    print(f"from the last acknowledgement: worked on after {written - arrived:.1f} s (goal 20), "
          f"{' + '.join(RESULTS)} of all confirmed after {confirmed - arrived:.1f} s (goal 60)")
    print("seconds of all studies together: " + ", ".join(f"{name} {took:.1f}" for name, took in seconds.items()))
    print(*(wrong or ["every study is done, and its results are in the PACS once"]), sep="\n")
    shutil.rmtree(folder)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
