"""A review over an archive, from the notebook's verb and from the terminal: held back, decided, released, told."""

import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from ailab_kernel.archives import open_archive
from ailab_kernel.datasets.reviewing import open_review
from ailab_kernel.ground.audit_messages import message
from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.lab import Lab
from ailab_kernel.privacy.bulk import Treatment
from ailab_kernel.privacy.rules.profile import profile_of
from tests.ground.test_audit import valid
from tests.privacy.burned import US, Line, anatomy, drawn, image
from tests.privacy.objects import KEY, ct
from tests.privacy.test_review import SECRETS, check

PLAIN = Treatment(profile_of("research"), KEY)


def screen(number: int, words: str = "LIVER RT"):
    picture = drawn(anatomy(240, 320, seed=number), (Line(words, 12, 16, 14),))[0]
    ds = image(picture[None], sop_class=US, modality="US")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.276.0.77.9.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.276.0.77.91.{number % 2}", f"1.2.276.0.77.92.{number % 2}"
    return ds


@pytest.fixture
def clinic(tmp_path):
    """An archive of two studies: three ultrasound screens and a section."""
    archive = open_archive(f"folder:{tmp_path / 'clinic'}")
    section = ct("1.2.276.0.77.9.9", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    section.StudyInstanceUID, section.SeriesInstanceUID = "1.2.276.0.77.91.0", "1.2.276.0.77.93"
    archive.store([screen(1), screen(2), screen(3), section])
    return archive


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "site.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


def decide(page, name: str, boxes) -> None:
    told = {"name": name, "kind": "done", "boxes": boxes, "client": "c", "number": page.desk.log.expected.get("c", 1)}
    assert page.desk.act(told) == ""


def test_from_one_archive_into_another(clinic, tmp_path):
    target, journal = open_archive(f"folder:{tmp_path / 'research'}"), tmp_path / "journal"

    def opened():
        return open_review(clinic, target, PLAIN, who="reader-1", journal=journal, processes=1)

    page = opened()
    assert page.report["review"] == {"waiting": 3, "decided": 0, "boxes": 0}
    assert len([1 for study in target.search() for _ in study.series]) == 1, "the section alone"
    assert [(one["study"], one["state"]) for one in page.scene["objects"]] == [(1, "open"), (2, "open"), (2, "open")]
    (alone, *others) = page.desk.proposals
    assert page.desk.picture(alone, 0)[:4] == b"\x89PNG"
    assert page.desk.picture(others[1], 0)[:4] == b"\x89PNG"
    decide(page, others[0], [(0, 0, 100, 50, 130, 90)])
    assert page.release()["review"] == {"waiting": 2, "decided": 1, "boxes": 1}
    (out,) = [ds for study in target.search() for series in study.series for ds in target.retrieve(series) if ds.Modality == "US"]
    (was,) = [ds for ds in (screen(1), screen(3)) if page.desk.proposals[others[0]].number == (1 if ds.SOPInstanceUID[-1] == "1" else 2)]
    check(was.pixel_array, out.pixel_array, [(0, 0, 100, 50, 130, 90)], (240, 320))
    before = (journal / "deidentified.jsonl").read_bytes()
    again = opened()
    assert (journal / "deidentified.jsonl").read_bytes() == before, "studies that wait are not worked through again"
    assert [one["state"] for one in again.scene["objects"]] == ["open", "released", "open"]
    kept = b"".join(path.read_bytes() for path in journal.rglob("*") if path.is_file()) + str(sorted(journal.rglob("*"))).encode()
    assert not [one for one in SECRETS if one in kept]
    clinic.delete("1.2.276.0.77.91.0")
    with pytest.raises(NotFound, match="no longer holds"):
        opened().desk.picture(alone, 0)


def test_the_labs_verb_tells_the_trail_and_needs_the_clinical_side(workspace, clinic, key, tmp_path, monkeypatch):
    lab = Lab(workspace)
    page = lab.redact(clinic.url, tmp_path / "out", key_file=key, reader="viola")
    assert page.desk.who.startswith("reader-")
    assert "viola" not in page.desk.who
    opened = workspace.catalog.audit_trail()[-1]
    assert (opened["event"], json.loads(opened["detail"])) == ("access", {"objects": "3", "reader": page.desk.who})
    valid(message(opened, source="ailab"))
    with pytest.raises(WrongUse, match="an archive holds no journal"):
        lab.redact(clinic.url, f"folder:{tmp_path / 'research'}", key_file=key)
    monkeypatch.setattr(type(workspace.catalog), "roles_enforced", True)
    with pytest.raises(WrongUse, match="clinical side only"):
        lab.redact(clinic.url, tmp_path / "out", key_file=key)


def test_the_terminal_holds_back_and_releases(clinic, key, tmp_path):
    words = ["deidentify", clinic.url, str(tmp_path / "out"), "--key-file", str(key), "--review", "--json"]
    command = [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()"]

    def ailab(*words):
        return subprocess.run([*command, *words], capture_output=True, text=True, timeout=300, cwd=tmp_path)

    first = ailab(*words)
    assert first.returncode == 1, first.stderr
    assert json.loads(first.stdout)["review"] == {"waiting": 3, "decided": 0, "boxes": 0}
    page = open_review(clinic, tmp_path / "out", replace(PLAIN), who="reader-1")
    for name in page.desk.proposals:
        decide(page, name, [])
    done = ailab(*words)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["review"] == {"waiting": 0, "decided": 3, "boxes": 0}
    outputs = [dcmread(BytesIO(path.read_bytes())) for path in (tmp_path / "out").rglob("*.dcm")]
    shown = sorted(np.asarray(ds.pixel_array).tobytes() for ds in outputs if ds.Modality == "US")
    assert shown == sorted(screen(number).pixel_array.tobytes() for number in (1, 2, 3)), "whole"
    without = ailab(*[one for one in words if one != "--review"])
    assert without.returncode == 2
    assert "another key or profile" in without.stderr
    said = ailab(*words[:-1]).stdout
    assert "review: 0 objects wait for a person (lab.redact in a notebook), 3 released as decided, with 0 boxes" in said
