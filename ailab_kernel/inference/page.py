"""One page for people beside SEG and SR: what was found, on which slices, by what. It names no patient."""

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

from ailab_kernel.models import Bundle
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.view import label_colors, pictures
from ailab_kernel.volumes.volume import Volume

if TYPE_CHECKING:
    from fpdf import FPDF

_WIDTH, _MARGIN = 210, 15                      # A4, mm
_BODY = _WIDTH - 2 * _MARGIN
_MOST_ROWS = 20
_GREY, _BLACK, _RED = (90, 90, 90), (0, 0, 0), (170, 40, 0)
Paragraph = tuple[int, str, tuple[int, int, int], str]
_WARNING = "Found by a program. Nobody has looked at it: check it on the images before you rely on it."


def summary_page(mask: Mask, vol: Volume, *, bundle: Bundle, provenance: Provenance) -> bytes:
    """Return a PDF of one page; equal results and provenance give equal bytes.

    Parameters
    ----------
    mask
        On the grid of ``vol``.
    vol
        The source series.
    bundle
        The model.
    provenance
        Of the SEG and the SR beside it.
    """
    from fpdf import FPDF

    pdf = FPDF(format="A4", unit="mm")
    pdf.set_creation_date(provenance.when)
    pdf.set_producer("AI-LAB")
    pdf.set_title(_latin(f"AI-LAB {bundle.ref}"))
    pdf.set_margin(_MARGIN)
    pdf.c_margin = 0
    pdf.set_auto_page_break(False)
    pdf.add_page()
    _lines(pdf, ((16, "B", _BLACK, bundle.metadata.get("task") or bundle.name),
                 (10, "", _GREY, f"AI-LAB, model {bundle.ref}, {provenance.when:%Y-%m-%d %H:%M} UTC"),
                 (10, "B", _RED, _WARNING)))  # fmt: skip
    _planes(pdf, mask, vol)
    _table(pdf, mask)
    said = ((key, bundle.metadata.get(key, "")) for key in ("intended_use", "limits"))
    _lines(pdf, (*((9, "", _BLACK, f"{key.replace('_', ' ').capitalize()}: {text}") for key, text in said if text),
                 (8, "", _GREY, f"Series {vol.series_uid}"),
                 (8, "", _GREY, f"Model digest {bundle.digest}")))  # fmt: skip
    return bytes(pdf.output())


def _latin(text: str) -> str:
    """What the page's own fonts can write; everything else as a question mark."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _lines(pdf: "FPDF", rows: Iterable[Paragraph]) -> None:
    """Paragraphs of size (pt), style, colour and text."""
    for size, style, color, text in rows:
        pdf.set_font("Helvetica", style, size)
        pdf.set_text_color(*color)
        pdf.multi_cell(_BODY, size * 0.5, _latin(text), new_x="LMARGIN", new_y="NEXT")
        pdf.ln(1)


def _planes(pdf: "FPDF", mask: Mask, vol: Volume) -> None:
    """The planes side by side, each with its slice below."""
    shown = pictures(vol, mask)
    gap, top, bottom = 3, pdf.get_y() + 2, 0.0
    width = (_BODY - gap * (len(shown) - 1)) / len(shown)
    pdf.set_font("Helvetica", "", 8)
    pdf.set_text_color(*_GREY)
    for number, one in enumerate(shown):
        left = _MARGIN + number * (width + gap)
        drawn = pdf.image(BytesIO(one.png), x=left, y=top, w=min(width, 110))
        end = top + drawn.rendered_height
        pdf.set_xy(left, end + 1)
        pdf.cell(width, 4, _latin(one.name))
        bottom = max(bottom, end + 7)
    pdf.set_xy(_MARGIN, bottom)


def _table(pdf: "FPDF", mask: Mask) -> None:
    """Each label with its colour, volume in ml and code; the largest first."""
    volumes, colors = mask.volumes_ml(), label_colors(mask)
    rows = sorted(mask.labels, key=lambda label: -volumes[label.name])
    for label in rows[:_MOST_ROWS]:
        pdf.set_fill_color(*colors[label.index])
        pdf.rect(_MARGIN, pdf.get_y() + 1.2, 3.2, 3.2, style="F")
        pdf.set_x(_MARGIN + 6)
        code = f"{label.code.meaning} ({label.code.value}, {label.code.scheme})"
        cells = ((60, "B", label.name), (34, "", f"{volumes[label.name]:.1f} ml"), (0, "", code))
        for width, style, text in cells:
            pdf.set_font("Helvetica", style, 10)
            pdf.set_text_color(*_BLACK)
            pdf.cell(width, 6, _latin(text))
        pdf.ln(6)
    _lines(pdf, ((9, "", _GREY, f"and {len(rows) - _MOST_ROWS} more labels"),) if len(rows) > _MOST_ROWS else ())
    pdf.ln(2)
