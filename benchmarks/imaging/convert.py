"""Series to NIfTI beside dcm2niix, dicom2nifti, SimpleITK and nibabel: ``python -m benchmarks.imaging.convert``.

Raw and JPEG-LS, ``.nii`` and ``.nii.gz`` at level 1; in process (dcm2niix less its start-up, measured by a run that
finds nothing) and from the terminal (process start counted for both); one series of 200 slices and thirty of 100, all
512×512. Interleaved rounds, medians. Every file is compared: voxels equal, places within 1e-3 mm. A peer that is not
installed is left out by name. No peer waits until its file is on the disk; ours does from the terminal, and in process
where it says so.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ailab_kernel.dicom.uids import derived_uid

ROUNDS, SIZE, SLICES, SERIES, BATCH_SLICES = 5, 512, 200, 30, 100
JPEG_LS = "1.2.840.10008.1.2.4.80"
TOOLS = Path(sys.executable).parent
Convert = Callable[[Path, Path], None]


def make_series(folder: Path, slices: int, *, seed: int = 0, jpeg_ls: bool = False, uid: str = "") -> Path:
    """A CT of an ellipse with noise, as scanners send it: one file a slice."""
    import imagecodecs
    from pydicom.encaps import encapsulate

    from ailab_kernel.archives.instances import encode

    rng, folder = np.random.default_rng(seed), folder / (uid or "series")
    folder.mkdir(parents=True)
    row, column = np.ogrid[:SIZE, :SIZE]
    body = np.where(((row - 256) / 170) ** 2 + ((column - 256) / 215) ** 2 < 1, 40, -1000)
    body += 300 * ((row > 300) & (column < 200))
    for number in range(slices):
        plane = (body + rng.normal(0, 20, body.shape) + number).astype("<i2")
        ds = header(number, uid or derived_uid("bench", str(seed)))
        ds.PixelData = plane.tobytes()
        if jpeg_ls:
            ds.file_meta.TransferSyntaxUID = JPEG_LS
            ds.PixelData = encapsulate([imagecodecs.jpegls_encode(plane.view("<u2"))])
            ds["PixelData"].VR = "OB"
        (folder / f"IM{number:04d}.dcm").write_bytes(encode(ds))
    return folder


def header(number: int, uid: str):
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, derived_uid(uid, str(number))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid(uid, "study"), uid
    ds.FrameOfReferenceUID = derived_uid(uid, "frame")
    ds.Modality, ds.Manufacturer, ds.PatientID, ds.PatientName = "CT", "AI-LAB", "BENCH", "Bench"
    ds.StudyDate, ds.StudyTime, ds.SeriesNumber, ds.InstanceNumber = "20260102", "030405", 1, number + 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-180, -170, -100 + 1.5 * number], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.Rows, ds.Columns = [0.7, 0.7], 1.5, SIZE, SIZE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def ours(source: Path, out: Path, *, durable: bool = False) -> None:
    from ailab_kernel.volumes.nifti import volume_to_nifti
    from ailab_kernel.volumes.series import volumes_from_folder

    (vol,) = volumes_from_folder(source).volumes
    volume_to_nifti(vol, out, durable=durable)


def by_dicom2nifti(source: Path, out: Path) -> None:
    from dicom2nifti import dicom_series_to_nifti

    dicom_series_to_nifti(source, out, reorient_nifti=False)


def by_simpleitk(source: Path, out: Path) -> None:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source)))
    sitk.WriteImage(reader.Execute(), str(out), useCompression=out.suffix == ".gz", compressionLevel=1)


def by_nibabel(source: Path, out: Path) -> None:
    import nibabel
    from nibabel.openers import Opener
    from pydicom import dcmread

    slices = sorted((dcmread(path) for path in source.iterdir()), key=lambda ds: ds.ImagePositionPatient[2])
    array = np.stack([ds.pixel_array for ds in slices], axis=-1).swapaxes(0, 1)
    step = (slices[-1].ImagePositionPatient[2] - slices[0].ImagePositionPatient[2]) / (len(slices) - 1)
    affine = np.diag([-float(slices[0].PixelSpacing[1]), -float(slices[0].PixelSpacing[0]), step, 1.0])
    affine[:3, 3] = np.multiply([float(v) for v in slices[0].ImagePositionPatient], [-1, -1, 1])
    Opener.default_compresslevel = 1
    nibabel.save(nibabel.Nifti1Image(array, affine), out)


def by_dcm2niix(source: Path, out: Path) -> None:
    packed = ["-z", "y", "-1"] if out.suffix == ".gz" else ["-z", "n"]
    name = out.name.removesuffix("".join(out.suffixes))
    run([TOOLS / "dcm2niix", *packed, "-w", "1", "-f", name, "-o", out.parent, source])


def ailab(source: Path, out: Path) -> None:
    run([TOOLS / "ailab", "convert", source, out])


def run(words: list) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


IN_PROCESS: dict[str, tuple[str, Convert]] = {
    "ours": ("ailab_kernel", ours), "ours, on the disk": ("ailab_kernel", partial(ours, durable=True)),
    "dcm2niix less start-up": ("dcm2niix", by_dcm2niix),
    "dicom2nifti": ("dicom2nifti", by_dicom2nifti), "SimpleITK": ("SimpleITK", by_simpleitk),
    "pydicom + nibabel": ("nibabel", by_nibabel),
}  # fmt: skip
TERMINAL: dict[str, tuple[str, Convert]] = {"ours": ("ailab_kernel", ailab), "dcm2niix": ("dcm2niix", by_dcm2niix)}


def present(tools: dict[str, tuple[str, Convert]]) -> dict[str, Convert]:
    absent = [name for name, (module, _) in tools.items() if find_spec(module) is None]
    if absent:
        print(f"not installed, left out: {', '.join(absent)}", file=sys.stderr)
    return {name: convert for name, (_, convert) in tools.items() if name not in absent}


def timed(act: Callable[[], None]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def check(mine: Path, theirs: Path) -> None:
    """Assert equal voxels at equal places, whichever way the axes run."""
    from ailab_kernel.volumes.nifti import volume_from_nifti
    from ailab_kernel.volumes.resample import to_grid

    a, b = volume_from_nifti(mine), volume_from_nifti(theirs)
    turned = to_grid(b.array, b.grid, a.grid, mode="nearest")
    assert np.array_equal(turned * b.slope + b.intercept, a.array * a.slope + a.intercept), theirs
    assert np.abs(np.subtract(ends(a.grid), ends(b.grid))).max() < 1e-3, theirs


def ends(grid) -> np.ndarray:
    """Corners of a grid, LPS mm, sorted along each axis."""
    corners = [[*np.multiply(at, np.subtract(grid.shape, 1)), 1] for at in np.ndindex(2, 2, 2)]
    return np.sort((grid.affine @ np.transpose(corners))[:3], axis=1)


def rounds(source: Path, ending: str, tools: dict[str, Convert], out: Path) -> dict[str, list[float]]:
    """Seconds of each tool in every round, one after the other in each; the first round's files are compared."""
    found: dict[str, list[float]] = {name: [] for name in tools}
    empty = out / "empty"
    empty.mkdir(exist_ok=True)
    for number in range(ROUNDS):
        for place, (name, convert) in enumerate(tools.items()):
            target = out / f"{place}{ending}"
            target.unlink(missing_ok=True)
            took = timed(lambda convert=convert, target=target: convert(source, target))
            if name.endswith("less start-up"):
                took -= timed(lambda: subprocess.run([TOOLS / "dcm2niix", empty], capture_output=True, check=False))
            found[name].append(took)
            if number == 0 and place:
                check(out / f"0{ending}", target)
    return found


def batch(source: Path, out: Path, series: list[Path]) -> dict[str, list[float]]:
    """Seconds for thirty series in one call, uncompressed, from the terminal; one process a series for dcm2niix too."""
    calls = {
        "ours": lambda: run([TOOLS / "ailab", "convert", source, out / "a", "--name", "{uid}.nii"]),
        "dcm2niix": lambda: run([TOOLS / "dcm2niix", "-z", "n", "-f", "%j", "-o", out / "b", source]),
        "dcm2niix, a process a series": lambda: [
            run([TOOLS / "dcm2niix", "-z", "n", "-f", "%j", "-o", out / "b", one]) for one in series],
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for folder in ("a", "b"):
                shutil.rmtree(out / folder, ignore_errors=True)
                (out / folder).mkdir()
            found[name].append(timed(call))
            if name != "ours" and len(found[name]) == 1:
                run([TOOLS / "ailab", "convert", source, out / "a", "--name", "{uid}.nii"])
                for one in (series[0], series[-1]):
                    check(out / "a" / f"{one.name}.nii", out / "b" / f"{one.name}.nii")
    return found


def rows() -> list[dict[str, object]]:
    """One row a job, place and tool: milliseconds (median), and how many times ours that is."""
    return list(_rows())


def _rows() -> Iterator[dict[str, object]]:
    inside, outside = present(IN_PROCESS), present(TERMINAL)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for kind in ("raw", "JPEG-LS"):
            source = make_series(root / kind, SLICES, jpeg_ls=kind != "raw")
            for ending in (".nii", ".nii.gz"):
                for where, tools in (("in process", inside), ("terminal", outside)):
                    yield from told(f"1 × {SLICES} {kind} {ending}", where, rounds(source, ending, tools, root))
            shutil.rmtree(source)
        uids = [derived_uid("batch", str(number)) for number in range(SERIES)]
        series = [make_series(root / "batch", BATCH_SLICES, seed=n, uid=uid) for n, uid in enumerate(uids)]
        if "dcm2niix" in outside:
            yield from told(f"{SERIES} × {BATCH_SLICES} raw .nii", "terminal", batch(root / "batch", root, series))


def told(job: str, where: str, found: dict[str, list[float]]) -> Iterator[dict[str, object]]:
    medians = {name: statistics.median(times) for name, times in found.items()}
    for name, seconds in medians.items():
        yield {"job": job, "where": where, "tool": name, "ms": round(seconds * 1000),
               "ours_is_faster": round(seconds / medians["ours"], 2)}  # fmt: skip


def main() -> None:
    for row in _rows():
        print(f"{row['job']:24} {row['where']:11} {row['tool']:30} {row['ms']:>7} ms  ×{row['ours_is_faster']}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
