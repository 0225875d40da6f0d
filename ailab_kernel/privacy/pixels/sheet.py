"""The contact sheet: frames before and after, and every text with its fate, for a person to review.

One file that loads nothing. It shows what was burned in: it stays on the clinical side.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from .boxes import Box
from .redact import Redaction, View

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 84rem; padding: 0 1rem }
article { border-top: 1px solid #8886; padding: .5rem 0 1.5rem } h2 { font-size: 1rem; overflow-wrap: anywhere }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { font-size: .85rem } .shot { position: relative; line-height: 0 }
.shot img, .shot svg { width: 100% } .shot svg { position: absolute; inset: 0; height: 100% }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke } .goes { stroke: #e5484d }
.stays { stroke: #30a46c; stroke-dasharray: 5 3 }
table { border-collapse: collapse; font-size: .9rem; margin-top: .6rem }
td, th { text-align: left; padding: .15rem .8rem .15rem 0 } .held { font-weight: 600; color: #e5484d }
.mark { font-weight: 600 }
"""
_MOST = 60                                     # rows of a table; the rest is counted


@dataclass(frozen=True)
class Entry:
    """One object on the sheet.

    Attributes
    ----------
    name
        What a person finds it by: its UID.
    redaction
        What became of it, made with ``pictures``.
    """

    name: str
    redaction: Redaction = field(repr=False)


def contact_sheet(entries: Iterable[Entry], *, title: str = "Burned-in text") -> str:
    """Return the sheet as HTML; objects that nobody looked at are counted, not shown.

    Parameters
    ----------
    entries
        In the order of the sheet; held ones come first.
    title
        Its headline.
    """
    listed = sorted(entries, key=lambda entry: not entry.redaction.held)
    shown = [entry for entry in listed if entry.redaction.looked or entry.redaction.held]
    masked = sum(bool(entry.redaction.boxes) for entry in shown)
    held = sum(bool(entry.redaction.held) for entry in shown)
    counts = f"{len(listed)} objects: {masked} masked, {held} held, {len(listed) - len(shown)} cleared by rules."
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
            f"<h1>{escape(title)}</h1><p>{counts}</p>"
            "<p><strong>Shows patients' data: for the clinical side only.</strong> "
            "A red box is masked, a green one stays.</p>"
            f"{''.join(_article(entry) for entry in shown)}</body></html>")  # fmt: skip


def _article(entry: Entry) -> str:
    made = entry.redaction
    held = f'<p class="held">Held: {escape(made.held)}.</p>' if made.held else ""
    said = f"{made.risk.why}; {made.read} frames read, {made.masked} masked"
    pairs = "".join(_pair(view, made) for view in made.views)
    return (f"<article><h2>{escape(entry.name)}</h2>{held}<p>{escape(said)}.</p>{pairs}{_table(made)}</article>")


def _pair(view: View, made: Redaction) -> str:
    goes = made.boxes.get(view.frame, ())
    stays = tuple(one.text.box for one in made.found if one.frame == view.frame and not one.fate.goes)
    boxes = _boxes({"goes": goes, "stays": stays}, view.shape)
    return (f'<div class="pair">{_figure(view.before, f"Frame {view.frame + 1}, before", boxes)}'
            f'{_figure(view.after, f"Frame {view.frame + 1}, after", "")}</div>')  # fmt: skip


def _figure(png: bytes, caption: str, over: str) -> str:
    picture = f'<img alt="{caption}" src="data:image/png;base64,{b64encode(png).decode()}">'
    return f'<figure><div class="shot">{picture}{over}</div><figcaption>{caption}</figcaption></figure>'


def _boxes(kinds: Mapping[str, Iterable[Box]], shape: tuple[int, int]) -> str:
    drawn = "".join(f'<rect class="{kind}" x="{box.left}" y="{box.top}" width="{box.right - box.left}" '
                    f'height="{box.bottom - box.top}"/>' for kind, boxes in kinds.items() for box in boxes)  # fmt: skip
    return f'<svg viewBox="0 0 {shape[1]} {shape[0]}" preserveAspectRatio="none">{drawn}</svg>'


def _table(made: Redaction) -> str:
    if not made.found:
        return "<p>No text was read.</p>" if made.read else ""
    rows = "".join(f"<tr><td>{one.frame + 1}</td><td>{escape(one.text.words)}</td><td>{one.text.score:.2f}</td>"
                   f'<td class="mark">{"masked" if one.fate.goes else "kept"}</td><td>{escape(one.fate)}</td></tr>'
                   for one in made.found[:_MOST])  # fmt: skip
    more = f"<p>and {len(made.found) - _MOST} more.</p>" if len(made.found) > _MOST else ""
    return ("<table><thead><tr><th>Frame</th><th>Read</th><th>Sure</th><th></th><th>Why</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>{more}")  # fmt: skip
