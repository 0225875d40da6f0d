"""The PDF of a report: every word of the page is in it, nothing is cut, id and seal on every page, equal bytes again."""

import base64
import io
import json
import re
import string
import time

import nbformat
import pytest
from PIL import Image
from pypdf import PdfReader

from ailab_kernel.ground.errors import ExitBlocked
from ailab_kernel.privacy.readable import chunks
from ailab_kernel.reports.paper import write_pdf
from ailab_kernel.reports.render import render
from ailab_kernel.reports.report import PAPER, Report, changed_files, sealed_files
from ailab_kernel.reports.run import run_report

from .payloads import PAYLOADS
from .test_render import MANIFEST, PIXEL
from .work import NOTEBOOKS

NOTE = "Phantoms prove plumbing and statistics, not clinical value."
A4 = (595.28, 841.89)
WORDS = ["boundary", "specificity", "0.8765", "(0.8412", "to", "0.9034)", "heart-wall", "mm", "myocardium"]


def page(*pieces: str) -> str:
    return f"<html><body><main><header><div class='brand'>AI-LAB</div><p class='facts'>x</p></header>{''.join(pieces)}</main></body></html>"


def read(html: str, *, note: str = NOTE, **manifest) -> tuple[bytes, PdfReader]:
    data = write_pdf(html, manifest={**MANIFEST, "title": "Validation", **manifest}, note=note)
    return data, PdfReader(io.BytesIO(data))


def text_of(pdf: PdfReader) -> str:
    return " ".join(" ".join(one.extract_text() for one in pdf.pages).split())


def picture(wide: int, tall: int) -> bytes:
    found = io.BytesIO()
    Image.new("L", (wide, tall), 128).save(found, "png")
    return found.getvalue()


def squeezed(text: str) -> str:
    """Without white space: where a line was broken says nothing."""
    return "".join(text.split())


def table(*rows, head=("metric", "value")) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead><tbody>{body}</tbody></table>"


def test_every_page_has_id_seal_number_and_note():
    _, pdf = read(page(*(f"<h2>Part {n}</h2><p>{'words ' * 400}</p>" for n in range(5))))
    assert len(pdf.pages) > 2
    for number, one in enumerate(pdf.pages, 1):
        told = one.extract_text()
        assert "plain-12345678" in told
        assert "its seal: ailab report verify plain-12345678" in told
        assert f"page {number} of {len(pdf.pages)}" in told
        assert NOTE in told
        assert tuple(map(float, one.mediabox[2:])) == pytest.approx(A4, abs=0.1)
    assert [one.title for one in pdf.outline] == [f"Part {n}" for n in range(5)]


def test_one_that_failed_says_so():
    _, pdf = read(page("<p>x</p>"), state="failed")
    assert "NOT SEALED: it failed" in pdf.pages[0].extract_text()


def test_equal_pages_give_equal_bytes_and_another_gives_others():
    html = page("<h1>A</h1><p>b <b>c</b> ≥ 0.8 × µ</p>", table(["a", "b"]), f'<p><img src="data:image/png;base64,{PIXEL}"></p>')
    first, _ = read(html)
    time.sleep(1.1)                                # the clock shows another second
    again, _ = read(html)
    other, _ = read(html.replace("0.8", "0.7"))
    assert first == again
    assert first != other


@pytest.mark.parametrize("columns", [1, 2, 5, 9, 14])
def test_no_column_is_cut_however_many_there_are(columns):
    """Every word of every cell is on the page, and no glyph lies beyond the margins."""
    rows = [[WORDS[(row + column) % len(WORDS)] for column in range(columns)] for row in range(6)]
    _, pdf = read(page(table(*rows, head=[f"head{string.ascii_letters[n]}" for n in range(columns)])))
    told = squeezed(text_of(pdf))
    assert all(word in told for row in rows for word in row)
    assert all(f"head{string.ascii_letters[n]}" in told for n in range(columns))
    places = []
    pdf.pages[0].extract_text(visitor_text=lambda text, _, at, *__: places.append(at[4]) if text.strip() else None)
    assert min(places) >= 0
    assert max(places) < A4[0] - 16 / 25.4 * 72


def test_a_long_table_repeats_its_head_and_a_tall_row_goes_on():
    long = " ".join(f"w{n}" for n in range(2500))
    _, pdf = read(page(table(*([f"row{n}", "x" * 30] for n in range(90)), ["tall", long], head=("metric", "value"))))
    told = text_of(pdf)
    assert all(f"row{n} " in told for n in range(90))
    assert re.findall(r"\bw(\d+)\b", told) == [str(n) for n in range(2500)], "in order, none lost, none twice"
    assert all("metric value" in " ".join(one.extract_text().split()) for one in pdf.pages)


def test_digests_and_unknown_letters_do_not_stop_it():
    digest = "0123456789abcdef" * 4
    _, pdf = read(page(table(["digest", digest, digest, digest], head=("a", "b", "c", "d")), "<p>" + "q" * 400 + "</p>"))
    assert squeezed(text_of(pdf)).count("q") >= 400


def test_pieces_of_a_page_come_in_their_order():
    _, pdf = read(page("<p class='failure'>Failed: x</p>", "<p>one <b>two</b> <code>three</code><br>four</p>",
                       "<ul><li>five</li><li>six <em>seven</em></li></ul>", "<pre>eight\n  nine</pre>",
                       "<div class='wide'><p class='note'>ten</p></div>", "<table><tr><th>eleven</th><td><b>twelve</b></td></tr></table>",
                       "<footer><p>thirteen</p></footer>", "fourteen"))  # fmt: skip
    told = text_of(pdf)
    words = ["Failed:", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen"]
    places = [told.index(word) for word in words]
    assert places == sorted(places)


def test_whatever_an_attacker_writes_is_words(tmp_path):
    outputs = [nbformat.v4.new_output("display_data", {mime: payload}) for payload in PAYLOADS
               for mime in ("text/html", "text/markdown", "image/png")]  # fmt: skip
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    nbformat.write(book, tmp_path / "notebook.ipynb")
    render(tmp_path / "notebook.ipynb", {**MANIFEST, "title": PAYLOADS[0], "id": PAYLOADS[1]}, on_paper=True)
    data = (tmp_path / PAPER).read_bytes()
    pdf = PdfReader(io.BytesIO(data))
    assert len(pdf.pages) > 1
    for word in (b"/JavaScript", b"/JS", b"/URI", b"/Launch", b"/GoToR", b"/EmbeddedFile"):
        assert word not in data


@pytest.fixture
def templates(tmp_path):
    """The fixture templates, one of them to be filed on paper."""
    folder = tmp_path / "templates"
    folder.mkdir()
    book = json.loads((NOTEBOOKS / "plain.ipynb").read_text())
    book["metadata"]["pdf"] = True
    (folder / "plain.ipynb").write_text(json.dumps(book))
    return folder


def made(tmp_path, environment, templates, **how) -> Report:
    return run_report(tmp_path, "plain", {}, resolved={}, seal=lambda _: "sealed", environment=environment,
                      templates=templates, **how)  # fmt: skip


def test_it_stands_beside_the_page_and_is_sealed_with_it(tmp_path, environment, templates):
    report = made(tmp_path, environment, templates)
    assert report.pdf == report.html.with_suffix(".pdf")
    assert PAPER in report.manifest["files"]
    assert changed_files(report) == ()
    told = text_of(PdfReader(report.pdf))
    assert report.id in told
    report.pdf.write_bytes(report.pdf.read_bytes() + b"%")
    assert changed_files(report) == (f"{PAPER} changed",)
    report.pdf.unlink()
    assert changed_files(report) == (f"{PAPER} is missing",)
    assert report.pdf is None


def test_a_heading_is_never_the_last_thing_on_a_page():
    """Whatever stands above it, a heading's table or figure begins on its page."""
    figure = f'<p><img src="data:image/png;base64,{base64.b64encode(picture(600, 500)).decode()}"></p>'
    for filler in range(0, 44, 4):
        for block, word in ((table(["alpha", "1"], ["beta", "2"]), "alpha"), (figure, None), ("<pre>alpha</pre>", "alpha")):
            _, pdf = read(page(f"<p>{'x<br>' * filler}</p><h2>Here</h2><p>told</p>", block))
            told = next(one for one in pdf.pages if "Here" in one.extract_text())
            assert word in told.extract_text() if word else len(told.images) == 1, filler


def test_a_template_without_it_makes_none(made):
    assert made.pdf is None
    assert PAPER not in sealed_files(made.folder)


def test_it_is_searched_before_it_is_shown(tmp_path, environment, templates):
    """What the guard is given can be read: a name on paper is found as one on the page is."""
    seen = {}

    def guard(what, parts):
        seen.update(parts)
        if PAPER in parts:
            text = " ".join(one.text for one in chunks(parts[PAPER].read_bytes(), PAPER))
            assert "page 1 of" in text
            msg = "it holds a name"
            raise ExitBlocked(msg)

    with pytest.raises(ExitBlocked):
        made(tmp_path, environment, templates, guard=guard)
    assert PAPER in seen
    assert not list((tmp_path / "reports").glob(f"*/{PAPER}")), "it was taken away"
