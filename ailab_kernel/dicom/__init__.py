"""DICOM at the bottom: bounded parsing, codecs, codes and UIDs."""
