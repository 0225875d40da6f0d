"""What a person's JupyterLab does with identifiers in notebooks: saving marks them, exporting refuses.

Set in every server (`fleet.guards`): ``ContentsManager.pre_save_hook`` and ``Exporter.preprocessors``. The owner of
a server can turn both off; what leaves through ``ailab exits export`` is searched all the same.
"""

import logging
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from nbconvert.preprocessors import Preprocessor

from ailab_kernel.ground.errors import AilabError
from ailab_kernel.privacy.exits import check, search
from ailab_kernel.privacy.readable import Chunk, notebook

if TYPE_CHECKING:
    from ailab_kernel.ground.catalog import Catalog

KEY = "ailab"                                  # in a notebook's metadata
_LOG = logging.getLogger(__name__)
_MOST = 1_000_000                              # characters that are searched at every save
_UNSEARCHED = "not searched, too much text; run: ailab exits check"
_PAUSE_S = 60.0
_asked_again: dict[str, float] = {}


def mark(model: dict[str, Any], **_: Any) -> None:
    """Write into a notebook that is saved where a known identifier stands in it, or that none does any more.

    Parameters
    ----------
    model
        Jupyter's model of what is saved; a notebook's ``content`` is changed in place.
    """
    if model.get("type") != "notebook" or not model.get("content"):
        return
    metadata = model["content"].setdefault("metadata", {})
    metadata.pop(KEY, None)
    texts = list(notebook(model["content"], "this notebook"))
    places = _searched(texts) if sum(len(one.text) for one in texts) < _MOST else (_UNSEARCHED,)
    if places:
        metadata[KEY] = {"identifiers": list(places), "shareable": False}
        _LOG.warning("a saved notebook is not to be shared: %s", "; ".join(places[:3]))


def _searched(texts: list[Chunk]) -> tuple[str, ...]:
    """Places; where nobody can be asked, saving goes on without, and asks no more for a minute: the server waits."""
    if time.monotonic() < _asked_again.get("at", 0.0):
        return ()
    try:
        return search(catalog(), texts)
    except AilabError as error:                # an export asks again, and is refused
        _asked_again["at"] = time.monotonic() + _PAUSE_S
        _LOG.warning("a notebook was saved unsearched: %s", error)
        return ()


class Guarded(Preprocessor):
    """Stands before every conversion of a notebook (HTML, PDF, Markdown ...) and lets none with identifiers pass."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return both as they are; ExitBlocked where the notebook holds what identifies."""
        check(catalog(), notebook(nb, "this notebook"), what="the notebook")
        return nb, resources


@cache
def catalog() -> "Catalog":
    """Return the lab's trusted side, as this server's person has it."""
    from ailab_kernel.workspace import open_workspace

    return open_workspace().catalog
