"""What a person's Jupyter server hands out: a file that holds what identifies is refused, with the place.

Set in every server (`fleet.guards`) as a server extension; its handlers stand before Jupyter's own. ``/files/...`` is
every download and every file that a page shows. ``/api/contents/...`` gives JupyterLab's page what its person opens,
and is searched for everybody else: an address that is typed, a link, a program with a token.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import AuthenticatedFileHandler, JupyterHandler, path_regex
from jupyter_server.services.contents.handlers import ContentsHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado.web import HTTPError, authenticated

from ailab_kernel.ground.errors import AilabError
from ailab_kernel.privacy.exits import check_files

from .saving import catalog

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

_LARGEST = 512 << 20                           # bytes that are searched at once, in a small server's memory
_NO_FILE = r"(?!.*/(?:checkpoints(?:/[\w-]+)?|trust)$)"      # Jupyter's other routes below a notebook's path
_PAGE = "X-XSRFToken"                          # JupyterLab's page sends it with every request; no link can


class Files(AuthenticatedFileHandler):
    """``/files/PATH``: the file, where it names nobody."""

    @authenticated
    @authorized
    async def get(self, path: str, include_body: bool = True) -> None:  # type: ignore[override]
        """Send the file, or 403 with the places."""
        await _check(self, path)
        await ensure_async(super().get(path, include_body=include_body))


class Contents(ContentsHandler):
    """``/api/contents/PATH``: as Jupyter has it, but outside of JupyterLab's page only where it names nobody."""

    @authenticated
    @authorized
    async def get(self, path: str = "") -> None:
        """Send the model, or 403 with the places."""
        if _PAGE not in self.request.headers and self.get_query_argument("content", default="1") != "0":
            await _check(self, path)
        await ensure_async(super().get(path))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: "ServerApp") -> None:
    base = server.web_app.settings["base_url"]
    server.web_app.add_handlers(".*$", [
        (url_path_join(base, r"/files/(.*)"), Files, {"path": server.contents_manager.root_dir}),
        (url_path_join(base, rf"/api/contents{_NO_FILE}{path_regex}"), Contents)])  # fmt: skip


async def _check(handler: JupyterHandler, path: str) -> None:
    """Raise 403 where a file holds what identifies, or nobody can say; 404 outside of the person's folder.

    Folders and what is not there are Jupyter's.
    """
    file = Path(handler.contents_manager._get_os_path(path))    # type: ignore[attr-defined]  # of a folder, as here
    if not file.is_file():
        return
    if file.stat().st_size > _LARGEST:
        raise HTTPError(403, f"the file is larger than {_LARGEST >> 20} MiB, which is what can be searched here; "
                             "run: ailab exits export FILE --to FOLDER")  # fmt: skip
    try:
        await run_sync(lambda: check_files(catalog(), [file], what="the file"))
    except AilabError as error:                # where the lab cannot be asked, too
        handler.log.warning("a download was refused: %s", error)
        raise HTTPError(403, str(error)) from None
