"""The human page of a model: what it is for, what it was made from, how good it was, where it ends."""

from collections.abc import Mapping
from typing import Any

_SECTIONS = (
    ("Intended use", "intended_use"),
    ("Made from", "training_data"),
    ("Performance", "performance"),
    ("Limits", "limits"),
    ("How it was made", "made_with"),
)
NOTE = "Phantoms prove plumbing and statistics, not clinical value."


def card(metadata: Mapping[str, Any]) -> str:
    """Return the card as Markdown from a bundle's metadata; a missing section says so."""
    parts = [f"# {metadata['name']}", str(metadata.get("description", "No description given."))]
    for title, key in _SECTIONS:
        parts += [f"## {title}", _text(metadata.get(key))]
    if metadata.get("unchecked"):              # of a model from elsewhere
        parts += ["## What its import could not check", _text(metadata["unchecked"])]
    return "\n\n".join([*parts, f"> {NOTE}"]) + "\n"


def _text(value: object) -> str:
    if not value:
        return "Not stated."
    if isinstance(value, Mapping):
        return "\n".join(f"- {key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(f"- {item}" for item in value)
    return str(value)
