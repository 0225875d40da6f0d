"""An executed notebook becomes one self-contained page: no script, no external address, nothing hidden in markup.

Two guards, each enough by itself: every piece of a notebook's HTML passes an allow-list, and the page's Content
Security Policy forbids scripts and every fetch.
"""

import base64
import html
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ailab_kernel.ground.store import atomic_write

from .report import PAGE, PAPER

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
NOTE = "Phantoms prove plumbing and statistics, not clinical value."
_TAGS = frozenset({
    "a", "b", "blockquote", "br", "caption", "code", "dd", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2",
    "h3", "h4", "hr", "i", "img", "li", "ol", "p", "pre", "small", "span", "strong", "sub", "sup", "table", "tbody",
    "td", "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=\s]+")
_SILENT_TAGS = ("script", "style", "iframe", "object", "embed", "template", "noscript", "svg", "math", "form")
# Papermill's own marks of a failure come with its name and links into code; the reason stands above everything.
_NOT_SHOWN = {"parameters", "injected-parameters", "papermill-error-cell-tag"}
_ENDED = {"done": "done", "failed": "failed"}


def render(notebook: Path, manifest: Mapping[str, Any], *, on_paper: bool = False) -> Path:
    """Write the page beside the executed notebook and return it; with ``on_paper`` a PDF of it, too.

    Parameters
    ----------
    notebook
        Executed ``.ipynb``.
    manifest
        Title, id, state, parameters and digests for head and foot.
    on_paper
        Whether there is to be a PDF beside it.
    """
    cells = json.loads(notebook.read_text(encoding="utf8"))["cells"]
    body = "\n".join(piece for cell in cells for piece in _cell(cell))
    failure = f'<p class="failure">Failed: {html.escape(manifest["reason"])}</p>' if manifest["reason"] else ""
    path = notebook.with_name(PAGE)
    whole = page(manifest["title"], head=_head(manifest), body=failure + body, foot=_foot(manifest))
    atomic_write(path, whole.encode())
    if on_paper:
        from .paper import write_pdf

        atomic_write(notebook.with_name(PAPER), write_pdf(whole, manifest=manifest, note=_note(manifest)))
    return path


def page(title: str, *, head: str, body: str, foot: str) -> str:
    """Return a whole page in the house style; ``head``, ``body`` and ``foot`` are trusted HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_style()}</style></head>"
        f'<body><main><header><div class="brand">AI-LAB</div>{head}</header>\n{body}\n'
        f"<footer>{foot}</footer></main></body></html>\n"
    )


def clean(markup: str) -> str:
    """Return markup with nothing but harmless tags, ``#`` links and embedded pictures left in it."""
    import bleach
    from bs4 import BeautifulSoup, ParserRejectedMarkup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bs4 wonders whether odd markup is XML, an address or a file's name
        try:
            soup = BeautifulSoup(markup, "html.parser")
        except ParserRejectedMarkup:
            return html.escape(markup)
    for tag in soup.find_all(_SILENT_TAGS):
        tag.decompose()
    return bleach.clean(str(soup), tags=_TAGS, attributes=_allowed, protocols={"data", "https"}, strip=True)


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "src":
        return tag == "img" and _PICTURE.fullmatch(value) is not None
    if name == "href":
        return tag == "a" and value.startswith("#")
    if name == "class":
        return value in {"note", "failure", "wide", "state done", "state failed"}
    return name in {"colspan", "rowspan", "alt", "title", "width"}


def _cell(cell: Mapping[str, Any]) -> Iterator[str]:
    """HTML of what a reader sees of a cell: prose and results, never code or the parameters."""
    if _NOT_SHOWN & set(cell["metadata"].get("tags", ())):
        return
    if cell["cell_type"] == "markdown":
        yield clean(_markdown(_text(cell["source"])))
    if cell["cell_type"] == "code":
        for output in cell.get("outputs", ()):
            yield from _output(output)


def _output(output: Mapping[str, Any]) -> Iterator[str]:
    kind, data = output["output_type"], output.get("data", {})
    if kind == "stream" and output["name"] == "stdout":
        yield f"<pre>{html.escape(_text(output['text']))}</pre>"
    elif "image/png" in data:
        yield _picture(_text(data["image/png"]))
    elif "text/html" in data:
        yield f'<div class="wide">{clean(_text(data["text/html"]))}</div>'
    elif "text/markdown" in data:
        yield clean(_markdown(_text(data["text/markdown"])))
    elif "text/plain" in data and kind == "execute_result":
        yield f"<pre>{html.escape(_text(data['text/plain']))}</pre>"


def _picture(encoded: str) -> str:
    """A picture is decoded and encoded again: what is no base64 becomes nothing."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        return ""
    return f'<p><img alt="figure" src="data:image/png;base64,{base64.b64encode(data).decode()}"></p>'


def _markdown(text: str) -> str:
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    return re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html_mistune(text))


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _head(manifest: Mapping[str, Any]) -> str:
    state, ended = html.escape(manifest["state"]), html.escape(manifest["ended"].replace("T", " ")[:16])
    told = f'<span class="state {_ENDED.get(state, "")}">{state}</span>'
    seal = f" · its seal: ailab report verify {html.escape(manifest['id'])}" if state == "done" else ""
    note = f'<p class="note">{NOTE}</p>' if _note(manifest) else ""
    return f'<p class="facts">{html.escape(manifest["id"])} · {told} · {ended} UTC{seal}</p>{note}'


def _note(manifest: Mapping[str, Any]) -> str:
    """What is said of phantoms, on a report about nothing else."""
    return NOTE if manifest["notes"].get("phantom") else ""


def _foot(manifest: Mapping[str, Any]) -> str:
    used = manifest["notes"].get("uses", {})
    made_from = {role: f"{one['ref']} ({one['digest'][:16]})" for role, one in used.items()}
    told = {key: value for key, value in manifest["parameters"].items() if not isinstance(value, list)}
    rows = {
        **made_from,
        "parameters": ", ".join(f"{key} = {value}" for key, value in told.items()),
        "code, lock": f"{manifest['code'][:16]}, {manifest['lock'][:16]}",
        "versions": ", ".join(f"{name} {number}" for name, number in manifest["versions"].items()),
        "took": f"{manifest['seconds']} s{_memory(manifest['notes'])}",
    }
    cells = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in rows.items())
    return f"<table>{cells}</table><p>{_again(manifest)}</p>"


def _again(manifest: Mapping[str, Any]) -> str:
    """How to run it again: only a finished report can be replayed."""
    if manifest["state"] != "done":
        return "The same command goes on from the finished cases."
    return f"Run again with <code>ailab report replay {html.escape(manifest['id'])}</code>."


def _memory(notes: Mapping[str, Any]) -> str:
    return f", at most {notes['peak_memory_mb']} MB" if "peak_memory_mb" in notes else ""


@cache
def _style() -> str:
    return (Path(__file__).parent / "page" / "style.css").read_text(encoding="utf8")
