"""The report templates: notebooks whose ``parameters`` cell is typed, described and checked before anything runs."""

import ast
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from ailab_kernel.ground.errors import ParameterError
from ailab_kernel.ground.ids import canonical_json, sha256

_INSTALLED = Path(__file__).parent / "templates"
_CHECKOUT = Path(__file__).parents[2] / "notebooks" / "reports"
TYPES: Mapping[str, type] = {
    "str": str, "int": int, "float": float, "bool": bool, "list": list,
    "ModelRef": str, "DatasetRef": str, "TaskRef": str,
}  # fmt: skip
_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One line of a ``parameters`` cell: ``seed: int = 7  # of everything random``."""

    name: str
    type: str
    default: Any
    help: str


@dataclass(frozen=True)
class Template:
    """A report notebook before it is run."""

    name: str
    path: Path

    @cached_property
    def notebook(self) -> dict[str, Any]:
        """The notebook as JSON."""
        return json.loads(self.path.read_text(encoding="utf8"))

    @property
    def title(self) -> str:
        """What the report is called."""
        return self.notebook["metadata"].get("title", self.name)

    @property
    def on_paper(self) -> bool:
        """Whether its page is a document that people file: there is a PDF of it beside the page."""
        return bool(self.notebook["metadata"].get("pdf"))

    @property
    def digest(self) -> str:
        """SHA-256 of the cells' sources: what the report does."""
        return sha256(canonical_json([[cell["cell_type"], _source(cell)] for cell in self.notebook["cells"]]))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The typed parameters, in order.

        Raises
        ------
        ParameterError
            The cell tagged ``parameters`` is missing or holds anything but ``name: type = default  # meaning``.
        """
        cells = [cell for cell in self.notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())]
        if len(cells) != 1:
            msg = f"template {self.name}: one cell tagged 'parameters' is expected, found {len(cells)}"
            raise ParameterError(msg)
        source = _source(cells[0])
        try:
            body = ast.parse(source).body
        except SyntaxError as error:
            msg = f"template {self.name}: its parameters cannot be read as Python (line {error.lineno})"
            raise ParameterError(msg) from None
        return tuple(self._parameter(node, source.splitlines()) for node in body)

    def _parameter(self, node: ast.stmt, lines: list[str]) -> Parameter:
        line = lines[node.lineno - 1]
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            msg = f"template {self.name}: {line!r} is no parameter; name: type = default  # meaning is expected"
            raise ParameterError(msg)
        kind = str(node.annotation.value) if isinstance(node.annotation, ast.Constant) else ast.unparse(node.annotation)
        if kind not in TYPES:
            msg = f"template {self.name}: parameter {node.target.id} has type {kind}, none of {', '.join(TYPES)}"
            raise ParameterError(msg)
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            msg = f"template {self.name}: the default of {node.target.id} has to be a plain value, not {line!r}"
            raise ParameterError(msg) from None
        return Parameter(node.target.id, kind, default, line.partition("#")[2].strip())


def templates(folder: Path | None = None) -> dict[str, Template]:
    """Return every template by name, from the checkout or from the installed package."""
    place = folder or (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT)
    return {path.stem: Template(path.stem, path) for path in sorted(place.glob("*.ipynb"))}


def template(name: str, *, folder: Path | None = None) -> Template:
    """Return one template, or raise ParameterError with the names that exist."""
    known = templates(folder)
    if name not in known:
        msg = f"there is no report template {name!r}; there are {', '.join(known) or 'none'}"
        raise ParameterError(msg)
    return known[name]


def check(wanted: Template, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter's value: what was given, converted and checked, or the default.

    Raises
    ------
    ParameterError
        A name is unknown or a value does not fit its type.
    """
    known = {parameter.name: parameter for parameter in wanted.parameters}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            msg = f"report {wanted.name} has no parameter {name!r}, only {', '.join(known)}{hint}"
            raise ParameterError(msg)
    return {name: _value(wanted, one, given.get(name, one.default)) for name, one in known.items()}


def _value(wanted: Template, parameter: Parameter, value: Any) -> Any:
    kind = TYPES[parameter.type]
    try:
        converted = _convert(kind, value)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        msg = f"report {wanted.name}: {parameter.name} = {value!r} is no {parameter.type} ({parameter.help})"
        raise ParameterError(msg) from None
    return converted


def _convert(kind: type, value: Any) -> Any:
    """Text from a terminal becomes the type; anything else must be it already (an int is a fine float)."""
    if kind is bool:
        return value if isinstance(value, bool) else _TRUE[value.lower()]
    if kind is list:
        found = json.loads(value) if isinstance(value, str) else value
        return list(found) if isinstance(found, list | tuple) else _refuse(value)
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        return _refuse(value)
    converted = kind(value)
    if (kind is int and converted != float(value)) or (kind is float and not math.isfinite(converted)):
        return _refuse(value)
    return converted


def _refuse(value: Any) -> NoReturn:
    raise ValueError(value)


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)
