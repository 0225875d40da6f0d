"""A sheet of A4: its fonts, its header with id and seal, its footer with the page's number."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos

SANS, MONO = "sans", "mono"
MARGIN, WIDTH, HEIGHT = 16.0, 210.0, 297.0     # mm, A4
TOP, BOTTOM = 24.0, 20.0
BODY = WIDTH - 2 * MARGIN
INK, SOFT, LINE, ACCENT = (28, 37, 48), (91, 103, 117), (217, 223, 230), (11, 110, 153)
GOOD, BAD, WASH, PAPER = (26, 127, 75), (179, 55, 46), (245, 247, 249), (255, 255, 255)
SIZE = 9.0                                     # pt
_FILES: Mapping[tuple[str, str], str] = {
    (SANS, ""): "DejaVuSans", (SANS, "B"): "DejaVuSans-Bold", (SANS, "I"): "DejaVuSans-Oblique",
    (MONO, ""): "DejaVuSansMono", (MONO, "B"): "DejaVuSansMono-Bold", (MONO, "I"): "DejaVuSansMono-Oblique",
}  # fmt: skip


@dataclass(frozen=True)
class Running:
    """What stands on every page.

    Attributes
    ----------
    title, id
        Of the report.
    seal
        Whether it is sealed, and how to check that.
    note
        At the foot of every page.
    when
        When the report came to its end, UTC.
    """

    title: str
    id: str
    seal: str
    note: str
    when: datetime


class Sheet(FPDF):
    """A document in the house style; equal content gives equal bytes."""

    def __init__(self, running: Running) -> None:
        super().__init__(format="A4", unit="mm")
        self.running = running
        for (family, style), name in _FILES.items():
            self.add_font(family, style, _font(name))
        self.set_title(f"{running.title} {running.id}")
        self.set_producer("AI-LAB")
        self.set_creation_date(running.when)
        self.set_lang("en")
        self.set_margins(MARGIN, TOP, MARGIN)
        self.set_auto_page_break(True, BOTTOM)
        self.c_margin = 0
        self.alias_nb_pages()
        self.add_page()

    def header(self) -> None:
        """Draw the running head."""
        self.set_xy(MARGIN, 9)
        self._small("B", ACCENT)
        self.cell(BODY / 3, 4, f"AI-LAB  {self.running.title}")
        self._small("", SOFT)
        self.cell(0, 4, self.running.id, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.cell(0, 4, self.running.seal, align="R")
        self.set_draw_color(*ACCENT)
        self.set_line_width(0.4)
        self.line(MARGIN, 19, WIDTH - MARGIN, 19)
        self.set_xy(MARGIN, TOP)

    def footer(self) -> None:
        """Draw the note and the number of the page."""
        self.set_xy(MARGIN, HEIGHT - 14)
        self._small("", SOFT)
        self.cell(BODY * 0.75, 4, self.running.note)
        self.cell(0, 4, f"page {self.page_no()} of {{nb}}", align="R")

    @property
    def left_on_page(self) -> float:
        """How much of the page is still free, mm."""
        return HEIGHT - BOTTOM - self.get_y()

    def need(self, height: float) -> None:
        """Begin a new page unless so much of this one is free, mm."""
        if self.left_on_page < height and self.get_y() > TOP:
            self.add_page()

    def _small(self, style: str, color: tuple[int, int, int]) -> None:
        self.set_font(SANS, style, 7.5)
        self.set_text_color(*color)


def _font(name: str) -> Path:
    """A font that comes with matplotlib: a report looks alike on every machine, without the system's fonts."""
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
