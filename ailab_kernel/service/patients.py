"""Where users are not isolated from the service's files, no patient's image passes: phantoms and de-identified only.

The hub says so (``AILAB_ISOLATION=none``): every server then runs as the same system user as this process, and what
this process may read, any kernel may read.
"""

from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset

from ailab_kernel.datasets.phantom_dicom import is_phantom
from ailab_kernel.dicom.parsing import read_header
from ailab_kernel.ground.errors import ArchiveRefused

VARIABLE = "AILAB_ISOLATION"
NONE = "none"


def without(files: Iterator[bytes | Path]) -> Iterator[bytes | Path]:
    """Yield PS3.10 files for as long as each is nobody's; ArchiveRefused at the first that is not."""
    for file in files:
        check(read_header(file))
        yield file


def check(ds: Dataset) -> None:
    """Raise ArchiveRefused unless the instance is a phantom's or says PatientIdentityRemoved (0012,0062) YES."""
    if is_phantom(ds) or ds.get("PatientIdentityRemoved") == "YES":
        return
    msg = (f"instance {ds.get('SOPInstanceUID', '')} may show a patient, and users are not isolated here; use "
           "phantoms, or run the hub so that each user has a system user of their own")  # fmt: skip
    raise ArchiveRefused(msg)
