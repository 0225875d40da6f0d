"""``ailab seg``: look into a DICOM Segmentation, take label maps out of it, make one from a label map."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import ObjectError, WrongUse

from .archive import Url
from .convert import one_volume
from .niftis import ENDINGS
from .show import AsJson, line, rows, show

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

    from ailab_kernel.dicom.codes import Code
    from ailab_kernel.objects.provenance import Provenance
    from ailab_kernel.objects.seg import Segments
    from ailab_kernel.volumes.geometry import Grid
    from ailab_kernel.volumes.masks import Label, Mask
    from ailab_kernel.volumes.volume import Volume

app = typer.Typer(help="Read and write DICOM Segmentations. Example: ailab seg info seg.dcm", no_args_is_help=True)
Seg = Annotated[Path, typer.Argument(help="A DICOM Segmentation.")]
Source = Annotated[str, typer.Option(help="Folder or Series Instance UID of the images it was drawn on.")]
_OFF_VOXEL = 0.05
_FORM = "INDEX,NAME,CODE,SCHEME,MEANING, e.g. 1,lung,39607008,SCT,Lung"


@app.command()
def info(seg: Seg, as_json: AsJson = False) -> None:
    """List segments, codes, frames and volumes. Example: ailab seg info seg.dcm."""
    ds = _read(seg)
    body: dict[str, Any] = {"type": str(ds.SegmentationType), "frames": int(ds.get("NumberOfFrames") or 0),
            "frame_of_reference": str(ds.get("FrameOfReferenceUID", "")), "uid": str(ds.get("SOPInstanceUID", "")),
            "references": _references(ds), "segments": _segments(ds)}  # fmt: skip

    def _table() -> None:
        line(f"{body['type']}, {body['frames']} frames, frame of reference {body['frame_of_reference']}")
        for one in body["references"]:
            line(f"drawn on series {one['series']}, {one['instances']} images")
        rows(body["segments"])

    show(body, as_json=as_json, table=_table)


@app.command("to-nifti")
def to_nifti(
    seg: Seg,
    out: Annotated[Path, typer.Argument(help="OUT.nii.gz or OUT.nii; segments that overlap get a file each.")],
    *,
    source: Source = "",
    resample: Annotated[bool, typer.Option(help="Place a SEG that lies between the images' voxels.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Write a label map and its labels as .json. Example: ailab seg to-nifti seg.dcm labels.nii.gz --source ./ct."""
    from ailab_kernel.objects.seg import read_segments, seg_grid
    from ailab_kernel.volumes.nifti import mask_to_nifti

    if not out.name.endswith(ENDINGS):
        msg = f"OUT does not end in {' or '.join(ENDINGS)}; name a NIfTI file"
        raise WrongUse(msg)
    ds = _read(seg)
    place = one_volume(source, url=url) if source else seg_grid(ds)
    written = []
    for path, mask in _maps(read_segments(ds, place, resample=resample), out):
        mask_to_nifti(mask, path)
        _save(_beside(path), json.dumps({"labels": [_told(label) for label in mask.labels]}, indent=1).encode())
        written.append({"file": str(path), "labels": [label.name for label in mask.labels]})
    show(written, as_json=as_json)


@app.command("from-nifti")
def from_nifti(
    labels_map: Annotated[Path, typer.Argument(metavar="MAP", help="A label map, .nii or .nii.gz.")],
    out: Annotated[Path, typer.Argument(help="File for the SEG.")],
    *,
    source: Source,
    labels: Annotated[Path | None, typer.Option(help="JSON of labels, as to-nifti writes it.")] = None,
    label: Annotated[list[str] | None, typer.Option(help=f"{_FORM}; once a label.")] = None,
    algorithm: Annotated[str, typer.Option(help="Name of what drew it; empty: a person.")] = "",
    version: Annotated[str, typer.Option(help="Its version.")] = "1",
    labelmap: Annotated[bool, typer.Option(help="LABELMAP, not BINARY: smaller, known to few receivers.")] = False,
    resample: Annotated[bool, typer.Option(help="Place a map that lies between the images' voxels.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Write a SEG from a label map. Example: ailab seg from-nifti map.nii.gz seg.dcm --source ct --labels map.json."""
    from ailab_kernel.archives.instances import encode
    from ailab_kernel.objects.seg import write_seg
    from ailab_kernel.volumes.nifti import mask_from_nifti

    meant = _labels(labels, label or [])
    vol = one_volume(source, url=url)
    mask = placed(mask_from_nifti(labels_map, meant), vol.grid, resample=resample)
    provenance = _provenance(labels_map, vol, algorithm, version=version)
    ds = write_seg(mask, vol, provenance, kind="LABELMAP" if labelmap else "BINARY")
    _save(out, encode(ds))
    show([{"file": str(out), "segment": one.name, "ml": ml, "uid": str(ds.SOPInstanceUID)}
          for one, ml in zip(mask.labels, mask.volumes_ml().values(), strict=True)], as_json=as_json)  # fmt: skip


def placed(mask: "Mask", grid: "Grid", *, resample: bool) -> "Mask":
    """The mask on the images' grid: axes reordered and reversed as they need, nothing interpolated unless asked.

    Raises
    ------
    ObjectError
        Its voxels are not the grid's.
    """
    from dataclasses import replace

    from ailab_kernel.volumes.resample import aligned_steps, to_grid

    steps = aligned_steps(mask.grid, grid)
    same = steps and all(step.size_in == step.size_out and _whole(step.centres) for step in steps)
    if not same and not resample:
        msg = (f"the label map's voxels {mask.grid.shape} are not those of the images {grid.shape}; give the images it "
               "was drawn on, or --resample to place it")  # fmt: skip
        raise ObjectError(msg)
    return replace(mask, array=to_grid(mask.array, mask.grid, grid, mode="nearest"), grid=grid)


def _whole(centres: "np.ndarray") -> bool:
    """Whether positions are all voxels of an axis, forwards or backwards, but for rounding."""
    size = len(centres) - 1
    return min(abs(centres - way).max() for way in (range(size + 1), range(size, -1, -1))) < _OFF_VOXEL


def _read(path: Path) -> "Dataset":
    from ailab_kernel.dicom.parsing import read_dataset

    if not path.is_file():
        msg = "the SEG is not there; give the path of a DICOM Segmentation"
        raise WrongUse(msg)
    ds = read_dataset(path)
    if ds.get("Modality") != "SEG" or "SegmentSequence" not in ds:
        msg = f"an object of modality {ds.get('Modality', 'unknown')} is no DICOM Segmentation; give a SEG"
        raise ObjectError(msg)
    return ds


def _references(ds: "Dataset") -> list[dict[str, Any]]:
    return [{"series": str(one.get("SeriesInstanceUID", "")),
             "instances": len(one.get("ReferencedInstanceSequence") or ())}
            for one in ds.get("ReferencedSeriesSequence") or ()]  # fmt: skip


def _segments(ds: "Dataset") -> list[dict[str, Any]]:
    from ailab_kernel.objects.seg import read_segments, seg_grid

    grid = seg_grid(ds)
    items = {int(item.SegmentNumber): item for item in ds.SegmentSequence}
    return [
        {"number": label.index, "label": str(items[label.index].get("SegmentLabel", "")), "type": _code(label.code),
         "category": _code(label.category), "drawn": str(items[label.index].get("SegmentAlgorithmType", "")),
         "frames": int(where.any(axis=(1, 2)).sum()), "voxels": int(where.sum()),
         "ml": float(where.sum()) * grid.voxel_ml}
        for label, where in read_segments(ds, grid).items()
    ]  # fmt: skip


def _code(code: "Code") -> str:
    return f"{code.meaning} ({code.scheme} {code.value})"


def _maps(segments: "Segments", out: Path) -> "list[tuple[Path, Mask]]":
    """One label map of all segments, or where they overlap one file each."""
    from dataclasses import replace

    from ailab_kernel.volumes.masks import Mask

    try:
        return [(out, segments.together())]
    except ObjectError:  # whatever else it is, reading them apart tells again
        stem, dot, ending = out.name.rpartition(".nii")
        return [(out.with_name(f"{stem}-{label.index}{dot}{ending}"),
                 Mask(where.astype("u1"), segments.grid, (replace(label, index=1),)))
                for label, where in segments.items()]  # fmt: skip


def _told(label: "Label") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(label)


def _labels(path: Path | None, texts: Sequence[str]) -> "list[Label]":
    from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code
    from ailab_kernel.volumes.masks import Label

    try:
        told = json.loads(path.read_text(encoding="utf8"))["labels"] if path else []
        found = [Label(int(one["index"]), str(one["name"]), Code(**one["code"]),
                       Code(**one["category"]) if "category" in one else ANATOMICAL_STRUCTURE,
                       tuple(one.get("color", (220, 60, 60)))) for one in told]  # fmt: skip
        for text in texts:
            index, name, value, scheme, meaning = (part.strip() for part in text.split(",", 4))
            found.append(Label(int(index), name, Code(value, scheme, meaning)))
    except (OSError, ValueError, TypeError, LookupError):
        msg = f"the labels cannot be read; --label {_FORM}, or --labels with the JSON that to-nifti writes, is expected"
        raise WrongUse(msg) from None
    if not found:
        msg = f"what do the map's values mean? give --label {_FORM}, or --labels with the JSON that to-nifti writes"
        raise WrongUse(msg)
    return found


def _provenance(path: Path, vol: "Volume", algorithm: str, *, version: str) -> "Provenance":
    from ailab_kernel.ground.ids import sha256_file
    from ailab_kernel.objects.provenance import Provenance

    drawn = {"kind": "AUTOMATIC"} if algorithm else {"kind": "MANUAL"}
    return Provenance(algorithm or "manual", version, (vol.series_uid, sha256_file(path)), datetime.now(UTC),
                      **drawn)  # type: ignore[arg-type]


def _beside(path: Path) -> Path:
    return path.with_name(path.name.rpartition(".nii")[0] + ".json")


def _save(path: Path, data: bytes) -> None:
    from ailab_kernel.ground.store import atomic_write

    atomic_write(path, data)
