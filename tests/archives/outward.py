"""Let a server in a network of its own reach a port of ours: run there, before the server, on its 127.0.0.1.

Run as ``outward.py PORT:SOCKET ... -- COMMAND``: connections to PORT inside go to the Unix socket SOCKET, which belongs
to the file system and not to a network; :func:`outside` passes them on to the same port of 127.0.0.1 outside. The process
becomes COMMAND, and what passes on ends with it.
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 1 << 18


@contextmanager
def outside(ports: dict[int, Path]) -> Iterator[None]:
    """Take the connections that come through each socket to its port of 127.0.0.1; in a thread, for the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers = [asyncio.run_coroutine_threadsafe(_serve(port, path), loop).result() for port, path in ports.items()]
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end(servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(port: int, path: Path) -> asyncio.AbstractServer:
    return await asyncio.start_unix_server(_pass(lambda: asyncio.open_connection("127.0.0.1", port, limit=_CHUNK)), path,
                                           limit=_CHUNK)


async def _end(servers: list[asyncio.AbstractServer]) -> None:
    for server in servers:
        server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _pass(connect: object) -> object:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, away = await connect()
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_copy(reader, away), _copy(there, writer))
        finally:
            away.close()
            writer.close()
    return serve


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        target.close()


async def _inside(places: list[tuple[int, str]], alive: int) -> None:
    for port, path in places:
        await asyncio.start_server(_pass(lambda path=path: asyncio.open_unix_connection(path, limit=_CHUNK)), "127.0.0.1",
                                   port, limit=_CHUNK)
    await asyncio.get_running_loop().run_in_executor(None, os.read, alive, 1)      # until COMMAND has ended


def _main(places: list[tuple[int, str]], command: list[str]) -> None:
    alive, held = os.pipe()
    if os.fork():
        os.close(alive)
        os.set_inheritable(held, True)
        os.execv(command[0], command)
    os.close(held)
    asyncio.run(_inside(places, alive))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


if __name__ == "__main__":
    cut = sys.argv.index("--")
    wanted = [(int(port), path) for port, path in (one.split(":", 1) for one in sys.argv[1:cut])]
    _main(wanted, sys.argv[cut + 1:])
