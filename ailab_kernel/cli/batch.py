"""Every series of a tree, in threads: reading and writing wait for the disk and the memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ailab_kernel.ground.errors import DicomError, NotFound
from ailab_kernel.ground.progress import track

from .niftis import Options, Outcome, uid_of, write_all

# Folders that are larger are sorted by series before their pixels are read: memory holds one series a thread.
_AT_ONCE_BYTES = 1 << 29
Files = list[Path]


def convert_folders(root: Path, options: Options) -> Outcome:
    """Convert every series below ``root``.

    Folders are read one by one. A series that turns out to lie in several of them is written again from all.
    """
    folders = [_files(folder) for folder in _folders(root)]
    if not folders:
        msg = "no files there; give a folder of DICOM files"
        raise NotFound(msg)
    parts = _converted([part for files in folders for part in _bounded(files)], options)
    spread = _spread(parts)
    if not spread:
        return _joined(parts)
    for one in (one for part in parts for one in part.written if one["series"] in spread):
        path = Path(str(one["file"]))
        path.unlink(missing_ok=True)
        path.with_name(path.name.rpartition(".nii")[0] + ".json").unlink(missing_ok=True)
    whole = _by_series([file for files in folders for file in files])
    again = _converted([files for uid, files in whole.items() if uid in spread], options)
    return _joined([*(_without(part, spread) for part in parts), *again])


def _converted(parts: Sequence[Files], options: Options) -> list[Outcome]:
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:  # one more than cores: one waits for the disk
        done = pool.map(partial(_convert, options=options), parts)
        return list(track(done, what="parts converted", total=len(parts)))


def _convert(files: Files, options: Options) -> Outcome:
    from ailab_kernel.volumes.series import volumes_from_files

    done = Outcome()
    write_all(volumes_from_files(files, **options.corrections), options, done)
    return done


def _folders(folder: Path) -> Iterator[Path]:
    """Folders that hold files, the outermost of each branch: they are read with all that is below them."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    if any(entry.is_file() for entry in inside):
        yield folder
        return
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _folders(Path(entry.path))


def _files(folder: Path) -> Files:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _bounded(files: Files) -> list[Files]:
    small = sum(path.stat().st_size for path in files) <= _AT_ONCE_BYTES
    return [files] if small else list(_by_series(files).values())


def _by_series(files: Iterable[Path]) -> dict[str, Files]:
    """Files by Series Instance UID; those that tell none by their folder, since they may still be a series."""
    found: dict[str, Files] = {}
    for file in files:
        found.setdefault(_uid(file) or str(file.parent), []).append(file)
    return found


def _uid(file: Path) -> str:
    from ailab_kernel.dicom.parsing import read_header
    from ailab_kernel.dicom.scan import scan_file

    try:
        if found := scan_file(file):
            return found[0].text("SeriesInstanceUID")
        return str(read_header(file).get("SeriesInstanceUID", ""))
    except (DicomError, ValueError):
        return ""


def _spread(parts: Iterable[Outcome]) -> set[str]:
    """Series that more than one part told of."""
    seen: set[str] = set()
    spread: set[str] = set()
    for part in parts:
        own = {str(one["series"]) for one in part.written} | {uid_of(one["what"]) for one in part.refused} - {""}
        spread |= own & seen
        seen |= own
    return spread


def _without(part: Outcome, series: set[str]) -> Outcome:
    return Outcome([one for one in part.written if one["series"] not in series],
                   [one for one in part.refused if uid_of(one["what"]) not in series])  # fmt: skip


def _joined(parts: Iterable[Outcome]) -> Outcome:
    parts = list(parts)
    return Outcome([one for part in parts for one in part.written], [one for part in parts for one in part.refused])
