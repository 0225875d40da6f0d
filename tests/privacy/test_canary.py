"""The canary: one made-up person is planted wherever the demo passes, and must come out nowhere."""

import json
import logging
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from ailab_kernel.datasets.export import export_dataset
from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.datasets.styles import STYLES
from ailab_kernel.ground.errors import ExitBlocked, ReportFailed
from ailab_kernel.lab import open_lab
from ailab_kernel.models.registry import base_names
from ailab_kernel.privacy.exits import Redacting
from ailab_kernel.reports import run_report
from ailab_kernel.reports.exits import export_report, guard_of

pytestmark = pytest.mark.slow
PERSON = {
    "PatientName": "Zubrowka^Ottokar", "PatientID": "ZK-90817-X", "PatientBirthDate": "19371103", "AccessionNumber": "ACZK554433",
    "ReferringPhysicianName": "Pfefferkorn^Adalbert", "StudyDescription": "chest of Zubrowka", "PatientIdentityRemoved": "NO",
    "DeidentificationMethod": "", "ImageComments": "Ottokar Zubrowka, born 03.11.1937", "OperatorsName": "Pfefferkorn^Adalbert",
}  # fmt: skip
PLANTED = ("zubrowka", "ottokar", "90817", "aczk554433", "19371103", "03.11.1937", "pfefferkorn")
SIZE, SPACING = (30, 64, 64), (9.0, 5.5, 5.5)
LEAKS = {
    "print": "print('read', patient)",
    "table": "from IPython.display import HTML; HTML(f'<b>{patient[:3]}</b>{patient[3:]}')",
    "metric": "from ailab_kernel import reports; reports.this_run().metrics({'best': 1, 'of': patient})",
    "note": "from ailab_kernel import reports; reports.this_run().note('patient', patient)",
    "path": "Path('/data') / patient / 'ct.dcm'",
    "progress": "from ailab_kernel.ground.progress import say; say(f'reading {patient}')",
    "figure": "from IPython.display import Image; import base64, io; from PIL import Image as P, PngImagePlugin as G\n"
              "i, f = G.PngInfo(), io.BytesIO(); i.add_text('Title', patient); P.new('L', (4, 4)).save(f, 'PNG', pnginfo=i)\n"
              "Image(f.getvalue())",
    "error": "from ailab_kernel.ground.errors import VolumeError; raise VolumeError(f'study of {patient} has a gap')",
}  # fmt: skip


def leaks_in(folder: Path) -> list[str]:
    """Files below a folder, archive and scratch left out, whose bytes or names hold a planted value."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and "archive" not in path.relative_to(folder).parts[:1]:
            text = path.read_bytes().lower() + str(path.relative_to(folder)).lower().encode()
            found += [str(path) for value in PLANTED if value.encode() in text]
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Three of the family, so that patients can be split; folders and files of the archive are called as they are."""
    home = tmp_path_factory.mktemp("canary") / "lab"
    for number in range(3):
        study = make(random_phantom(640_001 + number, style=STYLES["general-hospital"], size=SIZE, spacing_mm=SPACING))
        instances, seg = to_dicom(study)
        folder = home / "archive" / f"Zubrowka Ottokar {number}"
        folder.mkdir(parents=True)
        for place, ds in enumerate((*instances, seg)):
            for keyword, value in (PERSON | {"PatientID": f"ZK-90817-X{number}"}).items():
                setattr(ds, keyword, value)
            ds.save_as(folder / f"ZUBROWKA {place}.dcm", enforce_file_format=True)
    found = open_lab(home=home)
    return found


def template(folder: Path, source: str) -> Path:
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [cell | {"id": "p", "metadata": {"tags": ["parameters"]}, "source": 'who: str = "x"  # anybody'},
             cell | {"id": "c", "source": f"from pathlib import Path\npatient = Path({str(folder / 'who')!r}).read_text()\n{source}"}]
    told = {"cells": cells, "metadata": {"title": "Leaks", "kernelspec": {"name": "python3", "language": "python",
            "display_name": "Python 3"}}, "nbformat": 4, "nbformat_minor": 5}
    folder.mkdir(exist_ok=True)
    (folder / "leaks.ipynb").write_text(json.dumps(told))
    (folder / "who").write_text("Ottokar Zubrowka")    # the notebook's own text names nobody: only what comes out of it
    return folder


def run(lab, folder: Path, source: str, **parameters: str):
    environment = {**lab.workspace.environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
    return run_report(lab.home, "leaks", parameters, resolved={"of": source}, seal=lab.workspace.catalog.sign,
                      environment=environment, templates=template(folder, source), guard=guard_of(lab.workspace.catalog))


def test_the_whole_demo_names_nobody(lab, tmp_path, capfd):
    """Annotate, train, validate, infer; everything that they leave behind, print and export."""
    studies = lab.archive.search()
    words = {"label": "heart wall", "assist": "heart-wall@general", "reader": "reference", "reason": "canary"}
    learned = lab.datasets.freeze("canary", lab.annotate(studies[:2], **words).accepted(), split=(0.5, 0.5, 0.0))
    unseen = lab.datasets.freeze("canary-check", lab.annotate(studies[2:], **words).accepted(), split=(0.0, 0.0, 1.0))
    run = lab.train(learned.ref, base="heart-wall@general", epochs=1)
    report = lab.validate(model=run.model, dataset=unseen.ref)
    inferred = lab.infer(model=run.model, studies=studies[2:])
    assert {one.state for one in lab.reports()} == {"done"}
    for number, one in enumerate((run.report, report, inferred)):
        export_report(lab.workspace.catalog, one, tmp_path / "out" / f"report {number}")
    lab.models.export(run.model.ref, tmp_path / "out" / "model")
    export_dataset(lab.workspace.catalog, learned, tmp_path / "out" / "data")
    assert lab.workspace.catalog.found(["Zubrowka", "ACZK554433"]), "the gate taught the index"
    told = capfd.readouterr()
    assert not [value for value in PLANTED if value in (told.out + told.err).lower()]
    assert leaks_in(lab.home) == leaks_in(tmp_path) == []
    trail = lab.workspace.catalog.audit_trail()
    assert not [value for value in PLANTED if value in json.dumps(trail).lower()]
    assert json.loads(trail[-2]["detail"])["model"] == run.model.ref


def test_a_step_that_fails_names_nobody(lab, capfd):
    """Every file is cut off, in a folder that is called as the patient is."""
    studies = lab.archive.search()
    slices = sorted((lab.home / "archive").rglob("*.dcm"))
    whole = {path: path.read_bytes() for path in slices}
    for path in slices:
        path.write_bytes(whole[path][:len(whole[path]) // 2])
    try:
        report = lab.infer(model="heart-wall@general", studies=studies[:1], store=False)
    finally:
        for path in slices:
            path.write_bytes(whole[path])
    told = capfd.readouterr()
    assert report.metrics["failed"] == 1
    assert not [value for value in PLANTED if value in (told.out + told.err).lower()]
    assert leaks_in(lab.home) == []


@pytest.mark.parametrize("way", LEAKS)
def test_a_notebook_that_leaks_ends_blocked_and_leaves_nothing(lab, tmp_path, way):
    lab.workspace.catalog.remember({key: [value] for key, value in PERSON.items()})
    with pytest.raises(ExitBlocked, match=r"PatientName in") as caught:
        run(lab, tmp_path / "templates", LEAKS[way])
    assert "ubrowka" not in str(caught.value)
    newest = lab.reports()[0]
    assert newest.state == "failed"
    assert "stays here" in newest.reason
    assert leaks_in(lab.home) == []


def test_tracebacks_parameters_and_logs(lab, tmp_path):
    lab.workspace.catalog.remember({key: [value] for key, value in PERSON.items()})
    with pytest.raises(ReportFailed, match="an error in the program"):
        run(lab, tmp_path / "templates", "{}[patient]")
    with pytest.raises(ExitBlocked, match="PatientID in parameters"):
        run(lab, tmp_path / "templates", "1", who="study ZK 90817 X")
    lines, log = StringIO(), logging.getLogger("tests.canary")
    handler = logging.StreamHandler(lines)
    handler.addFilter(Redacting(lab.workspace.catalog))
    log.addHandler(handler)
    log.warning("retrieved %s", PERSON)
    log.removeHandler(handler)
    assert not [value for value in PLANTED if value in lines.getvalue().lower()]
    assert leaks_in(lab.home) == []


def test_the_terminal_blocks_and_redacts(lab, tmp_path):
    lab.workspace.catalog.remember({key: [value] for key, value in PERSON.items()})
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AILAB_")}
    letter = tmp_path / "letter.ipynb"
    letter.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "Ottokar", "metadata": {}}], "metadata": {}}))

    def _ailab(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([Path(sys.executable).with_name("ailab"), *words], capture_output=True, text=True, check=False,
                              env={**kept, "AILAB_HOME": str(lab.home)}, cwd=tmp_path)

    done = _ailab("exits", "export", str(letter), "--to", str(tmp_path / "stick"))
    assert done.returncode == 1
    assert "PatientName in letter.ipynb, cell 1" in done.stderr
    assert not (tmp_path / "stick").exists()
    assert _ailab("exits", "export", str(letter), "--to", str(tmp_path / "stick"), "--release", "consent").returncode == 0
    done = _ailab("models", "show", "zubrowka")
    assert done.returncode == 1
    known = ", ".join(base_names())
    assert done.stderr == f"ailab: there is no model [removed]; known here: {known} (ailab models list)\n"
    assert _ailab("audit", "verify").stdout == "the audit trail is as it was written\n"
    assert _ailab("audit", "export").stdout.count("<AuditMessage>") == len(lab.workspace.catalog.audit_trail())
