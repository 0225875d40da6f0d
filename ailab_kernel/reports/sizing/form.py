"""The sizing questionnaire as a form in a notebook: answers on the left, the size they amount to on the right, live."""

import html
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.fleet.sizing import ALGORITHMS, DIMENSIONS, QUESTIONS, TRAIN, Answers, Sizing, size, to_toml
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.ground.store import atomic_write

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

CHOICES: Mapping[str, Mapping[str, Any]] = {"train": TRAIN, "dimensions": DIMENSIONS, "algorithm": ALGORITHMS}
_BOX = "border-left:4px solid #0b6e99;padding:2px 14px;margin-left:18px;max-width:34em;line-height:1.45"
_FRAME = "width:100%;height:70vh;border:1px solid #8884"


class SizingForm:
    """The form; shown as a notebook's cell value.

    Parameters
    ----------
    workspace
        Where reports go; None opens the one that holds here when a report is asked for.
    file
        Where answers are written.
    """

    def __init__(self, workspace: "Workspace | None" = None, *, file: Path = Path("answers.toml")) -> None:
        import ipywidgets as widgets

        self._workspace, self._file = workspace, file
        self.questions: dict[str, Any] = {one.name: _widget(widgets, one.name, one.default) for one in fields(Answers)}
        self.answer, self.told, self.page = widgets.HTML(), widgets.HTML(), widgets.HTML()
        wide = {"layout": widgets.Layout(width="13em")}
        self.save = widgets.Button(description="Write answers.toml", icon="save", **wide)
        self.report = widgets.Button(description="Run the report", icon="play", button_style="primary", **wide)
        self.save.on_click(lambda _: self._try(self._write))
        self.report.on_click(lambda _: self._try(self._run))
        for question in self.questions.values():
            question.observe(lambda _: self._look(), names="value")
        rows = [widgets.HBox([widgets.HTML(f'<div style="width:25em;line-height:1.3">{QUESTIONS[name]}</div>'), field])
                for name, field in self.questions.items()]  # fmt: skip
        buttons = widgets.HBox([self.save, self.report])
        form = widgets.HBox([widgets.VBox([*rows, buttons, self.told]), self.answer])
        self.box = widgets.VBox([form, self.page])
        self._look()

    @property
    def answers(self) -> Answers:
        """What the form holds now; ParameterError where it is no answer."""
        return Answers(**{name: field.value for name, field in self.questions.items()})

    def _look(self) -> None:
        """Show the size that the answers amount to, or what is wrong with them."""
        try:
            self.answer.value = _told(size(self.answers))
        except AilabError as error:
            self.answer.value = f'<div style="{_BOX}"><b>{html.escape(str(error))}</b></div>'

    def _try(self, act: Callable[[], str]) -> None:
        """Do what a button asks for; an error of ours or of the disk is told beside it."""
        self.told.value = "Working ..."
        try:
            self.told.value = act()
        except AilabError as error:
            self.told.value = f"<b>Not done:</b> {html.escape(str(error))}"
        except OSError as error:
            self.told.value = f"<b>Not done:</b> {html.escape(error.strerror or type(error).__name__)}"

    def _write(self) -> str:
        atomic_write(self._file, to_toml(self.answers).encode())
        name = html.escape(self._file.name)
        return f"Written: <code>{name}</code>. In a terminal: <code>ailab size --from {name}</code>"

    def _run(self) -> str:
        from ailab_kernel.workspace import open_workspace

        from .report import size_report

        self._workspace = self._workspace or open_workspace()
        report = size_report(self._workspace, self.answers)
        page = html.escape(report.html.read_text(encoding="utf8"))
        self.page.value = f'<iframe srcdoc="{page}" sandbox="" style="{_FRAME}"></iframe>'
        return f"Report <b>{html.escape(report.id)}</b>: <code>{html.escape(str(report.html))}</code>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.box._repr_mimebundle_(**kwargs)


def _widget(widgets: Any, name: str, default: Any) -> Any:
    layout = widgets.Layout(width="13em")
    if name in CHOICES:
        return widgets.Dropdown(options=list(CHOICES[name]), value=default, layout=layout)
    if isinstance(default, bool):
        return widgets.Checkbox(value=default, indent=False, layout=layout)
    kind = widgets.BoundedIntText if isinstance(default, int) else widgets.BoundedFloatText
    return kind(value=default, min=0, max=10**7, layout=layout)


def _told(found: Sizing) -> str:
    low, high = found.tier.tflops
    span = f"{low:g} to {high:g}" if high != float("inf") else f"{low:g} and more"
    facts = [f"{span} TFLOPS: {found.tier.footprint}", f"{found.tier.ram_gb} GB of memory at least",
             f"{sum(found.disk_gb.values()):,.0f} GB of disk at the end of retention",
             f"{found.network_gbps[1]:g} Gbit/s at least", f"Expect: {found.tier.experience}"]  # fmt: skip
    listed, why = ("".join(f"<li>{html.escape(one)}</li>" for one in many) for many in (facts, found.reasons))
    return (f'<div style="{_BOX}"><h2 style="margin:0">{html.escape(found.tier.name.capitalize())}</h2>'
            f"<ul>{listed}</ul><b>Why</b><ol>{why}</ol></div>")  # fmt: skip
