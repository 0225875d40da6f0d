"""SEG out and in: 1, 10 and 100 segments on 512x512x200, beside highdicom and dcmqi.

Written means a mask in memory to the bytes of a file, read means such bytes to a label map in memory, on the same grid.
ailab and highdicom run in process, on the same headers and masks, type by type; dcmqi's commands begin with their own
start and with the images' and the mask's files, which is said in the row. Runs are interleaved, medians are shown.
"""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ailab_kernel.dicom.codes import Code
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import read_seg, write_seg
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.nifti import mask_from_nifti, mask_to_nifti
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.volume import Volume

SHAPE = (200, 512, 512)
COUNTS = (1, 10, 100)
KINDS = ("BINARY", "LABELMAP")
RUNS, RUNS_DCMQI = 5, 2
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROVENANCE = Provenance("benchmark", "1", ("benchmark",), WHEN, kind="MANUAL", series_description="Benchmark")
TISSUE = Code("85756007", "SCT", "Tissue")
START = "process start, files (read: gzip, it knows no other)"


def grid() -> Grid:
    """Axial slices of 2 mm, pixels of 0.8 mm."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = [[0, 0, 0.8], [0, 0.8, 0], [2, 0, 0]], [-204, -204, 100]
    return Grid(SHAPE, affine)


def header(place: Grid, number: int) -> Dataset:
    """What a CT slice's header needs to be a source."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, derived_uid("benchmark", str(number))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid("benchmark", "study"), derived_uid("benchmark", "series")
    ds.FrameOfReferenceUID, ds.Modality = derived_uid("benchmark", "frame"), "CT"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Bench^Mark", "B1", "", "O"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260102", "030405", "", "1"
    ds.ReferringPhysicianName, ds.Manufacturer, ds.InstanceNumber = "", "AI-LAB", number + 1
    ds.ImagePositionPatient = [float(v) for v in (place.affine @ [number, 0, 0, 1])[:3]]
    ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [0.8, 0.8], 2
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *SHAPE[1:], 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def source(place: Grid) -> Volume:
    """The series: headers, and an array that nobody looks at."""
    headers = tuple(header(place, number) for number in range(SHAPE[0]))
    first = headers[0]
    return Volume(np.zeros((1, 1, 1), np.int16), place, study_uid=first.StudyInstanceUID,
                  series_uid=first.SeriesInstanceUID, frame_of_reference_uid=first.FrameOfReferenceUID,
                  instance_uids=tuple(ds.SOPInstanceUID for ds in headers), headers=headers)  # fmt: skip


def drawn(count: int, place: Grid) -> Mask:
    """Ellipsoids side by side, each through about a fifth of the slices (a single one through a quarter)."""
    array, side = np.zeros(SHAPE, np.uint8), int(np.ceil(np.sqrt(count)))
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    size = SHAPE[1] // side
    for number in range(count):
        row, column = divmod(number, side)
        middle = SHAPE[0] * (0.2 + 0.6 * (number * 37 % count) / count)
        reach = SHAPE[0] * (0.125 if count == 1 else 0.11)
        inside = (((z - middle) / reach) ** 2 + ((y - (row + 0.5) * size) / (size * 0.45)) ** 2
                  + ((x - (column + 0.5) * size) / (size * 0.4)) ** 2 < 1)  # fmt: skip
        array[inside] = number + 1
    return fresh(array, place, count)


def fresh(array: np.ndarray, place: Grid, count: int) -> Mask:
    """A mask that has counted nothing yet."""
    return Mask(array, place, tuple(Label(n, f"segment-{n}", TISSUE) for n in range(1, count + 1)))


def encoded(ds: Dataset) -> bytes:
    """The bytes of a PS3.10 file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def ours_write(mask: Mask, vol: Volume, kind: str) -> bytes:
    """Our SEG."""
    return encoded(write_seg(mask, vol, PROVENANCE, kind=kind))


def ours_read(data: bytes, place: Grid) -> np.ndarray:
    """Our label map."""
    return read_seg(read_dataset(data), place).array


def highdicom_write(mask: Mask, vol: Volume, kind: str) -> bytes:
    """highdicom's SEG of the same type, with its own defaults."""
    import highdicom

    def _coded(code: Code) -> object:
        return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)

    segments = [highdicom.seg.SegmentDescription(label.index, label.name, _coded(label.category), _coded(label.code),
                                                 "MANUAL") for label in mask.labels]  # fmt: skip
    return encoded(highdicom.seg.Segmentation(
        list(vol.headers), mask.array, kind, segments, PROVENANCE.uid("series"), 1, PROVENANCE.uid("peer"), 1,
        "AI-LAB", "benchmark", "1", "1"))  # fmt: skip


def highdicom_read(data: bytes, place: Grid) -> np.ndarray:
    """highdicom's label map, padded back to the grid, whose empty slices it leaves out."""
    import highdicom

    found = highdicom.seg.segread(io.BytesIO(data)).get_volume(combine_segments=True)
    array = np.zeros(place.shape, np.uint8)
    first, last = (round(float((np.linalg.inv(place.affine) @ found.affine @ [k, 0, 0, 1])[0]))
                   for k in (0, found.array.shape[0] - 1))  # fmt: skip
    array[min(first, last) : max(first, last) + 1] = found.array if first <= last else found.array[::-1]
    return array


def dcmqi_files(mask: Mask, vol: Volume, folder: Path) -> None:
    """What dcmqi begins with: the images, the mask and a description of its segments."""
    (folder / "images").mkdir()
    for number, ds in enumerate(vol.headers):
        whole = Dataset(ds)
        whole.file_meta, whole.PixelData = ds.file_meta, bytes(2 * SHAPE[1] * SHAPE[2])
        whole.save_as(folder / "images" / f"{number}.dcm", enforce_file_format=True)
    mask_to_nifti(mask, folder / "mask.nii")
    code = {"CodeValue": TISSUE.value, "CodingSchemeDesignator": TISSUE.scheme, "CodeMeaning": TISSUE.meaning}
    segments = [{"labelID": label.index, "SegmentLabel": label.name, "SegmentAlgorithmType": "MANUAL",
                 "SegmentedPropertyCategoryCodeSequence": code, "SegmentedPropertyTypeCodeSequence": code}
                for label in mask.labels]  # fmt: skip
    (folder / "told.json").write_text(json.dumps({
        "ContentCreatorName": "Reader1", "SeriesNumber": "300", "InstanceNumber": "1", "SeriesDescription": "Benchmark",
        "segmentAttributes": [segments]}))  # fmt: skip


def dcmqi_write(folder: Path, kind: str) -> bytes:
    """dcmqi's SEG of the same type, by its command."""
    command("itkimage2segimage", "--inputImageList", folder / "mask.nii", "--inputDICOMDirectory", folder / "images",
            "--inputMetadata", folder / "told.json", "--outputDICOM", folder / f"{kind}.seg",
            "--segmentationType", kind.lower(), "--skip", "1")  # fmt: skip
    return (folder / f"{kind}.seg").read_bytes()


def dcmqi_read(folder: Path, kind: str) -> None:
    """dcmqi's label map as a file, by its command."""
    command("segimage2itkimage", "--inputDICOM", folder / f"{kind}.seg", "--outputDirectory", folder, "-t", "nii",
            "--prefix", kind, "--mergeSegments")  # fmt: skip


def command(name: str, *arguments: object) -> None:
    """Run one of dcmqi's commands."""
    subprocess.run([Path(sys.executable).with_name(name), *map(str, arguments)], check=True, capture_output=True)


def interleaved(work: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median ms of each, one after the other in every run."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(runs):
        for name, act in work.items():
            started = time.perf_counter()
            act()
            found[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in found.items()}


def rows(counts: tuple[int, ...] = COUNTS, *, runs: int = RUNS, runs_dcmqi: int = RUNS_DCMQI) -> list[dict]:
    """One row for each act, number of segments, type and tool: ms, MB, times ours, and what else is in the time."""
    place = grid()
    vol, found = source(place), []
    for count in counts:
        mask = drawn(count, place)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom comments on what it finds in the headers
            dcmqi_files(mask, vol, Path(folder))
            for kind in KINDS:
                found += measured(mask, vol, kind, Path(folder), (runs, runs_dcmqi))
    return found


def measured(mask: Mask, vol: Volume, kind: str, folder: Path, runs: tuple[int, int]) -> list[dict]:
    """All tools' times for one mask and one type; each tool reads what it wrote itself, and every voxel is compared."""
    count, place = len(mask.labels), vol.grid
    written = {"ailab": ours_write(mask, vol, kind), "highdicom": highdicom_write(mask, vol, kind),
               "dcmqi": dcmqi_write(folder, kind)}  # fmt: skip
    dcmqi_read(folder, kind)
    same(mask, {f"ailab reads {name}": ours_read(data, place) for name, data in written.items()})
    same(mask, {"highdicom": highdicom_read(written["highdicom"], place), "dcmqi": merged(folder, kind, place),
                "highdicom reads ailab": highdicom_read(written["ailab"], place)})  # fmt: skip
    write = interleaved({"ailab": lambda: ours_write(fresh(mask.array, place, count), vol, kind),
                         "highdicom": lambda: highdicom_write(mask, vol, kind)}, runs[0])  # fmt: skip
    read = interleaved({"ailab": lambda: ours_read(written["ailab"], place),
                        "highdicom": lambda: highdicom_read(written["highdicom"], place)}, runs[0])  # fmt: skip
    outside = interleaved({"write": lambda: dcmqi_write(folder, kind),
                           "read": lambda: dcmqi_read(folder, kind)}, runs[1])  # fmt: skip
    return [{"act": act, "segments": count, "type": kind, "tool": tool, "ms": ms, "mb": len(written[tool]) / 1e6,
             "times ours": ms / times["ailab"], "includes": START if tool == "dcmqi" else ""}
            for act, times in (("write", write), ("read", read))
            for tool, ms in {**times, "dcmqi": outside[act]}.items()]  # fmt: skip


def merged(folder: Path, kind: str, place: Grid) -> np.ndarray:
    """What dcmqi read, on the grid."""
    theirs = mask_from_nifti(next(folder.glob(f"{kind}*.nii.gz")), ())
    return to_grid(theirs.array, theirs.grid, place, mode="nearest")


def same(mask: Mask, arrays: dict[str, np.ndarray]) -> None:
    """Stop when a tool's voxels are others."""
    for name, array in arrays.items():
        if not np.array_equal(array, mask.array):
            raise SystemExit(f"{name}: {np.count_nonzero(array != mask.array)} voxels differ")


def main() -> None:
    """Print the table."""
    print(f"{'':6}{'segments':>9}  {'type':<9}{'tool':<10}{'ms':>9}{'MB':>8}{'times ours':>12}")
    for row in rows():
        print(f"{row['act']:<6}{row['segments']:>9}  {row['type']:<9}{row['tool']:<10}{row['ms']:9.0f}{row['mb']:8.1f}"
              f"{row['times ours']:12.1f}  {row['includes']}")  # fmt: skip


if __name__ == "__main__":
    main()
