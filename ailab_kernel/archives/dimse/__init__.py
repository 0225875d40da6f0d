"""``dimse://``: a PACS over DIMSE (PS3.7), its associations, searches, stores and retrievals, through pynetdicom."""

from .pacs import DimseArchive, open_url

__all__ = ["DimseArchive", "open_url"]
