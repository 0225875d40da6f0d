"""The page of a report becomes a PDF: what is in its HTML is drawn, piece by piece, and nothing else."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bs4 import BeautifulSoup, NavigableString, Tag
from PIL import Image, UnidentifiedImageError

from .grid import Cell, Row, draw_table
from .sheet import (
    ACCENT,
    BAD,
    BODY,
    BOTTOM,
    HEIGHT,
    INK,
    MARGIN,
    MONO,
    PAPER,
    SANS,
    SIZE,
    SOFT,
    TOP,
    WASH,
    Running,
    Sheet,
)

_HEADINGS: Mapping[str, tuple[float, float]] = {"h1": (20, 2), "h2": (13, 6), "h3": (10.5, 3), "h4": (9.5, 2)}
_BLOCKS = ["p", "pre", "table", "img", "ul", "ol", *_HEADINGS]
_BEGIN = 32.0                                  # mm of a table or a list that stay with what stands above it
_ROW = 6.0                                     # mm of a row of a table, about
_LINE = 0.52                                   # mm of a line per pt of its letters
_STYLES = {"b": "B", "strong": "B", "em": "I", "i": "I", "th": "B"}
_DOTS_PER_INCH = 110                           # of our figures
_MM = 25.4
_DATA = "data:image/png;base64,"


def write_pdf(html: str, *, manifest: Mapping[str, Any], note: str) -> bytes:
    """Return a PDF of a page; equal pages and manifests give equal bytes.

    Parameters
    ----------
    html
        The page that `render` wrote.
    manifest
        Title, id, state and end of the report.
    note
        For the foot of every page; may be empty.
    """
    done = manifest["state"] == "done"
    seal = f"its seal: ailab report verify {manifest['id']}" if done else "NOT SEALED: it failed"
    sheet = Sheet(Running(manifest["title"], manifest["id"], seal, note, datetime.fromisoformat(manifest["ended"])))
    _draw(sheet, _of(BeautifulSoup(html, "html.parser")))
    return bytes(sheet.output())


def _of(page: Tag) -> Tag:
    """The part of a page that is shown."""
    found = page.find("main")
    return found if isinstance(found, Tag) else page


def _draw(sheet: Sheet, parent: Tag) -> None:
    if "brand" in (parent.get("class") or ()):
        return                                 # it is in the running head
    for child in parent.children:
        if isinstance(child, Tag):
            _DRAWERS.get(child.name, _draw)(sheet, child)
        elif str(child).strip():
            _words(sheet, [(str(child).strip(), "", SANS)], SIZE)


def _heading(sheet: Sheet, tag: Tag) -> None:
    size, above = _HEADINGS[tag.name]
    text = _text(tag)
    sheet.ln(above)
    sheet.need(size * 0.45 + 1.5 + _followed_by(sheet, tag))
    if tag.name != "h4":
        sheet.start_section(text, level=max(0, int(tag.name[1]) - 2))
    sheet.set_font(SANS, "B", size)
    sheet.set_text_color(*INK)
    sheet.multi_cell(BODY, size * 0.45, text, align="L", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(1.5)


def _followed_by(sheet: Sheet, tag: Tag) -> float:
    """How much has to stand below a heading so that it is not alone: up to its first figure, table or list, mm."""
    room = 0.0
    for piece in tag.find_all_next(_BLOCKS, limit=8):
        if not isinstance(piece, Tag):
            continue
        if piece.name == "img":
            return room + _scaled(piece)[1]
        if piece.name not in {"p", *_HEADINGS}:
            return room + _BEGIN
        if piece.name in {"h1", "h2"}:
            break
        sheet.set_font(SANS, "", SIZE)
        room += (1 + sheet.get_string_width(_text(piece)) // BODY) * SIZE * _LINE + 1.5 if _text(piece) else 0.0
    return min(room, HEIGHT / 2)


def _paragraph(sheet: Sheet, tag: Tag) -> None:
    for picture in tag.find_all("img"):
        _picture(sheet, picture)
    runs = list(_runs(tag))
    if not any(text.strip() for text, *_ in runs):
        return
    kind = set(tag.get("class") or ())
    if kind & {"note", "failure"}:
        _note(sheet, runs, BAD if "failure" in kind else ACCENT)
    else:
        _words(sheet, runs, SIZE - 1.5 if "facts" in kind else SIZE, SOFT if "facts" in kind else INK)


def _note(sheet: Sheet, runs: Sequence[tuple[str, str, str]], color: tuple[int, int, int]) -> None:
    """A paragraph behind a bar."""
    sheet.need(12)
    sheet.set_left_margin(MARGIN + 4)
    sheet.set_x(MARGIN + 4)
    page, top = sheet.page_no(), sheet.get_y()
    _words(sheet, runs, SIZE - 0.5, SOFT)
    sheet.set_left_margin(MARGIN)
    sheet.set_x(MARGIN)
    sheet.set_draw_color(*color)
    sheet.set_line_width(0.8)
    begin = top if page == sheet.page_no() else TOP
    sheet.line(MARGIN + 0.5, begin, MARGIN + 0.5, max(sheet.get_y() - 1.5, begin))


def _words(
    sheet: Sheet, runs: Sequence[tuple[str, str, str]], size: float, color: tuple[int, int, int] = INK
) -> None:
    """Text with its styles, as one paragraph."""
    sheet.set_text_color(*color)
    for text, style, family in runs:
        sheet.set_font(family, style, size)
        sheet.write(size * _LINE, text)
    sheet.ln(size * _LINE + 1.5)


def _runs(tag: Tag) -> Iterator[tuple[str, str, str]]:
    """Text, style and family of each piece of a paragraph; a break is a new line."""
    for piece in tag.descendants:
        if isinstance(piece, Tag) and piece.name == "br":
            yield "\n", "", SANS
        elif isinstance(piece, NavigableString):
            above = {parent.name for parent in piece.parents}
            style = next((style for name, style in _STYLES.items() if name in above), "")
            yield _one_line(str(piece)), style, MONO if above & {"code", "pre"} else SANS


def _one_line(text: str) -> str:
    """Text as HTML means it: any white space is one space, except those that may not be broken."""
    words = " ".join(text.replace("\N{NO-BREAK SPACE}", "\0").split()).replace("\0", "\N{NO-BREAK SPACE}")
    return f"{' ' if text[:1].isspace() else ''}{words}{' ' if text[-1:].isspace() and words else ''}"


def _text(tag: Tag) -> str:
    return _one_line(tag.get_text(" " if tag.find("br") else "")).strip()


def _pre(sheet: Sheet, tag: Tag) -> None:
    sheet.set_font(MONO, "", 7.5)
    sheet.set_text_color(*INK)
    sheet.set_fill_color(*WASH)
    text = tag.get_text().strip("\n")
    sheet.need(min(3.7 * (text.count("\n") + 1) + 4, HEIGHT / 2))
    sheet.multi_cell(BODY, 3.7, text, align="L", fill=True, padding=2, new_x="LMARGIN",
                     new_y="NEXT")  # fmt: skip
    sheet.set_fill_color(*PAPER)
    sheet.ln(3)


def _list(sheet: Sheet, tag: Tag) -> None:
    for number, item in enumerate(tag.find_all("li", recursive=False), 1):
        mark = f"{number}. " if tag.name == "ol" else "• "
        _words(sheet, [(mark, "", SANS), *_runs(item)], SIZE)


def _table(sheet: Sheet, tag: Tag) -> None:
    rows = [(row, _row(row)) for row in tag.find_all("tr")]
    head = [cells for row, cells in rows if row.find_parent("thead")]
    draw_table(sheet, head, [cells for row, cells in rows if not row.find_parent("thead")])


def _end(sheet: Sheet, tag: Tag) -> None:
    """The foot of a report, whole on one page."""
    sheet.need(_ROW * len(tag.find_all("tr")) + _BEGIN)
    _draw(sheet, tag)


def _row(row: Tag) -> Row:
    cells = row.find_all(["td", "th"], recursive=False)
    return [Cell(_text(cell), cell.name == "th", _state(cell)) for cell in cells]


def _state(cell: Tag) -> str:
    marked = cell.find(class_="state") or cell
    return next((kind for kind in ("done", "failed") if kind in (marked.get("class") or ())), "")


def _picture(sheet: Sheet, tag: Tag) -> None:
    """A figure at its own size, or as large as the page lets it be."""
    data = _png(tag)
    if not data:
        return
    wide, tall = _scaled(tag)
    sheet.need(tall + 2)
    sheet.image(io.BytesIO(data), x=MARGIN, w=wide, h=tall)
    sheet.ln(3)


def _png(tag: Tag) -> bytes:
    """The bytes of an embedded picture; none where it is no picture that can be read."""
    source = str(tag.get("src", ""))
    data = base64.b64decode(source[len(_DATA):]) if source.startswith(_DATA) else b""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
    except (UnidentifiedImageError, OSError, SyntaxError):
        return b""
    return data


def _scaled(tag: Tag) -> tuple[float, float]:
    """Width and height of a picture on paper, mm."""
    data = _png(tag)
    if not data:
        return 0.0, 0.0
    with Image.open(io.BytesIO(data)) as picture:
        wide, tall = picture.size
    scale = min(_MM / _DOTS_PER_INCH, BODY / wide, (HEIGHT - TOP - BOTTOM - 2) / tall)
    return wide * scale, tall * scale


_DRAWERS: Mapping[str, Callable[[Sheet, Tag], None]] = {
    **dict.fromkeys(_HEADINGS, _heading), "p": _paragraph, "pre": _pre, "table": _table, "ul": _list, "ol": _list,
    "img": _picture, "footer": _end, "style": lambda *_: None, "script": lambda *_: None,
}  # fmt: skip
