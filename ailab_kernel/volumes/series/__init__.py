"""From slices to volumes: grouped, sorted and checked by geometry; what does not fit is refused by name.

`volume_from_files` and `volume_from_datasets` read one volume or say why there is none; `volumes_from_files` and
`volumes_from_folder` read every volume there is, and set aside the rest with the reason.
"""

from .headers import attributes_of
from .reading import (
    Found,
    Refused,
    volume_from_datasets,
    volume_from_files,
    volumes_from_files,
    volumes_from_folder,
)

__all__ = ["Found", "Refused", "attributes_of", "volume_from_datasets", "volume_from_files", "volumes_from_files",
           "volumes_from_folder"]  # fmt: skip
