"""A CT of 512×512×200 from files to an array with its geometry: ``python -m benchmarks.imaging.read``.

Every reader gives the stored values as int16, slices by position; voxels are compared before anything is timed.
Readers that can only give floats (MONAI) are marked. Medians of interleaved runs from a warm page cache; ratios are to
ours. Peak memory is each reader's own, in a process of its own, above what its imports take.
"""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ailab_kernel.volumes.series import volume_from_files
from tests.volumes.hostile import compressed
from tests.volumes.synthetic import grid, series

SHAPE = (200, 512, 512)
SYNTAXES = ("raw", "JPEG-LS", "RLE", "JPEG 2000")
RUNS = {"raw": 11, "JPEG-LS": 3, "RLE": 5, "JPEG 2000": 1}
OURS = "AI-LAB"


def phantom_values() -> np.ndarray:
    """A smooth body with scanner noise: compresses as a CT does, not as noise does."""
    z, y, x = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    body = np.where((x * 1.1) ** 2 + (y * 1.5) ** 2 < 0.8, 40.0, -1000.0) + 60 * np.sin(9 * x) * np.cos(7 * y + 3 * z)
    noise = np.random.default_rng(1).normal(0, 12, SHAPE)
    return np.clip(body + noise, -1024, 3071).astype(np.int16)


def write(folder: Path, syntax: str, values: np.ndarray) -> None:
    """One series in one transfer syntax."""
    import imagecodecs
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

    for number, ds in enumerate(series(grid(shape=SHAPE, spacing=(1.5, 0.7, 0.7)), array=values)):
        plane = np.frombuffer(ds.PixelData, np.int16).reshape(SHAPE[1:])
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0  # SimpleITK and MONAI apply them
        if syntax == "JPEG-LS":
            data = compressed(ds, JPEGLSLossless, imagecodecs.jpegls_encode(plane.view(np.uint16)))
        elif syntax == "JPEG 2000":
            frame = imagecodecs.jpeg2k_encode(plane, level=0, reversible=True, codecformat="j2k")
            data = compressed(ds, JPEG2000Lossless, frame)
        else:
            if syntax == "RLE":
                ds.compress(RLELossless, generate_instance_uid=False)
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            data = buffer.getvalue()
        (folder / f"{number:04d}.dcm").write_bytes(data)


def ours(files: list[Path]) -> np.ndarray:
    return volume_from_files(files).array


def by_dicomsdl(files: list[Path]) -> np.ndarray:
    import dicomsdl

    opened = [dicomsdl.open(str(file)) for file in files]
    along = np.cross(*np.reshape(opened[0].ImageOrientationPatient, (2, 3)))
    opened.sort(key=lambda ds: np.dot(along, ds.ImagePositionPatient))
    out = np.empty((len(files), opened[0].Rows, opened[0].Columns), np.int16)
    for ds, plane in zip(opened, out, strict=True):
        ds.copyFrameData(0, plane)
    return out


def by_pydicom(files: list[Path]) -> np.ndarray:
    import pydicom

    read = [pydicom.dcmread(file) for file in files]
    along = np.cross(*np.reshape(read[0].ImageOrientationPatient, (2, 3)).astype(float))
    read.sort(key=lambda ds: np.dot(along, np.asarray(ds.ImagePositionPatient, float)))
    return np.stack([ds.pixel_array for ds in read])


def by_simpleitk(files: list[Path]) -> np.ndarray:
    import SimpleITK

    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent))
    image = SimpleITK.ReadImage(names, SimpleITK.sitkInt16)
    return SimpleITK.GetArrayFromImage(image)


def by_monai(files: list[Path]) -> np.ndarray:
    from monai.transforms import LoadImage

    return LoadImage(image_only=True, reader="PydicomReader")(files[0].parent)


READERS: dict[str, Callable[[list[Path]], np.ndarray]] = {
    OURS: ours, "dicomsdl": by_dicomsdl, "pydicom": by_pydicom, "SimpleITK (GDCM)": by_simpleitk,
    "MONAI PydicomReader (float32)": by_monai,
}  # fmt: skip
# Slower than a minute a series here, or not able to.
LEFT_OUT = {"RLE": ("MONAI PydicomReader (float32)",), "JPEG-LS": ("MONAI PydicomReader (float32)",),
            "JPEG 2000": ("MONAI PydicomReader (float32)", "pydicom")}  # fmt: skip


def usable(syntax: str, files: list[Path], expected: np.ndarray) -> list[str]:
    """Readers that are installed and give the right voxels; what is wrong with the others is said."""
    good = []
    for name, reader in READERS.items():
        if name in LEFT_OUT.get(syntax, ()):
            continue
        try:
            found = np.asarray(reader(files))
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way
            sys.stdout.write(f"{name} cannot read {syntax}: {type(error).__name__}\n")
            continue
        if "float" not in name and not np.array_equal(found, expected):
            sys.stdout.write(f"{name} gives other voxels for {syntax}\n")
            continue
        good.append(name)
    return good


def rows(syntaxes: tuple[str, ...] = SYNTAXES) -> list[dict]:
    """One row a syntax and reader: ``syntax``, ``reader``, ``ms`` (median), ``ratio`` (theirs to ours), ``mb``."""
    values, table = phantom_values(), []
    for syntax in syntaxes:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), syntax, values)
            files = sorted(Path(name).iterdir())
            timed: dict[str, list[float]] = {reader: [] for reader in usable(syntax, files, values)}
            for _ in range(RUNS[syntax]):
                for reader, times in timed.items():
                    began = time.perf_counter()
                    kept = READERS[reader](files)
                    times.append((time.perf_counter() - began) * 1000)
                    del kept
            medians = {reader: statistics.median(times) for reader, times in timed.items()}
            for reader, ms in medians.items():
                own = {"ms": ms, "ratio": ms / medians[OURS], "mb": peak(reader, name)}
                table.append({"syntax": syntax, "reader": reader, **own})
    return table


_PEAK = """
import re, sys
from pathlib import Path
from benchmarks.imaging import read
def memory(what):
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1024
files = sorted(Path(sys.argv[2]).iterdir())
read.READERS[sys.argv[1]](files[:2] if sys.argv[1] != "MONAI PydicomReader (float32)" else files)
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
kept = read.READERS[sys.argv[1]](files)
print(memory("VmHWM") - before)
"""


def peak(reader: str, folder: str) -> float:
    """Most memory that a reader takes above what its imports take, MB; the array itself is 100."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _PEAK, reader, folder], capture_output=True, text=True,
                          check=False)  # fmt: skip
    return float(done.stdout.split()[-1]) if done.returncode == 0 else float("nan")


def main() -> None:
    """Print the table, or give it as JSON to the page that puts the tables together."""
    found = rows(tuple(word for word in sys.argv[1:] if word in SYNTAXES) or SYNTAXES)
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    print(f"{'syntax':<10}{'reader':<32}{'median ms':>10}{'ratio':>8}{'peak MB':>9}")
    for row in found:
        print(f"{row['syntax']:<10}{row['reader']:<32}{row['ms']:>10.0f}{row['ratio']:>8.2f}{row['mb']:>9.0f}")


if __name__ == "__main__":
    main()
