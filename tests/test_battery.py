"""Long batteries: a seeded sample in every run, the full count with `make battery`; docs/reliability.md has the figures."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import DicomError
from ailab_kernel.ground.seal import Keys
from ailab_kernel.ground.sql_catalog import SqlCatalog
from ailab_kernel.ground.store import FolderStore
from tests.conftest import FULL_BATTERY
from tests.dicom.test_parsing import WHOLE

pytestmark = pytest.mark.battery


def mutant(random_):
    """A DICOM file with flipped bytes, a lie about a length, or its end cut off."""
    data = bytearray(WHOLE)
    for _ in range(random_.randint(1, 12)):
        data[random_.randrange(len(data))] = random_.randrange(256)
    if random_.random() < 0.3:
        place = random_.randrange(132, len(data) - 4)
        data[place : place + 4] = random_.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"])
    return bytes(data[: random_.randrange(len(data))]) if random_.random() < 0.3 else bytes(data)


@pytest.mark.timeout(1800)
def test_mutated_files_end_in_a_value_or_one_error():
    count, worst, refused = 20_000 if FULL_BATTERY else 600, 0.0, 0
    chance = random.Random(7)
    for _ in range(count):
        data, started = mutant(chance), time.perf_counter()
        try:
            read_dataset(data)
        except DicomError:
            refused += 1
        worst = max(worst, time.perf_counter() - started)
    sys.stdout.write(f"\n{count} mutated files: {refused} refused by name, 0 crashes, slowest {worst * 1000:.0f} ms\n")
    assert worst < 1.0


# Run in a process of its own: a decoder that crashes takes it along, and its memory can be compared with before.
_IMAGES = """
import random, re, sys, time
from pathlib import Path
from tests.volumes.hostile import attacks, images
from ailab_kernel.volumes.series import volumes_from_files
count, chance, bases = int(sys.argv[1]), random.Random(13), images()
for data in bases.values():
    assert volumes_from_files([data]).volumes
def memory(what):
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1024
Path("/proc/self/clear_refs").write_text("5")
before, worst, refused, read = memory("VmRSS"), 0.0, 0, 0
for data in attacks(bases, count, chance):
    started = time.perf_counter()
    found = volumes_from_files([data])
    worst = max(worst, time.perf_counter() - started)
    refused, read = refused + len(found.refused), read + len(found.volumes)
grown = memory("VmHWM") - before
print(count, refused, read, round(worst * 1000), round(grown))
"""


@pytest.mark.timeout(3600)
def test_mutated_images_in_every_syntax_end_in_a_volume_or_one_error():
    count = 10_000 if FULL_BATTERY else 400
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _IMAGES, str(count)], capture_output=True, text=True,
                          check=False, cwd=Path(__file__).parents[1])  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    total, refused, read, worst, grown = map(int, done.stdout.split())
    sys.stdout.write(f"\n{total} mutated images: {refused} refused, {read} read, slowest {worst} ms, {grown} MB more\n")
    assert worst < 1000
    assert grown < 256


def _open(folder):
    return SqlCatalog(f"sqlite:///{folder}/catalog.sqlite", store=FolderStore(folder / "objects"),
                      keys=Keys(folder / "keys"), lock=folder / "lock")  # fmt: skip


def _write(folder, start, acknowledged):
    """Append records for ever, and say of each, after it was acknowledged, that it was."""
    catalog = _open(folder)
    number = start
    while True:
        digest = catalog.put(str(number).encode())
        catalog.append("result", {"n": number, "object": digest}, name="battery")
        os.write(acknowledged, number.to_bytes(8, "little"))
        number += 1


@pytest.mark.timeout(1800)
def test_kills_lose_nothing_that_was_acknowledged(tmp_path):
    kills, told = 200 if FULL_BATTERY else 6, set()
    chance = random.Random(11)
    for number in range(kills):
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        process = multiprocessing.get_context("fork").Process(target=_write, args=(tmp_path, number * 100_000, writer))
        process.start()
        os.close(writer)
        time.sleep(chance.uniform(0.05, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        told |= {int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data) - len(data) % 8, 8)}
    catalog = _open(tmp_path)
    kept = {record.body["n"]: record.body["object"] for record in catalog.query("result")}
    lost = told - set(kept)
    torn = [number for number, digest in kept.items() if catalog.get(digest) != str(number).encode()]
    versions = [record.version for record in catalog.query("result")]
    sys.stdout.write(f"\n{kills} kills: {len(told)} acknowledged, {len(lost)} lost, {len(torn)} torn\n")
    assert not lost
    assert not torn
    assert len(versions) == len(set(versions))
