"""Read series: instances, their planes, the stack, and the values into one array."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import AilabError, DicomError, IrregularSlices, MixedSeries, VolumeError
from ailab_kernel.ground.ids import sha256, sha256_file
from ailab_kernel.ground.refused import Refused
from ailab_kernel.volumes.volume import Volume

from .correct import evened, upright
from .frames import planes_of
from .headers import Headers
from .instance import File, Instance, decoded_ahead, instance_of, texts
from .parts import parts_of
from .plane import Plane
from .stack import Stack, stacked

_FACTS = ("Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SliceThickness", "KVP",
          "ConvolutionKernel", "PatientSex", "PatientAge", "BodyPartExamined")  # fmt: skip
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Found:
    """Volumes, and what was set aside."""

    volumes: tuple[Volume, ...]
    refused: tuple[Refused, ...] = field(default=())


def volume_from_datasets(datasets: Iterable[Dataset], *, resample: bool = False, correct_tilt: bool = False) -> Volume:
    """Return the volume of one series; see `volume_from_files`."""
    return volume_from_files(datasets, resample=resample, correct_tilt=correct_tilt)


def volume_from_files(
    sources: Iterable[File | Dataset], *, resample: bool = False, correct_tilt: bool = False
) -> Volume:
    """Return the volume of one series.

    Parameters
    ----------
    sources
        Paths, whole PS3.10 files as bytes, or data sets with pixel data; in any order.
    resample
        Interpolate uneven spacing onto an even grid instead of refusing it; the facts then say ``corrected``.
    correct_tilt
        Shear a tilted gantry's slices upright instead of refusing them; the facts then say ``corrected``.

    Raises
    ------
    MixedSeries
        More than one series, orientation, size, spacing, echo, time or frame of reference (`volumes_from_files`).
    IrregularSlices
        Duplicate positions, gaps, uneven spacing or gantry tilt.
    VolumeError
        No instances, or one without the attributes that place it.
    DicomError
        Attributes or pixel data that cannot be read.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        instances = list(_arriving(sources, pool))
        if not instances:
            msg = "no instances: a series of at least one image is expected"
            raise VolumeError(msg)
        with _told(instances):
            _check_one_series(instances)
            planes = [plane for instance in instances for plane in planes_of(instance)]
            stack = stacked(planes, resample=resample, correct_tilt=correct_tilt)
            return _volume(stack)


def _arriving(sources: Iterable[File | Dataset], pool: ThreadPoolExecutor) -> Iterator[Instance]:
    """Images as they come; what comes over a network is decoded while the rest is still on its way."""
    for source in sources:
        instance = instance_of(source)
        if instance is not None:
            yield decoded_ahead(instance, pool) if isinstance(source, bytes) else instance


def volumes_from_folder(folder: Path, *, resample: bool = False, correct_tilt: bool = False) -> Found:
    """Return every volume below a folder; see `volumes_from_files`."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return volumes_from_files(files, resample=resample, correct_tilt=correct_tilt)


def volumes_from_files(
    sources: Sequence[File | Dataset], *, resample: bool = False, correct_tilt: bool = False
) -> Found:
    """Return every volume in files; files and series that do not make one are set aside with the reason.

    A series may hold several: echoes, b-values, times. Each is a volume of its own, and ``facts["part"]`` says which.
    Data whose UIDs were emptied by a de-identifier get UIDs derived from their content (``facts["uids"]``).

    Parameters
    ----------
    sources
        Paths, whole PS3.10 files as bytes, or data sets with pixel data; in any order.
    resample, correct_tilt
        As for `volume_from_files`.
    """
    refused: list[Refused] = []
    volumes: list[Volume] = []
    for members in _series(sources, refused).values():
        try:
            named = _named(members)
        except AilabError as error:
            refused.append(Refused(f"series {_uid(members)}", str(error)))
            continue
        found = _volumes(named, resample=resample, correct_tilt=correct_tilt)
        volumes += found.volumes
        refused += found.refused
    return Found(tuple(volumes), tuple(refused))


def _series(sources: Sequence[File | Dataset], refused: list[Refused]) -> dict[tuple[str, ...], list[Instance]]:
    """Instances by series; what cannot be read is added to ``refused``."""
    series: dict[tuple[str, ...], list[Instance]] = {}
    for number, source in enumerate(sources, 1):
        try:
            with guarded("attributes"):
                instance = instance_of(source)
                key = _key(instance, source) if instance else ()
        except DicomError as error:
            refused.append(Refused(f"file {number} of {len(sources)}{_digest(source)}", str(error)))
            continue
        if instance is not None:
            series.setdefault(key, []).append(instance)
    return series


def _key(instance: Instance, source: File | Dataset) -> tuple[str, ...]:
    uid, folder = instance.text("SeriesInstanceUID"), str(source.parent) if isinstance(source, Path) else ""
    return (uid,) if uid else ("", folder, instance.text("FrameOfReferenceUID"), instance.text("SeriesNumber"))


def _digest(source: File | Dataset) -> str:
    """The file's digest, since its name may be a patient's."""
    if isinstance(source, Dataset):
        return ""
    try:
        return f" (sha256 {(sha256_file(source) if isinstance(source, Path) else sha256(source))[:8]})"
    except OSError:
        return ""


def _named(members: Sequence[Instance]) -> list[Instance]:
    """Give instances without UIDs ones that follow from their pixels and positions."""
    with guarded("UIDs"):
        if all(instance.text(keyword) for instance in members for keyword in _UIDS):
            return list(members)
        content = [sha256(one.pixels.whole() + one.text("ImagePositionPatient").encode()) for one in members]
    whole = sha256("".join(sorted(content)).encode())
    common = {"SeriesInstanceUID": "series", "StudyInstanceUID": "study", "FrameOfReferenceUID": "frame"}
    return [one.renamed({keyword: uid for keyword, uid in
                         {"SOPInstanceUID": derived_uid(own, "instance"),
                          **{keyword: derived_uid(whole, kind) for keyword, kind in common.items()}}.items()
                         if not one.text(keyword)})
            for one, own in zip(members, content, strict=True)]  # fmt: skip


def _volumes(members: Sequence[Instance], *, resample: bool, correct_tilt: bool) -> Found:
    """The volumes of one series."""
    what, volumes, refused = f"series {_uid(members)}", [], []
    try:
        with _told(members):
            kept, copies = _without_copies(members)
            _check_one_series(kept)
            parts = parts_of([plane for instance in kept for plane in planes_of(instance)])
    except AilabError as error:
        return Found((), (Refused(what, str(error)),))
    refused += [Refused(f"instance {one.text('SOPInstanceUID')}", "came twice; one is kept") for one in copies]
    refused += [Refused(f"instance {plane.uid}", "a localizer, set aside") for plane in parts.localizers]
    refused += [Refused(what, fault) for fault in parts.faults]
    for part in parts.parts:
        try:
            with _told(members):
                made = _volume(stacked(part.planes, resample=resample, correct_tilt=correct_tilt))
                volumes.append(replace(made, facts={**made.facts, "part": part.name}) if part.name else made)
        except AilabError as error:
            refused.append(Refused(f"{what}, {part.name}" if part.name else what, str(error)))
    return Found(tuple(volumes), tuple(refused))


def _without_copies(members: Sequence[Instance]) -> tuple[list[Instance], list[Instance]]:
    """Instances once each, and those that came again with the same pixels."""
    kept: dict[str, Instance] = {}
    copies: list[Instance] = []
    for instance in members:
        uid = instance.text("SOPInstanceUID")
        if uid not in kept:
            kept[uid] = instance
        elif kept[uid].pixels.whole() == instance.pixels.whole():
            copies.append(instance)
        else:
            msg = "instances share a SOPInstanceUID but not their pixels (duplicates); keep one of each"
            raise IrregularSlices(msg)
    return list(kept.values()), copies


def _check_one_series(instances: Sequence[Instance]) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if len(texts(instances, keyword)) > 1:
            msg = f"instances differ in {keyword}; split them into series that agree"
            raise MixedSeries(msg)
    uids = [uid for instance in instances if (uid := instance.text("SOPInstanceUID"))]
    if len(set(uids)) < len(uids):
        msg = "instances share a SOPInstanceUID (duplicates); keep one of each"
        raise IrregularSlices(msg)


@contextmanager
def _told(instances: Sequence[Instance]) -> Iterator[None]:
    """Put the series before what goes wrong with it."""
    what = f"series {_uid(instances)}"
    try:
        with guarded(what):
            yield
    except (VolumeError, DicomError) as error:
        text = str(error)
        raise (error if text.startswith("series ") else type(error)(f"{what}: {text}")) from None


def _uid(instances: Sequence[Instance]) -> str:
    return instances[0].text("SeriesInstanceUID") or "without a UID"


def _volume(stack: Stack) -> Volume:
    """Read the values of a stack."""
    planes = stack.planes
    first, instances = planes[0].instance, [plane.instance for plane in planes]
    array, grid = _values(planes), stack.grid
    made = Volume(
        array, grid, slope=_rescale([plane.slope for plane in planes]),
        intercept=_rescale([plane.intercept for plane in planes]),
        study_uid=first.text("StudyInstanceUID"), series_uid=first.text("SeriesInstanceUID"),
        frame_of_reference_uid=first.text("FrameOfReferenceUID"), instance_uids=tuple(plane.uid for plane in planes),
        frame_numbers=tuple(plane.frame for plane in planes if plane.frame), headers=Headers(instances),
        facts=_facts(planes[0]),
    )  # fmt: skip
    if stack.depths is not None:
        return _corrected(made, "uneven spacing", evened(_scaled(made), stack))
    return _corrected(made, "gantry tilt", upright(_scaled(made), stack)) if stack.tilted else made


def _scaled(vol: Volume) -> np.ndarray:
    """What may be interpolated: stored values, unless their scale changes from slice to slice."""
    return vol.values if np.ndim(vol.slope) or np.ndim(vol.intercept) else vol.array


def _corrected(vol: Volume, what: str, made: tuple) -> Volume:
    """A volume that no longer has a slice for each image: no header and no instance belongs to it."""
    array, grid = made
    if array.dtype.kind == "f":
        vol = replace(vol, slope=1.0, intercept=0.0)
    facts = {**vol.facts, "corrected": what}
    return replace(vol, array=array, grid=grid, headers=(), instance_uids=(), frame_numbers=(), facts=facts)


def _values(planes: Sequence[Plane]) -> np.ndarray:
    """Stored values of planes, shape (slices, rows, columns), read by several threads: decoders and files let go."""
    array = np.empty((len(planes), *planes[0].shape), planes[0].dtype)
    reads = list(zip([plane.read for plane in planes], array, strict=True))
    if len(planes) < 2 * _THREADS:
        _read_all(reads)
        return array
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(_read_all, [reads[n::_THREADS] for n in range(_THREADS)]):
            pass
    return array


def _read_all(reads: Iterable[tuple[Callable[[np.ndarray], None], np.ndarray]]) -> None:
    for read, out in reads:
        read(out)


def _rescale(values: Sequence[float]) -> float | np.ndarray:
    return values[0] if len(set(values)) == 1 else np.array(values).reshape(-1, 1, 1)


def _facts(plane: Plane) -> dict[str, str]:
    instance = plane.instance
    facts = {keyword: value for keyword in _FACTS if (value := plane.fields.text(keyword) or instance.text(keyword))}
    facts["contrast"] = "yes" if instance.text("ContrastBolusAgent") else "no"
    if instance.text("PatientID").startswith("PHANTOM-") and instance.text("PatientIdentityRemoved") == "YES":
        facts["phantom"] = "yes"
    if instance.derived:
        facts["uids"] = "derived"
    return facts
