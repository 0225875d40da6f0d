"""``ailab convert``: DICOM series to NIfTI files with their JSON sidecars."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ailab_kernel.ground.errors import NotFound, VolumeError, WrongUse

from .archive import Url
from .niftis import ENDINGS, NAME, Options, Outcome, check_name, note_refused, write_all, write_one
from .show import AsJson, line, show

if TYPE_CHECKING:
    from ailab_kernel.volumes.series import Found
    from ailab_kernel.volumes.volume import Volume

# A downloader of test data, its progress bar, and decoders.
_UNUSED = ("requests", "tqdm", "gdcm", "PIL", "pylibjpeg", "rle", "jpeg_ls")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def convert(
    source: Annotated[str, typer.Argument(help="Folder of DICOM files, one file, or a Series Instance UID.")],
    out: Annotated[Path, typer.Argument(help="OUT.nii.gz or OUT.nii for one series; a folder for every series.")],
    *,
    series: Annotated[str, typer.Option(help="Only this Series Instance UID of the folder.")] = "",
    name: Annotated[str, typer.Option(help="File names in a folder: {modality}, {number}, {uid}, {digest}.")] = NAME,
    sidecar: Annotated[bool, typer.Option(help="Whether BIDS terms are written beside, as .json.")] = True,
    identifying: Annotated[bool, typer.Option(help="Tell UIDs, dates, places, descriptions there as well.")] = False,
    resample: Annotated[bool, typer.Option(help="Interpolate uneven slices onto an even grid.")] = False,
    correct_tilt: Annotated[bool, typer.Option(help="Shear the slices of a tilted gantry upright.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Convert series to NIfTI, oriented as by dcm2niix. Example: ailab convert ./ct ./ct.nii.gz."""
    _lean_pydicom()
    corrections = {"resample": resample, "correct_tilt": correct_tilt}
    options = Options(out, name, sidecar, identifying, series, corrections)
    if _is_file(out):
        done = Outcome()
        write_one(_only(source, options, url, done), out, options, done=done)
    else:
        check_name(name)
        done = _to_folder(source, options, url)
    body = {"written": done.written, "refused": done.refused}
    show(body, as_json=as_json, table=lambda: _table(done))
    if done.refused or not done.written:
        raise typer.Exit(1)


def _lean_pydicom() -> None:
    """Import pydicom without what it looks for but reading here does not use: a quarter of what a short command takes.

    Frames are decoded by `dicom.codecs`; in this process pydicom itself then has no decoder but its own.
    """
    absent = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: "not installed"
    try:
        import pydicom  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


def _table(done: Outcome) -> None:
    for one in done.written:
        line(f"{one['file']}  series {one['series']}, {one['slices']} slices")
    for refused in done.refused:
        line(f"set aside: {refused['what']}: {refused['reason']}")


def _is_file(out: Path) -> bool:
    return out.name.endswith(ENDINGS) and not out.is_dir()


def one_volume(source: str, *, url: str = "") -> "Volume":
    """The one volume of a folder or of a series in the archive.

    Raises
    ------
    WrongUse
        Several, which are listed so that one can be chosen.
    VolumeError
        None.
    """
    return _only(source, Options(Path()), url, Outcome())


def _only(source: str, options: Options, url: str, done: Outcome) -> "Volume":
    volumes = []
    for found in _found(source, options, url):
        note_refused(done, found, options.series)
        volumes += [vol for vol in found.volumes if options.series in ("", vol.series_uid)]
    if len(volumes) > 1:
        seen = (", ".join([vol.series_uid, vol.facts.get("Modality", "?"), *filter(None, [vol.facts.get("part")]),
                           f"{vol.array.shape[0]} slices"]) for vol in volumes)  # fmt: skip
        msg = (f"{len(volumes)} volumes are there ({'; '.join(seen)}); choose one with --series UID, or give a folder "
               "of its own, or write them all into a folder")  # fmt: skip
        raise WrongUse(msg)
    if not volumes:
        reason = f" ({done.refused[0]['what']}: {done.refused[0]['reason']})" if done.refused else ""
        msg = f"no series was found that makes a volume{reason}; give a folder of DICOM images"
        raise VolumeError(msg)
    return volumes[0]


def _to_folder(source: str, options: Options, url: str) -> Outcome:
    from .batch import convert_folders

    if Path(source).is_dir():
        return convert_folders(Path(source), options)
    done = Outcome()
    for found in _found(source, options, url):
        write_all(found, options, done)
    return done


def _found(source: str, options: Options, url: str) -> "Iterator[Found]":
    """What a folder or the archive holds."""
    from ailab_kernel.volumes.series import volumes_from_files, volumes_from_folder

    if Path(source).is_dir():
        yield volumes_from_folder(Path(source), **options.corrections)
    elif Path(source).is_file():
        yield volumes_from_files([Path(source)], **options.corrections)
    elif _UID.fullmatch(source):
        from .asked import open_lab

        archive = open_lab(archive=url or None).archive
        series = archive.search_series(series=source)
        if not series:
            msg = f"series {source} is not in the archive; look for it with ailab archive search"
            raise NotFound(msg)
        yield volumes_from_files(list(archive.retrieve_files(series[0])), **options.corrections)
    else:
        msg = "the series is no file, no folder and no UID; give DICOM files or a Series Instance UID of the archive"
        raise WrongUse(msg)
