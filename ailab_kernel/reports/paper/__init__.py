"""A report on paper: the page as a PDF with page numbers, the report's id and its seal on every one."""

from .document import write_pdf

__all__ = ["write_pdf"]
