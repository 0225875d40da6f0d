"""Pages: what an attacker writes stays text; what a report shows stays readable. Read by a parser and by a browser."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.reports.render import clean, render

from .payloads import PAYLOADS, TARGET

ALIVE = {"script", "iframe", "object", "embed", "form", "link", "base", "svg", "math", "template", "input", "video", "audio"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MANIFEST = {
    "id": "plain-12345678", "title": "A <report>", "state": "done", "reason": "", "ended": "2026-01-02T03:04:05+00:00",
    "seconds": 3.2, "parameters": {"who": "<script>hit()</script>", "series": ["1.2"]}, "code": "c" * 64, "lock": "d" * 64,
    "versions": {"torch": "2"}, "notes": {"uses": {"model": {"ref": "<img src=x onerror=hit()>", "digest": "a" * 64}}},
}  # fmt: skip


class Danger(HTMLParser):
    """Collects everything in a page that could run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in ALIVE:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            own = (name == "href" and (value or "").startswith("#")) or (name == "src" and (value or "").startswith("data:image/png"))
            if name.startswith("on") or name in {"style", "srcset", "ping", "background", "poster", "action", "srcdoc"}:
                self.found.append(f"{tag} {name}")
            if name in {"href", "src", "data", "xlink:href"} and not own:
                self.found.append(f"{tag} {name}={value}")


def danger(markup: str) -> list[str]:
    parser = Danger()
    parser.feed(markup)
    parser.close()
    return parser.found


def book(tmp_path: Path, *outputs: dict, prose: str = "# Title") -> Path:
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell(prose), nbformat.v4.new_code_cell("secret_code()", outputs=list(outputs))])  # fmt: skip
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    return path


def shown(mime: str, data: str) -> dict:
    return nbformat.v4.new_output("display_data", {mime: data})


def hostile(tmp_path: Path) -> Path:
    """A page with every payload in every kind of output, in prose and in the manifest."""
    outputs = [out for payload in PAYLOADS for out in (
        shown("text/html", payload), shown("text/markdown", payload), shown("text/plain", payload),
        nbformat.v4.new_output("stream", name="stdout", text=payload + "\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": payload}), shown("image/png", payload),
        shown("image/svg+xml", payload), shown("application/javascript", "hit()"))]  # fmt: skip
    manifest = {**MANIFEST, "title": PAYLOADS[0], "id": PAYLOADS[1], "state": PAYLOADS[2], "reason": PAYLOADS[30],
                "notes": {"uses": {PAYLOADS[3]: {"ref": PAYLOADS[31], "digest": PAYLOADS[32]}}, "phantom": True}}  # fmt: skip
    return render(book(tmp_path, *outputs, prose="\n\n".join(PAYLOADS)), manifest)


def test_there_are_enough_payloads():
    assert len(set(PAYLOADS)) >= 200


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_nothing_that_runs_or_fetches_is_left(number):
    left = clean(PAYLOADS[number])
    assert danger(left) == []
    assert "<script" not in left.lower()
    assert clean(left) == left, "clean markup stays as it is"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*PAYLOADS, "<", ">", '"', "'", "<!--", "-->", "</style>", "<table>", "<p>", "&lt;", "\0"]), max_size=5))
def test_mixed_payloads_too(pieces):
    assert danger(clean("".join(pieces))) == []


def test_a_whole_page_holds_nothing_that_runs_or_fetches(tmp_path):
    page = hostile(tmp_path).read_text()
    assert danger(page) == []
    assert "<script" not in page.lower()
    assert page.count("Content-Security-Policy") == 1
    assert "default-src 'none'" in page


def test_harmless_markup_stays():
    kept = '<h2>T</h2><p class="note">a <b>b</b> <a href="#x">c</a></p><table><tbody><tr><td colspan="2">1 &lt; 2</td></tr></tbody></table>'
    assert clean(kept) == kept
    picture = f'<img alt="p" src="data:image/png;base64,{PIXEL}">'
    assert clean(picture) == picture


def test_what_a_reader_sees(tmp_path):
    table = "<div><style scoped>.x{}</style><table border='1' class='dataframe'><tr><td>7</td></tr></table></div>"
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="Mustermann", traceback=["Mustermann"])
    page = render(book(tmp_path, shown("text/html", table), shown("image/png", PIXEL), error,
                       nbformat.v4.new_output("stream", name="stderr", text="a warning"),
                       nbformat.v4.new_output("execute_result", {"text/plain": "'<7>'"}),
                       prose="# Title\nwith *stress* and `code` and 1 < 2"), MANIFEST).read_text()  # fmt: skip
    for wanted in ("<td>7</td>", PIXEL, "&lt;7&gt;", "<em>stress</em>", "<code>code</code>", "1 &lt; 2", "A &lt;report&gt;",
                   "ailab report replay plain-12345678", "2026-01-02 03:04 UTC", "3.2 s"):  # fmt: skip
        assert wanted in page
    for hidden in ("secret_code", "Mustermann", "a warning", "scoped", "¶", "anchor-link"):
        assert hidden not in page
    assert "Phantoms prove" not in page


def test_phantoms_are_named(tmp_path):
    page = render(book(tmp_path), {**MANIFEST, "notes": {"phantom": True}}).read_text()
    assert "Phantoms prove plumbing and statistics, not clinical value." in page


def test_a_failure_is_told_above_everything(run, tmp_path):
    from ailab_kernel.ground.errors import ReportFailed
    from ailab_kernel.reports import list_reports

    with pytest.raises(ReportFailed):
        run("fails")
    page = list_reports(tmp_path)[0].html.read_text()
    text = re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S)
    assert page.index("Failed: ") < page.index("The same command goes on")
    assert "report replay" not in page
    assert "series 1.2.3 has a gap" in text
    assert "using papermill" not in text
    assert "? MB" not in text
    assert "An Exception was encountered" not in text
    assert "Traceback" not in text


def test_an_attackers_parameter_stays_text_through_a_real_run(run):
    payload = "<script>hit()</script><img src=x onerror=hit()>"
    page = run("hostile", {"payload": payload}).html.read_text()
    assert danger(page) == []
    assert "&lt;script&gt;hit()" in page


@pytest.fixture
def browser():
    """A real Chromium, offline: every request a page makes is written down and stopped."""
    program = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("policy", [True, False], ids=["with the policy", "cleaning alone"])
def test_in_a_browser_no_script_runs_and_no_request_leaves(browser, tmp_path, policy):
    path = hostile(tmp_path)
    if not policy:
        path.write_text(re.sub(r"<meta http-equiv=.*?>", "", path.read_text(), count=1))
    page, asked, hits = browser.new_page(), [], []
    page.expose_function("hit", lambda: hits.append(1))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: hits.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_timeout(1000)
    for link in page.query_selector_all("a")[:20]:
        link.evaluate("one => one.click()")
    page.mouse.move(200, 200)
    page.wait_for_timeout(300)
    assert hits == []
    assert {url.split("#")[0] for url in asked if not url.startswith("data:")} == {path.as_uri()}
    assert TARGET not in json.dumps([url for url in asked if not url.startswith("data:")])
    page.close()
