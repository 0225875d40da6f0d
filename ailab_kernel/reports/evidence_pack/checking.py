"""A pack opened and checked, without unpacking it: bounded, and nothing in it is run."""

import zipfile
from pathlib import Path

from ailab_kernel.ground.errors import ReportError

from .verify import verify

_MOST_FILES, _MOST_BYTES = 20_000, 4 << 30


def check_evidence(pack: Path, *, fingerprint: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what an evidence pack says of itself, and what is wrong with it; the latter empty when it is whole.

    Parameters
    ----------
    pack
        The zip.
    fingerprint
        Of the key that must have signed it; empty: of any.

    Raises
    ------
    ReportError
        Not a zip, or one that is too large.
    """
    try:
        with zipfile.ZipFile(pack) as members:
            listed = [one for one in members.infolist() if not one.is_dir()]
            if len(listed) > _MOST_FILES or sum(one.file_size for one in listed) > _MOST_BYTES:
                msg = f"{pack.name} unpacks to more than an evidence pack holds; nothing was read"
                raise ReportError(msg)
            names = [one.filename.partition("/")[2] or one.filename for one in listed]
            twice = {name for name in names if names.count(name) > 1}
            files = {name: members.read(one) for name, one in zip(names, listed, strict=True)}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        msg = f"{pack.name} is no zip that can be read ({type(error).__name__}); give what ailab models evidence wrote"
        raise ReportError(msg) from None
    facts, findings = verify(files, fingerprint=fingerprint)
    return tuple(facts), (*findings, *(f"{name} is there twice" for name in sorted(twice)))
