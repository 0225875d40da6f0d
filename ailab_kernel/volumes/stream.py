"""An array to a file, part by part: never half a file, never a second copy, ``.gz`` compressed on every core.

A ``.gz`` file is one gzip member (RFC 1952), which every reader knows: each part is deflated on its own and ends on a
byte (a sync flush, RFC 1951 section 3.2.4), so that the parts joined are one deflate stream; their CRCs are combined.
It holds no name and no time: equal arrays, equal bytes.
"""

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from ailab_kernel.ground.store import sync_folder

Made = TypeVar("Made")
_BEGIN_BYTES = 1 << 23
_LEVEL, _RAW, _MOST_MEMORY = 1, -15, 9
# Deflate, no flags, no time, fastest algorithm, system unknown.
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
# A last, empty block with fixed codes.
_LAST_BLOCK = b"\x03\x00"


def _nothing(number: int) -> np.ndarray:
    return np.empty(0 * number, np.uint8)


def save(
    path: Path, head: bytes, part: Callable[[int], np.ndarray] = _nothing, *, parts: int = 0, durable: bool = True
) -> None:
    """Write ``head`` and then every part; a reader or a crash sees the old file or the new one, never half of it.

    Parameters
    ----------
    path
        Ends in ``.gz`` for a compressed file; its folder is made.
    head
        The first bytes.
    part
        Called with 0 to ``parts`` - 1, for a compressed file from several threads; returns a C-contiguous array, whose
        bytes are written.
    parts
        How many; a few are held in memory at a time.
    durable
        Whether the file is on the disk when this returns. Otherwise a power loss, unlike the end of this process, may
        leave less than the file: for what can be made again.
    """
    with _atomic(path, durable=durable) as file:
        if path.suffix != ".gz":  # no threads: the memory that is freed is the memory that is written next
            _pour(file, chain([head], (part(number).data.cast("B") for number in range(parts))), begin=durable)
            return
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            made = _ahead(pool, lambda n: _deflated(head if n < 0 else part(n)), range(-1, parts))
            _pour(file, _one_member(made), begin=durable)


@contextmanager
def _atomic(path: Path, *, durable: bool) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def _pour(file: IO[bytes], pieces: Iterable[bytes | memoryview], *, begin: bool) -> None:
    """Write pieces; to ``begin`` has the disk start with what is there, so that less is left to wait for at the end."""
    told = done = 0
    for piece in pieces:
        done += file.write(piece)
        if begin and done - told >= _BEGIN_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), told, done - told, os.POSIX_FADV_DONTNEED)
            told = done


def _ahead(pool: ThreadPoolExecutor, make: Callable[[int], Made], numbers: range) -> Iterator[Made]:
    """What ``make`` returns, in order, made ahead in threads, but only a few."""
    waiting: deque = deque()
    for number in numbers:
        waiting.append(pool.submit(make, number))
        if len(waiting) > 2 * pool._max_workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _deflated(data: bytes | np.ndarray) -> tuple[tuple[bytes, bytes], int, int]:
    """Deflate blocks that end on a byte, the CRC-32 of what they hold, and its length."""
    from isal import isal_zlib

    view = memoryview(data if isinstance(data, bytes) else data.data).cast("B")
    deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW, _MOST_MEMORY)
    blocks = deflate.compress(view), deflate.flush(isal_zlib.Z_SYNC_FLUSH)
    return blocks, isal_zlib.crc32(view), len(view)


def _one_member(made: Iterable[tuple[tuple[bytes, bytes], int, int]]) -> Iterator[bytes]:
    from isal import isal_zlib

    crc = size = 0
    yield _GZIP_HEAD
    for blocks, own, length in made:
        yield from blocks
        crc, size = isal_zlib.crc32_combine(crc, own, length), size + length
    yield _LAST_BLOCK + crc.to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")
