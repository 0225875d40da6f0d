"""The pack's first page, for somebody who reads no code: what is shown, what is not, and where it can be checked."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ailab_kernel.models.acceptance import REVOKED
from ailab_kernel.reports.render import page

from .collecting import Gathered

_NONE = "none"
_LINES = 40                                    # of the trail
_FIGURES = 24                                  # the report's own page has them all


def first_page(found: Gathered, *, lab: str, fingerprint: str, made_at: str) -> str:
    """Return ``index.html``.

    Parameters
    ----------
    found
        What was gathered.
    lab, fingerprint
        Who made the pack, and of the key that signed it.
    made_at
        UTC, ISO 8601.
    """
    who = html.escape(lab or "a lab without a name")
    head = f'<p class="facts">Evidence pack of {who}, {html.escape(made_at.replace("T", " ")[:16])} UTC</p>'
    body = "".join((
        f"<h1>{html.escape(found.ref)}</h1>", _summary(found),
        "<h2>1. Inventory: what it is and where it is used</h2>", _facts(found.inventory),
        '<p>Its card is <a href="card.md">card.md</a>, its record <a href="model.json">model.json</a>.</p>',
        "<h2>2. Acceptance: what it had to show, and showed</h2>", _acceptance(found),
        "<h2>3. Monitoring: is it still good</h2>", _monitoring(found),
        "<h2>4. Stop rules: who let it run, and who stopped it</h2>", _stops(found),
        "<h2>5. What it was made from</h2>",
        _table(found.made_from, nothing="Nothing is recorded: it came from outside."),
        "<h2>6. Run again</h2>", _replays(found),
        "<h2>7. Audit trail</h2>", f"<p>{html.escape(found.trail_said)}</p>", _trail(found),
        "<h2>8. How to check this pack</h2>", _check(fingerprint),
    ))  # fmt: skip
    return page(f"Evidence for {found.ref}", head=head, body=body, foot=f"<p>{html.escape(_LIMITS)}</p>")


_LIMITS = ("The page repeats what the lab's ledger holds; a signature shows that it was not changed since, not that it "
           "is true. Nothing here names a patient.")  # fmt: skip


def _summary(found: Gathered) -> str:
    """What is asked of whoever runs AI (ARCH-AI, ACR-SIIM practice parameter), and whether something is here."""
    passed = sum(one["intact"] and _passed(one["gate"]) is True for one in found.acceptance)
    same = sum(bool(one["identical"]) for one in found.replays)
    rows = (
        ("Inventory", found.inventory["in use as"], 1),
        ("Acceptance test on local data",
         f"{len(found.acceptance)} sealed validation report(s), {passed} passed the gate" if found.acceptance
         else "NO: this lab has not validated the model", 2),
        ("Monitoring", f"{len(found.monitoring)} entries" if found.monitoring
         else "NO evidence: nothing watched it yet", 3),
        ("Rules to stop it, and who did", f"{len(found.history)} move(s) of aliases, with reasons; "
         f"{sum(map(_is_stop, found.history))} stop(s)", 4),
        ("Can its results be reproduced", f"{same} of {len(found.replays)} replays identical" if found.replays
         else "not tried yet (ailab report replay)", 6),
    )  # fmt: skip
    return _table([{"asked": asked, "here": here, "section": section} for asked, here, section in rows])


def _acceptance(found: Gathered) -> str:
    if not found.acceptance:
        return ('<p class="failure">There is no validation report of this lab about this version. It must not be used '
                "on patients before there is one.</p>")  # fmt: skip
    parts = []
    for one in found.acceptance:
        link = f'<a href="reports/{html.escape(one["report"])}/report.html">{html.escape(one["report"])}</a>'
        seal = "its seal holds" if one["intact"] else f"NOT INTACT: {html.escape('; '.join(one['wrong']))}"
        parts += [f"<h3>{link} on {html.escape(one['dataset'] or 'a dataset of this lab')}</h3>",
                  f"<p>{html.escape(one['ended'].replace('T', ' ')[:16])} UTC; {seal}; cases: {_text(one['cases'])}, "
                  f"failed: {_text(one['failed'])}.</p>", _gate(one["gate"]),
                  _table(one["figures"][:_FIGURES])]  # fmt: skip
    texts = "".join(f"<h3>Criteria {html.escape(one['version'])}, declared by {html.escape(one['by'])}, "
                    f"{html.escape(one['declared'][:10])}</h3><pre>{html.escape(one['toml'])}</pre>"
                    for one in found.criteria)  # fmt: skip
    return "".join(parts) + (texts or "<p>The lab declared no criteria of its own; those of AI-LAB apply.</p>")


def _gate(gate: Mapping[str, Any]) -> str:
    verdicts = [one for one in gate.get("verdicts", ()) if isinstance(one, Mapping)]
    if not verdicts:
        return "<p>It was not held against acceptance criteria.</p>"
    rows = [{"asked": one.get("asked", ""), "verdict": one.get("verdict", ""), "bound": one.get("bound", ""),
             "patients": one.get("patients", ""), "why": one.get("reason", "")} for one in verdicts]  # fmt: skip
    return f"<p>Gate: <b>{'passed' if _passed(gate) else 'NOT passed'}</b></p>{_table(rows)}"


def _passed(gate: Mapping[str, Any]) -> bool | None:
    verdicts = [one.get("verdict") for one in gate.get("verdicts", ()) if isinstance(one, Mapping)]
    return all(one == "pass" for one in verdicts) if verdicts else None


def _monitoring(found: Gathered) -> str:
    told = _table(found.monitoring) if found.monitoring else (
        '<p class="failure">There is no monitoring evidence: nothing in this lab watched the model for drift, and no '
        "statement is made on whether it is still as good as when it was accepted.</p>")  # fmt: skip
    return f"{told}<h3>Use, as the ledger has it</h3>{_table(found.use, nothing='It was not run on the archive yet.')}"


def _stops(found: Gathered) -> str:
    rows = [{"when": one["moved_at"], "alias": f"@{one['alias']}", "who": one["moved_by"], "reason": one["reason"],
             "means then": "this model" if one["this model"] else one["digest"][:12] or "nothing"}
            for one in found.history]  # fmt: skip
    stops = ("<p>A model is stopped with <code>ailab models revoke</code>: the alias means nothing from then on, every "
             "run that asks for it is refused, and the reason stands here.</p>")  # fmt: skip
    approvals = f"<h3>Approvals</h3>{_table(found.approvals)}" if found.approvals else ""
    return stops + _table(rows, nothing="No alias ever meant a model of this name.") + approvals


def _replays(found: Gathered) -> str:
    return _table(found.replays, nothing="Neither a report nor a result of it was run again yet.")


def _trail(found: Gathered) -> str:
    shown = [{"line": one["seq"], "when": one["at"], "who": one["by"], "what": one["event"]}
             for one in found.trail[-_LINES:]]  # fmt: skip
    more = f"<p>All lines ({len(found.trail)}) are in <a href=\"audit.json\">audit.json</a>.</p>" if found.trail else ""
    return _table(shown, nothing="No line about it is here.") + more


def _check(fingerprint: str) -> str:
    spaced = " ".join(fingerprint[at:at + 4] for at in range(0, len(fingerprint), 4))
    return (
        f"<p>The lab's key has the fingerprint <b>{spaced}</b>. Ask somebody of the lab for it by another way than "
        "this pack came to you (<code>ailab models key</code> shows it there). Then, in the unpacked folder and with "
        f"nothing but Python: <code>python verify.py {fingerprint}</code>, or with AI-LAB <code>ailab models "
        "check-evidence PACK.zip</code>. It says whose key signed the pack, and names every file that is not as it "
        "was.</p>"
    )  # fmt: skip


def _is_stop(move: Mapping[str, Any]) -> bool:
    return str(move["reason"]).startswith(REVOKED)


def _facts(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(_text(value) or _NONE)}</td></tr>"
                   for key, value in values.items())  # fmt: skip
    return f'<div class="wide"><table>{rows}</table></div>' if rows else ""


def _table(rows: Sequence[Mapping[str, Any]], *, nothing: str = "") -> str:
    if not rows:
        return f"<p>{html.escape(nothing)}</p>"
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(_text(value))}</td>' for value in row.values())}</tr>"
                   for row in rows)  # fmt: skip
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "" if value is None else str(value)
    if _is_time(text):
        return f"{text[:16].replace('T', ' ')} UTC"
    return f"{text[:12]}…" if len(text) == 64 and text.isalnum() else text


def _is_time(text: str) -> bool:
    return len(text) == 25 and text.endswith("+00:00") and text[:4].isdigit() and text[4] == "-" and text[10] == "T"
