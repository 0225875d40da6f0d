"""A CT of 512×512×200 out of a real Orthanc, beside a raw GET: ``python -m benchmarks.imaging.retrieve``.

Every way brings the same 200 instances, byte for byte or voxel for voxel. Medians of interleaved runs; the ratio is
to the raw GET of the same bytes, which parses nothing. Orthanc is reached as the tests reach it, through a relay that
all ways share, so that the figures are to be compared with one another only.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset

from ailab_kernel.archives import Series, open_archive
from ailab_kernel.archives.archive import Archive
from ailab_kernel.volumes.series import volume_from_files
from tests.archives.samples import Sample, make
from tests.services import Orthanc, orthanc

RUNS = 7
SLICES, SIZE = 200, 512
CT = Sample("retrieve", "ct", slices=SLICES, size=SIZE)
SERIES = Series(CT.study_uid, CT.series_uid)
AS_STORED = (("application/dicom", "*"),)
BASE = "raw GET, nothing parsed (requests)"
ACCEPT = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*', "Accept-Encoding": "identity"}


@dataclass
class Setup:
    """A filled Orthanc, and what it holds."""

    server: Orthanc
    root: str
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def series_url(self) -> str:
        return f"{self.root}/studies/{CT.study_uid}/series/{CT.series_uid}"


@contextmanager
def filled() -> Iterator[Setup]:
    with tempfile.TemporaryDirectory() as folder, orthanc(Path(folder)) as server:
        stored = open_archive(server.url).store(make(CT))
        assert stored.stored == SLICES, stored
        yield Setup(server, server.url.removeprefix("dicomweb+"))


def raw_get(setup: Setup) -> bytes:
    return setup.session.get(setup.series_url, headers=ACCEPT).content


def raw_stream(setup: Setup) -> int:
    """The same bytes as they arrive, in blocks of a megabyte, none kept."""
    with setup.session.get(setup.series_url, headers=ACCEPT, stream=True) as answer:
        return sum(len(block) for block in iter(lambda: answer.raw.read(1 << 20), b""))


def getscu(setup: Setup) -> int:
    """To files, as it does; they are counted, not read back."""
    keys = (f"StudyInstanceUID={CT.study_uid}", f"SeriesInstanceUID={CT.series_uid}", "QueryRetrieveLevel=SERIES")
    with tempfile.TemporaryDirectory() as folder:
        command = ["getscu", "-S", "-aec", "ORTHANC", *(part for key in keys for part in ("-k", key)), "-od", folder,
                   "127.0.0.1", str(setup.server.dicom_port)]  # fmt: skip
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=os.environ | {"TCP_NODELAY": "1"})
        count = len(list(Path(folder).iterdir()))
    assert count == SLICES
    return count


def ways(setup: Setup) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    client = DICOMwebClient(setup.root, headers={"Accept-Encoding": "identity"})
    web, dimse = open_archive(setup.server.url), open_archive(setup.server.dimse)
    files = list(web.retrieve_files(SERIES))
    told = {"media_types": AS_STORED}
    found: dict[str, Callable[[], object]] = {
        BASE: lambda: raw_get(setup),
        "raw GET, streamed and dropped": lambda: raw_stream(setup),
        "dicomweb-client, list(iter_series)": lambda: list(client.iter_series(CT.study_uid, CT.series_uid, **told)),
        "dicomweb-client, retrieve_series": lambda: client.retrieve_series(CT.study_uid, CT.series_uid, **told),
        "AI-LAB dicomweb, retrieve_files": lambda: list(web.retrieve_files(SERIES)),
        "AI-LAB dicomweb, retrieve (data sets)": lambda: list(web.retrieve(SERIES)),
        "AI-LAB dicomweb, to a volume": lambda: volume_from_files(web.retrieve_files(SERIES)),
        "AI-LAB, bytes in memory to a volume": lambda: volume_from_files(files),
        "AI-LAB dimse, retrieve_files (C-GET)": lambda: list(dimse.retrieve_files(SERIES)),
    }
    if shutil.which("getscu"):
        found["dcmtk getscu, TCP_NODELAY=1, to files"] = lambda: getscu(setup)
    return found


def check(setup: Setup) -> None:
    """What the ways bring is what was sent."""
    sent = {ds.SOPInstanceUID: ds for ds in make(CT)}
    answer = raw_get(setup)
    web, dimse = open_archive(setup.server.url), open_archive(setup.server.dimse)
    for data in web.retrieve_files(SERIES):
        assert data in answer
    for archive in (web, dimse):
        assert pixels(archive) == {uid: sha256(ds.PixelData).hexdigest() for uid, ds in sent.items()}
    stack = np.stack([ds.pixel_array for ds in sorted(sent.values(), key=lambda ds: ds.InstanceNumber)])
    assert np.array_equal(volume_from_files(web.retrieve_files(SERIES)).array, stack)
    client = DICOMwebClient(setup.root)
    theirs: list[Dataset] = client.retrieve_series(CT.study_uid, CT.series_uid, media_types=AS_STORED)
    assert all(sent[ds.SOPInstanceUID].PixelData == ds.PixelData for ds in theirs)


def pixels(archive: Archive) -> dict[str, str]:
    return {ds.SOPInstanceUID: sha256(ds.PixelData).hexdigest() for ds in archive.retrieve(SERIES)}


def rows(runs: int = RUNS) -> list[dict]:
    """One row a way: ``way``, ``ms`` (median), ``min_ms``, ``ratio`` (median over the raw GET's)."""
    with filled() as setup:
        check(setup)
        timed: dict[str, list[float]] = {}
        todo = ways(setup)
        for _ in range(runs):
            for name, way in todo.items():
                began = time.perf_counter()
                kept = way()
                timed.setdefault(name, []).append((time.perf_counter() - began) * 1000)
                del kept
    medians = {name: statistics.median(times) for name, times in timed.items()}
    return [{"way": name, "ms": medians[name], "min_ms": min(times), "ratio": medians[name] / medians[BASE]}
            for name, times in timed.items()]  # fmt: skip


def main() -> None:
    print(f"{'way':<42}{'median ms':>10}{'least':>8}{'ratio':>7}")
    for row in rows():
        print(f"{row['way']:<42}{row['ms']:>10.0f}{row['min_ms']:>8.0f}{row['ratio']:>7.2f}")


if __name__ == "__main__":
    main()
