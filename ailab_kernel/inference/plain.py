"""Inference without any lab: a folder of DICOM, or a NIfTI file, in; SEG, SR and ``labels.nii.gz`` out."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ailab_kernel.ground.errors import VolumeError, WrongUse
from ailab_kernel.ground.ids import Ref
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.models import Bundle, base_bundle, read_bundle
from ailab_kernel.models.registry import GENERAL
from ailab_kernel.volumes.nifti import mask_to_nifti, volume_from_nifti
from ailab_kernel.volumes.series import Refused, volumes_from_folder
from ailab_kernel.volumes.volume import Volume

from .predict import Predictor
from .results import write_results


@dataclass(frozen=True)
class Written:
    """What one input series became.

    Attributes
    ----------
    series
        SeriesInstanceUID, or the NIfTI file's digest.
    files
        Files written, below the output folder.
    volumes_ml
        Volume of each label.
    """

    series: str
    files: tuple[Path, ...]
    volumes_ml: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainRun:
    """Everything that one run wrote, and every file that it set aside with the reason."""

    written: tuple[Written, ...]
    refused: tuple[Refused, ...]


def plain_bundle(ref: str) -> Bundle:
    """Return the model that a person without a lab means: a base model (``lungs@general``) or a bundle folder."""
    if Path(ref).is_dir():
        return read_bundle(Path(ref))
    wished = Ref.parse(ref)
    if wished.alias not in {None, GENERAL} or wished.version:
        msg = f"{ref}: without a lab only base models (NAME@{GENERAL}) and bundle folders can be used"
        raise WrongUse(msg)
    return base_bundle(wished.name)


def infer_plain(bundle: Bundle, source: Path, output: Path, *, device: str = "auto", cache: Path | None = None) -> PlainRun:
    """Segment every image series found in ``source`` and write the results below ``output``.

    Parameters
    ----------
    bundle
        The model.
    source
        Folder of DICOM files (any mix; others are set aside) or a NIfTI file.
    output
        Folder, created. One series goes straight into it, several into one folder each.
    device
        ``auto``, ``cpu`` or ``cuda``.
    cache
        Where converted networks are kept.

    Raises
    ------
    VolumeError
        No image series could be read.
    """
    volumes, refused = _read(source)
    if not volumes:
        reason = f"; first reason: {refused[0].reason}" if refused else ""
        msg = f"no image series could be read from the input ({len(refused)} files set aside{reason})"
        raise VolumeError(msg)
    predictor = Predictor(bundle, device=device, cache=cache)
    folders = [output if len(volumes) == 1 else output / f"series-{n}" for n in range(1, len(volumes) + 1)]
    written = (_write(predictor, vol, folder) for vol, folder in zip(volumes, folders, strict=True))
    return PlainRun(tuple(written), refused)


def _read(source: Path) -> tuple[tuple[Volume, ...], tuple[Refused, ...]]:
    if source.is_dir():
        found = volumes_from_folder(source)
        return found.volumes, found.refused
    if not source.is_file():
        msg = "the input does not exist; give a folder of DICOM files or a NIfTI file"
        raise WrongUse(msg)
    return (volume_from_nifti(source),), ()


def _write(predictor: Predictor, vol: Volume, folder: Path) -> Written:
    mask = predictor.predict(vol)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "labels.nii.gz"]
    mask_to_nifti(mask, files[0])
    if vol.headers:
        when = _acquired(vol)
        results = write_results(mask, vol, predictor.bundle, when=when, engine=predictor.engine)
        for name, ds in (("seg.dcm", results.seg), ("sr.dcm", results.sr)):
            files.append(folder / name)
            atomic_write(files[-1], results.encoded(ds))
    return Written(vol.series_uid, tuple(files), mask.volumes_ml())


def _acquired(vol: Volume) -> datetime:
    """Without a lab there is no job record: the study's own date makes a repeat equal byte for byte."""
    text = str(vol.headers[0].get("StudyDate", "") or "")
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)
