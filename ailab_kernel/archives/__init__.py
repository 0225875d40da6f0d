"""Image archives behind one protocol: a plain folder, or a PACS over DICOMweb or DIMSE.

``open_archive("folder:PATH")``, ``open_archive("dicomweb+https://host/dicom-web")`` or
``open_archive("dimse://AILAB@host:4242/PACS")``; then ``search_studies``, ``search_series``, ``retrieve``,
``retrieve_files``, ``store`` and ``delete`` mean the same everywhere.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .archive import Archive, Refused, Series, SeriesList, Stored, Studies, Study, open_archive, register
    from .dicomweb import DicomwebArchive
    from .dimse import DimseArchive
    from .folder import FolderArchive
    from .reindex import Reindexed

_ROOMS = {
    ".archive": ("Archive", "Refused", "Series", "SeriesList", "Stored", "Studies", "Study", "open_archive",
                 "register"),
    ".folder": ("FolderArchive",),
    ".dicomweb": ("DicomwebArchive",),
    ".dimse": ("DimseArchive",),
    ".reindex": ("Reindexed",),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = ["Archive", "DicomwebArchive", "DimseArchive", "FolderArchive", "Refused", "Reindexed", "Series",
           "SeriesList", "Stored", "Studies", "Study", "open_archive", "register"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name], __name__), name)
