"""One de-identifier over a folder, in its own environment: ``python worker.py TOOL IN OUT``.

Runs in the peers' own environments, so it imports nothing of ours unless it is ours that runs. Outputs are numbered as
the sorted inputs are; the last line is JSON: seconds without imports, and how many files raised.
"""

import json
import logging
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ailab_kernel.privacy.scrub import Scrubber

One = Callable[[Path, Path], None]
KEY = bytes(range(32))


def ailab() -> One:
    scrubber = _scrubber()
    return lambda source, target: target.write_bytes(scrubber.scrub(source).file()) and None


def ailab_proven() -> One:
    """With the certificate: every value of the original searched in every byte of the output, and its SHA-256."""
    from ailab_kernel.privacy.verify import prove

    scrubber = _scrubber()

    def one(source: Path, target: Path) -> None:
        _, file, certificate = prove(scrubber, source.read_bytes())
        if certificate.clean:
            target.write_bytes(file)

    return one


def _scrubber() -> "Scrubber":
    """As ``ailab deidentify`` has it: pixels are looked at where its rules do not clear them."""
    from ailab_kernel.privacy.pixels.redact import Pixels, Redactor
    from ailab_kernel.privacy.rules.profile import profile_of
    from ailab_kernel.privacy.rules.standins import StandIns, keyed
    from ailab_kernel.privacy.scrub import Scrubber

    return Scrubber(profile_of("research"), StandIns(keyed(KEY)), pixels=Redactor(Pixels.DETECT))


def dicom_anonymizer() -> One:
    from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file

    return lambda source, target: anonymize_dicom_file(str(source), str(target))


def dicognito() -> One:
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer(seed="benchmark")

    def one(source: Path, target: Path) -> None:
        ds = pydicom.dcmread(source)
        anonymizer.anonymize(ds)
        ds.save_as(target)

    return one


def deid() -> One:
    from deid.dicom import get_identifiers, replace_identifiers

    def one(source: Path, target: Path) -> None:
        found = get_identifiers([str(source)])
        (made,) = replace_identifiers([str(source)], ids=found, save=True, output_folder=str(target.parent),
                                      overwrite=True)  # fmt: skip
        if Path(made) != target:
            shutil.move(made, target)

    return one


def dcm_anonymizer() -> One:
    from dcm_anon import UIDMapper, anonymize_file

    mapper = UIDMapper("benchmark")
    return lambda source, target: anonymize_file(source, target, mapper) and None


TOOLS: dict[str, Callable[[], One]] = {
    "AI-LAB": ailab, "AI-LAB, proven": ailab_proven, "dicom-anonymizer": dicom_anonymizer, "dicognito": dicognito,
    "deid": deid, "dcm-anonymizer": dcm_anonymizer,
}  # fmt: skip


def main() -> None:
    """De-identify every file below a folder."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    name, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    one, raised = TOOLS[name](), []
    files = sorted(path for path in source.rglob("*") if path.is_file())
    one(files[0], target / "warm.dcm")
    started, used = time.perf_counter(), time.process_time()
    for number, path in enumerate(files):
        try:
            one(path, target / f"{number:05d}.dcm")
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way
            raised.append(f"{path.name}: {type(error).__name__}: {error}"[:120])
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used, "raised": raised}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
