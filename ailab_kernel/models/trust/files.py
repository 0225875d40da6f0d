"""A model's files from a folder, a zip or one file, as bytes in memory: nothing is unpacked, nothing is followed."""

import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ailab_kernel.ground.errors import ModelChanged, ModelError, UnsafeModel
from ailab_kernel.ground.ids import canonical_json, sha256

LIMIT = 2 << 30                                # bytes of a whole model
_MOST_FILES = 10_000
_MOST_RATIO, _SMALL = 100, 16 << 20            # weights hardly shrink; small files may shrink as they like
_ZIP = b"PK\x03\x04"
_READ = frozenset({".json", ".md", ".txt", ".safetensors", ".pt", ".pth", ".ts", ".onnx", ".bin", ""})
_PLAIN = frozenset({0, stat.S_IFREG, stat.S_IFDIR})
_PREFIX = "sha256:"


@dataclass(frozen=True)
class Source:
    """What was given to import.

    Attributes
    ----------
    name
        Of the folder or file, without its ending.
    files
        Bytes by path below the model's folder; a model that is one file has one.
    digest
        SHA-256 of the file; of a folder, of the list of its paths and their SHA-256.
    """

    name: str
    files: Mapping[str, bytes]
    digest: str


def read_source(path: Path, *, digest: str = "") -> Source:
    """Read what a model may consist of; other kinds of files are left where they are.

    Parameters
    ----------
    path
        Folder, zip, or one file.
    digest
        ``sha256:...`` that it must have; empty: any.

    Raises
    ------
    ModelChanged
        It has another digest.
    UnsafeModel
        Links, devices, names that lead elsewhere, bombs.
    ModelError
        Nothing there, or no zip.
    """
    if not path.exists():
        msg = f"{path.name}: no such bundle folder or file; give a folder, a zip, or one file in a layout that is known"
        raise ModelError(msg)
    if path.is_dir():
        files = _read_folder(path)
        source = Source(path.name, files, sha256(canonical_json({name: sha256(data) for name, data in files.items()})))
        _check_digest(source, digest)
        return source
    data = _read_file(path.resolve(), path.name)       # the path itself is the asker's own, and may be a link
    source = Source(path.stem, {path.name: data}, sha256(data))
    _check_digest(source, digest)
    return Source(path.stem, _read_zip(path), source.digest) if _is_archive(path, data) else source


def _is_archive(path: Path, data: bytes) -> bool:
    """Whether it is to be opened as a zip of files: checkpoints and TorchScript are zips too, and are one file."""
    return path.suffix not in _READ - {""} or (path.suffix == "" and data.startswith(_ZIP))


def _check_digest(source: Source, wanted: str) -> None:
    if wanted and wanted.removeprefix(_PREFIX).lower() != source.digest:
        msg = f"{source.name}: its digest is {_PREFIX}{source.digest}, not the one that was asked for; nothing was kept"
        raise ModelChanged(msg)


def _read_folder(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    for number, path in enumerate(sorted(folder.rglob("*")), 1):
        name = str(PurePosixPath(path.relative_to(folder)))
        where, told = f"bundle {folder.name}", path.lstat()
        _check_name(name, where)
        if not path.is_symlink() and stat.S_ISDIR(told.st_mode):
            continue
        _check_kind(told, name, where)
        total += told.st_size if path.suffix in _READ else 0
        if total > LIMIT or number > _MOST_FILES:
            raise UnsafeModel(_too_much(where))
        if path.suffix in _READ:
            files[name] = _read_file(path, name)
    return files


def _check_kind(told: os.stat_result, name: str, where: str) -> None:
    """Plain files with one name only: what links lead to is nobody's gift, and a device never ends."""
    kind = "is a link" if stat.S_ISLNK(told.st_mode) else "is no plain file" if not stat.S_ISREG(told.st_mode) else ""
    kind = kind or ("is a hard link: it has a second name elsewhere" if told.st_nlink > 1 else "")
    if kind:
        msg = f"{where}: {name} {kind}; a bundle holds plain files only"
        raise UnsafeModel(msg)


def _read_file(path: Path, name: str) -> bytes:
    """Bytes of a plain file, opened without following a link that took its place meanwhile."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        told = os.fstat(handle)
        _check_kind(told, name, f"bundle {path.parent.name}")
        data = file.read(LIMIT + 1) if told.st_size <= LIMIT else b""
    if told.st_size > LIMIT or len(data) > LIMIT:
        raise UnsafeModel(_too_much(path.name))
    return data


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as members:
            return _root_of(read_members(members, path.name, wanted=lambda name: PurePosixPath(name).suffix in _READ))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, UnicodeDecodeError) as error:
        what = "not a zip file" if not zipfile.is_zipfile(path) else f"a damaged zip file ({type(error).__name__})"
        msg = f"{path.name}: {what}; give a folder or zip in a layout that is known"
        raise ModelError(msg) from None


def read_members(members: zipfile.ZipFile, where: str, *, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the wanted members of a zip by name, after a look at all of them; a size in the list is never exceeded.

    Raises
    ------
    UnsafeModel
        Names that lead elsewhere or occur twice, links, devices, encryption, bombs.
    """
    told = members.infolist()
    seen: set[str] = set()
    for member in told:
        _check_member(member, where, seen)
    size, packed = sum(member.file_size for member in told), sum(member.compress_size for member in told)
    if size > LIMIT or len(told) > _MOST_FILES:
        raise UnsafeModel(_too_much(where))
    if size > _SMALL and size > _MOST_RATIO * packed:
        msg = f"{where}: unpacks to {size // max(packed, 1)} times its size, more than any weights do: a bomb; refused"
        raise UnsafeModel(msg)
    return {one.filename: members.read(one) for one in told if not one.is_dir() and wanted(one.filename)}


def _check_member(member: zipfile.ZipInfo, where: str, seen: set[str]) -> None:
    name = member.filename
    _check_name(name.removesuffix("/"), where)
    if stat.S_IFMT(member.external_attr >> 16) not in _PLAIN:
        msg = f"{where}: the member {name[:60]!r} is a link or device; it would leave the bundle's folder; refused"
        raise UnsafeModel(msg)
    if member.flag_bits & 1:
        msg = f"{where}: the member {name[:60]!r} is encrypted; nobody can look at it; refused"
        raise UnsafeModel(msg)
    if name.casefold() in seen:
        msg = f"{where}: the member {name[:60]!r} occurs twice; one may hide the other; refused"
        raise UnsafeModel(msg)
    seen.add(name.casefold())


def _check_name(name: str, where: str) -> None:
    """Plain relative names: what another system or a normalization would read as another path is one here too."""
    odd = any(unicodedata.category(letter).startswith("C") for letter in name)
    same = unicodedata.normalize("NFKC", name) == unicodedata.normalize("NFC", name)
    parts = name.split("/")
    if odd or not same or "\\" in name or ":" in name or name.startswith("/") or {"..", "", "."} & set(parts):
        msg = f"{where}: the member {name[:60]!r} would leave the bundle's folder, or hides its name; refused"
        raise UnsafeModel(msg)


def _root_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files below the one folder that holds all of them, if there is one."""
    tops = {name.partition("/")[0] for name in files}
    if len(tops) != 1 or any("/" not in name for name in files) or tops <= {"configs", "models", "docs"}:
        return files
    return {name.partition("/")[2]: data for name, data in files.items()}


def _too_much(where: str) -> str:
    return f"{where}: more than {LIMIT >> 30} GiB or {_MOST_FILES} files; no model of this lab has so much; refused"
