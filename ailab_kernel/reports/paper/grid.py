"""Tables on paper: columns as wide as their words, none cut; a row too tall for what is left goes on in another."""

from collections.abc import Sequence
from dataclasses import dataclass

from fpdf.enums import MethodReturnValue, TableBordersLayout, WrapMode
from fpdf.fonts import FontFace

from .sheet import BAD, BODY, GOOD, INK, LINE, SANS, SOFT, Sheet

_SIZES = (8.5, 7.5, 6.8)                       # pt, the largest that fits
_PAD = 1.3                                     # mm beside a text
_LONGEST_WORD = 18                             # letters; longer ones (digests) may be broken
_TALLEST = 40                                  # lines of a row, so that it fits on any page
_FIRST = 7                                     # lines that a table needs to begin on a page
_GAP = 3.0


@dataclass(frozen=True)
class Cell:
    """A cell's text; ``state`` is ``done``, ``failed`` or empty."""

    text: str
    head: bool = False
    state: str = ""


Row = Sequence[Cell]


def draw_table(sheet: Sheet, head: Sequence[Row], body: Sequence[Row]) -> None:
    """Draw a table at the place where the sheet is; its head is repeated on every page.

    Parameters
    ----------
    sheet
        Where to.
    head, body
        Rows; short ones are filled up.
    """
    columns = max((len(row) for row in (*head, *body)), default=0)
    if not columns:
        return
    whole = [[*row, *(Cell("") for _ in range(columns - len(row)))] for row in (*head, *body)]
    size, widths = _widths(sheet, whole)
    line = size * 0.48
    sheet.need(line * _FIRST)
    sheet.set_font(SANS, "", size)
    sheet.set_draw_color(*LINE)
    sheet.set_line_width(0.2)
    rows = [*whole[:len(head)], *(part for row in whole[len(head):] for part in _parts(sheet, row, widths))]
    with sheet.table(
        col_widths=widths, width=sum(widths), align="LEFT", text_align="LEFT", line_height=line, v_align="TOP",
        borders_layout=TableBordersLayout.HORIZONTAL_LINES, padding=(0.8, _PAD, 0.8, _PAD), wrapmode=WrapMode.WORD,
        first_row_as_headings=bool(head), num_heading_rows=len(head), headings_style=_face(Cell("", head=True), size),
    ) as drawn:  # fmt: skip
        for row in rows:
            line_of = drawn.row()
            for cell in row:
                line_of.cell(cell.text, style=_face(cell, size))
    sheet.ln(_GAP)


def _face(cell: Cell, size: float) -> FontFace:
    color = {"done": GOOD, "failed": BAD}.get(cell.state, SOFT if cell.head else INK)
    return FontFace(family=SANS, emphasis="B" if cell.head or cell.state else "", size_pt=size, color=color)


def _widths(sheet: Sheet, rows: Sequence[Row]) -> tuple[float, list[float]]:
    """Size of the letters, and width of each column, mm: by its longest word, and the rest by its longest text."""
    for size in _SIZES:
        least, most = _extent(sheet, rows, size)
        if sum(most) <= BODY:
            return size, most
        if sum(least) <= BODY:
            break
    else:
        return size, [BODY * one / sum(least) for one in least]
    wanted = [min(high, BODY) - low for low, high in zip(least, most, strict=True)]
    spare = (BODY - sum(least)) / sum(wanted)
    return size, [low + spare * more for low, more in zip(least, wanted, strict=True)]


def _extent(sheet: Sheet, rows: Sequence[Row], size: float) -> tuple[list[float], list[float]]:
    """Widths below which a word of a column would be broken, and above which none of its texts is."""
    least, most = ([2 * _PAD] * len(rows[0]) for _ in range(2))
    for row in rows:
        for number, cell in enumerate(row):
            sheet.set_font(SANS, "B" if cell.head or cell.state else "", size)
            words = [sheet.get_string_width(word[:_LONGEST_WORD]) for word in cell.text.split()]
            least[number] = max(least[number], max(words, default=0.0) + 2 * _PAD + 0.6)
            most[number] = max(most[number], sheet.get_string_width(cell.text) + 2 * _PAD + 0.6, least[number])
    return least, most


def _parts(sheet: Sheet, row: Row, widths: Sequence[float]) -> list[Row]:
    """A row as one or several rows, none taller than fits on a page."""
    lines = [_lines(sheet, cell, width) for cell, width in zip(row, widths, strict=True)]
    tallest = max(map(len, lines))
    if tallest <= _TALLEST:
        return [row]
    return [[Cell(" ".join(found[start:start + _TALLEST]), cell.head, cell.state)
             for found, cell in zip(lines, row, strict=True)] for start in range(0, tallest, _TALLEST)]  # fmt: skip


def _lines(sheet: Sheet, cell: Cell, width: float) -> list[str]:
    if not cell.text:
        return [""]
    found = sheet.multi_cell(width - 2 * _PAD, text=cell.text, dry_run=True, output=MethodReturnValue.LINES)
    return found if isinstance(found, list) else [cell.text]
