"""Run a server that binds every address where only loopback exists, and pass its ports on from 127.0.0.1 outside.

Started inside a fresh network namespace as ``relay.py FD:PORT ... -- COMMAND``: each FD is a socket that already listens
on 127.0.0.1 of the caller's network (a socket stays in the network it was made in), each PORT is the server's own inside.
The server ends when standard input closes, so also when the caller is killed.
"""

import asyncio
import socket
import sys

_CHUNK = 1 << 18
_CONNECT_TRIES, _PAUSE_S = 400, 0.05


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except (ConnectionError, OSError):
        target.close()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(_CONNECT_TRIES):
        try:
            return await asyncio.open_connection("127.0.0.1", port, limit=_CHUNK)
        except ConnectionRefusedError:
            await asyncio.sleep(_PAUSE_S)
    raise SystemExit(f"nothing listens on port {port} inside")


def _relay(port: int) -> object:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", port, limit=_CHUNK)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, inside_writer), _copy(inside_reader, writer))
        inside_writer.close()
        writer.close()
    return serve


async def _main(pairs: list[tuple[int, int]], command: list[str]) -> int:
    server = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        for descriptor, port in pairs:
            _, probe = await _connect(port)
            probe.close()
            await asyncio.start_server(_relay(port), sock=socket.socket(fileno=descriptor), limit=_CHUNK)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()
    return 0


if __name__ == "__main__":
    cut = sys.argv.index("--")
    wanted = [(int(fd), int(port)) for fd, port in (one.split(":") for one in sys.argv[1:cut])]
    raise SystemExit(asyncio.run(_main(wanted, sys.argv[cut + 1:])))
