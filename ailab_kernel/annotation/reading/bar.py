"""Buttons below the widget: accept the case that is shown, or return it; each says in one line what came of it."""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import AilabError

if TYPE_CHECKING:
    from ipywidgets import Button, VBox


def review_bar(accept: Callable[[], str], give_back: Callable[[str], str]) -> "VBox":
    """Return the buttons of whoever reviews.

    Parameters
    ----------
    accept
        Accepts the case that is shown, and returns what is to be said about it.
    give_back
        Returns it for the reason that is given, and returns what is to be said about it.
    """
    from ipywidgets import HTML, Button, HBox, Layout, Text, VBox

    reason = Text(placeholder="what is to be mended", layout=Layout(width="24em"))
    said = HTML(value="Accept the case that is shown, or return it to its readers with the reason.")

    def _button(name: str, act: Callable[[], str], style: str = "") -> "Button":
        button = Button(description=name, button_style=style)
        button.on_click(lambda _: setattr(said, "value", _line(act)))
        return button

    buttons = [_button("Accept case", accept, "success"), _button("Return case", lambda: give_back(reason.value))]
    return VBox([HBox([*buttons, reason]), said])


def _line(act: Callable[[], str]) -> str:
    try:
        return html.escape(act())
    except AilabError as error:
        return f"<b>Not done.</b> {html.escape(str(error))}"
