"""What a person's server does last: each open notebook gets a checkpoint, whoever stops the server, and why ever.

JupyterLab loads this as a server extension. What was typed since the page last stored it (every 30 s, see
``labsettings``) is in the browser only.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_server.extension.application import ExtensionApp


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__, "app": _keeper()}]


def _keeper() -> "type[ExtensionApp]":
    from jupyter_server.extension.application import ExtensionApp
    from jupyter_server.utils import ensure_async
    from tornado.web import HTTPError

    class Keeper(ExtensionApp):
        name = "ailab_checkpoint"

        async def stop_extension(self) -> None:
            """Make the checkpoints; kernels end after this."""
            server = self.serverapp
            if server is None:
                return
            sessions = await ensure_async(server.session_manager.list_sessions())
            for path in sorted({one["path"] for one in sessions if one["type"] == "notebook"}):
                try:
                    await ensure_async(server.contents_manager.create_checkpoint(path))
                except (HTTPError, OSError) as error:
                    self.log.warning("no checkpoint of an open notebook: %s", type(error).__name__)

    return Keeper
