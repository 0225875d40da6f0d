"""The curve: a line without a notebook, one picture redrawn in place within one."""

import sys
from types import ModuleType

from ailab_kernel.training import figure, watch
from ailab_kernel.training.plot import png

CURVE = [{"epoch": n, "loss": 1 / n, "rate": 1e-3, "dice": 0.5 + 0.1 * (n % 3), "dice wall": 0.5, "dice cavity": 0.6}
         for n in range(1, 6)]  # fmt: skip


def test_a_line_where_there_is_no_notebook(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # other tests' libraries bring it along
    watch("heart-wall")(CURVE)
    assert capsys.readouterr().err == "  epoch 5: loss 0.200, tuning Dice 0.700 (best 0.700)\n"


def test_figure_names_labels_and_the_best_epoch():
    picture = figure(CURVE, title="heart-wall")
    assert "0.700 in epoch 2" in picture.get_suptitle()
    assert [text.get_text() for text in picture.axes[1].get_legend().get_texts()] == ["cavity", "wall"]
    assert png(picture)[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_cell_is_updated_in_place(monkeypatch):
    import IPython.display

    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("update", picture))

    def display(picture, display_id):
        shown.append(("display", picture))
        return Handle()

    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setattr(IPython.display, "display", display)
    show = watch("heart-wall")
    show(CURVE[:1])
    show(CURVE)
    assert [kind for kind, _ in shown] == ["display", "update"]
    assert all(picture.data[:4] == b"\x89PNG" for _, picture in shown)
