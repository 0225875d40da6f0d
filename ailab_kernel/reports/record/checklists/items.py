"""A checklist as data, and how it is filled from what a report knows: what it does not know is left to the site."""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

HERE, PART, SITE, NONE = "answered here", "answered in part", "to be filled by the site", "not applicable"
_NOT_KNOWN = "not known to this lab's records"
_TWO_STOPS = re.compile(r"(?<!\.)\.\.(?!\.)")


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes
    ----------
    number, asked
        The checklist's number, and what it asks in our own words.
    scope
        ``D``, ``E`` or ``D;E`` where the checklist tells development from evaluation.
    where
        Heading of the report's section.
    answer
        Sentences with ``{facts}``; a sentence of which a fact is not known is left out.
    site
        What only the site can say.
    na
        Why it does not apply.
    phantom
        The answer instead of ``answer`` and ``site`` where every test case is a phantom.
    """

    number: str
    asked: str
    scope: str = ""
    where: str = ""
    answer: tuple[str, ...] = ()
    site: str = ""
    na: str = ""
    phantom: str = ""

    @property
    def facts(self) -> frozenset[str]:
        """Names of the facts that its sentences speak of."""
        return frozenset(name for text in (*self.answer, self.phantom) for name in _names(text))


@dataclass(frozen=True)
class Line:
    """An item as it was filled: ``state`` is `HERE`, `PART`, `SITE` or `NONE`."""

    item: Item
    state: str
    answer: str

    @property
    def where(self) -> str:
        """Section that answers it, or who does."""
        if self.state == HERE:
            return self.item.where or "in this line"
        return f"{self.item.where}; the rest: site" if self.state == PART else self.state


@dataclass(frozen=True)
class Checklist:
    """A checklist: what it is, and its items in order."""

    title: str
    about: str
    items: tuple[Item, ...]

    def fill(self, facts: Mapping[str, str]) -> "Filled":
        """Return the checklist filled from facts; those that are empty or missing are not known."""
        return Filled(self, tuple(_line(item, facts) for item in self.items))


@dataclass(frozen=True)
class Filled:
    """A filled checklist; a table in a report."""

    checklist: Checklist
    lines: tuple[Line, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many items are in each state."""
        found = Counter(line.state for line in self.lines)
        return {state: found[state] for state in (HERE, PART, SITE, NONE)}

    def _repr_html_(self) -> str:
        scoped = any(line.item.scope for line in self.lines)
        told = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        head = ("no.", *(("D/E",) if scoped else ()), "asked", "where", "answer")
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _cells(line, scoped))}</tr>"
                       for line in self.lines)  # fmt: skip
        heads = "".join(f"<th>{cell}</th>" for cell in head)
        return (f"<p>{html.escape(self.checklist.about)}</p><p><b>{len(self.lines)} items: {told}.</b></p>"
                f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")  # fmt: skip


def _cells(line: Line, scoped: bool) -> tuple[str, ...]:
    return (line.item.number, *((line.item.scope,) if scoped else ()), line.item.asked, line.where, line.answer)


def told(sentences: Sequence[str], facts: Mapping[str, str]) -> str:
    """Return sentences with their facts as one text; those with a fact that is not known are left out."""
    return " ".join(_told(sentences, facts))


def _told(sentences: Sequence[str], facts: Mapping[str, str]) -> list[str]:
    return [_stopped(_filled(text, facts)) for text in sentences if all(facts.get(name) for name in _names(text))]


def _line(item: Item, facts: Mapping[str, str]) -> Line:
    if item.na:
        return Line(item, NONE, item.na)
    if item.phantom and facts.get("phantom"):
        return Line(item, HERE, _stopped(_filled(item.phantom, facts)))
    known = _told(item.answer, facts)
    unknown = len(known) < len(item.answer)
    left = item.site or (_NOT_KNOWN if unknown else "")
    if not known:
        return Line(item, SITE, _sentence(left or _NOT_KNOWN))
    rest = [f"To be filled by the site: {left}."] if left else []
    return Line(item, PART if left else HERE, " ".join((*known, *rest)))


def _names(text: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(text) if name]


def _filled(text: str, facts: Mapping[str, str]) -> str:
    """The text with its facts; a fact that ends as a sentence needs no second full stop."""
    return _TWO_STOPS.sub(".", text.format_map({name: facts.get(name, "") for name in _names(text)})).strip()


def _sentence(text: str) -> str:
    return _stopped(f"{text[:1].upper()}{text[1:]}")


def _stopped(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
