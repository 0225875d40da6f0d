"""Every action that PS3.15 A.5.3 lists, done for real, is one valid message: in a pilot, and behind the service."""

import json

import pytest

from ailab_kernel.archives.archive import Series, open_archive
from ailab_kernel.datasets.deidentified import deidentify_place
from ailab_kernel.datasets.intake import take_in
from ailab_kernel.ground.audit_messages import message
from ailab_kernel.ground.errors import ExitBlocked, NotFound
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from ailab_kernel.lab import Lab
from ailab_kernel.models import Models
from ailab_kernel.privacy.bulk import Treatment
from ailab_kernel.privacy.exits import check_files, learn
from ailab_kernel.privacy.rules.profile import profile_of
from tests.archives.samples import HOSPITAL, hospital
from tests.ground.test_audit import valid
from tests.privacy.objects import KEY, ct, file_of
from tests.service.serving import process, token
from tests.service.test_roles import stow

ONE = HOSPITAL[0]


def codes(trail: list[dict]) -> list[str]:
    """EventID and, where there is one, EventTypeCode of each line; every line is a valid message."""
    found = []
    for line in trail:
        where = valid(message(line, source="ailab")).find("EventIdentification")
        kinds = [one.get("csd-code") for one in where.iter() if one.get("csd-code")]
        found.append(" ".join(kinds))
    return found


def test_a_pilots_archive_and_exits(workspace, tmp_path):
    archive, catalog = workspace.archive, workspace.catalog
    archive.store(hospital())
    assert len(archive.search()) == len(archive.search_studies()) == 4
    assert archive.search_series(ONE.study_uid)
    series = Series(ONE.study_uid, ONE.series_uid)
    assert len(list(archive.retrieve(series))) == len(list(archive.retrieve_files(series))) == 3
    next(iter(archive.retrieve_files(series)))     # one who leaves
    with pytest.raises(NotFound):
        list(archive.retrieve(Series("1.2", "1.2.3")))
    archive.delete(ONE.study_uid)
    Models(catalog).export("heart-wall@general", tmp_path / "out")
    Models(catalog).import_bundle(tmp_path / "out", name="again")
    learn(catalog, file_of(ct()))
    (tmp_path / "a.txt").write_text("quixano")
    with pytest.raises(ExitBlocked):
        check_files(catalog, [tmp_path / "a.txt"], what="a file")
    catalog.audit("deidentify", study=ONE.study_uid, instances="3")
    assert codes(catalog.audit_trail()) == [
        "110104", "110112", "110112", "110112", "110102", "110104", "110102", "110104", "110102", "110105",
        "110113 110135", "110106", "110107", "110113 110132", "110106"]
    assert catalog.audit_findings() == ()
    assert not [value for value in ("Adler", "P1", "uixano") if value in json.dumps(catalog.audit_trail())]
    assert archive.url.startswith("folder:")


def test_the_gate_a_volume_and_what_leaves_without_its_patient(workspace, tmp_path):
    lab, series = Lab(workspace), Series(ONE.study_uid, ONE.series_uid)
    workspace.archive.store(hospital())
    lab.volume(series)
    before = len(workspace.catalog.audit_trail())
    assert codes(workspace.catalog.audit_trail())[1:] == ["110102", "110104", "110103"], "accessed"
    image = take_in(workspace, series, reason="a study that was approved")
    gate = workspace.catalog.audit_trail()[before:]
    assert codes(gate) == ["110102", "110104", "110106", "110107"], "de-identified, and imported into research"
    assert [line["event"] for line in gate[2:]] == ["deidentify", "intake"]
    assert take_in(workspace, series) == image
    assert workspace.catalog.reidentify(image.patient, "the biopsy came back") == ONE.patient[0]
    target = open_archive(f"folder:{tmp_path / 'research'}")
    deidentify_place(workspace.plain_archive, target, Treatment(profile_of("research"), KEY), processes=1,
                     journal=tmp_path / "journal", audit=workspace.catalog.audit)  # fmt: skip
    after = workspace.catalog.audit_trail()[before + 4:]
    assert codes(after) == ["110113 110132", *["110106"] * 4], "one a study"
    message_of = valid(message(after[-1], source="ailab"))
    assert message_of.find(".//Anonymized").text == "true"
    assert workspace.catalog.audit_findings() == ()
    assert not [value for value in ("Adler", "P1") if value in json.dumps(workspace.catalog.audit_trail())]


def test_behind_the_service(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", token("admin"))
    with process(tmp_path) as house:
        uid = f"dicom-web/studies/{ONE.study_uid}"
        assert house.ask("radiologist", "POST", "dicom-web/studies", **stow(ONE)).ok
        assert house.ask("radiologist", "GET", "dicom-web/studies").ok
        assert house.ask("radiologist", "GET", f"{uid}/series/{ONE.series_uid}").ok
        assert house.ask("radiologist", "DELETE", uid).status_code == 403
        assert house.ask("nobody", "DELETE", uid).status_code == 401
        assert house.ask("admin", "DELETE", uid).ok
        catalog = RemoteCatalog(house.url, token_env="TOKEN", cache=tmp_path / "cache")
        catalog.audit("import", model="x@1")
        assert catalog.found(["of Adler^Anna"]), "what the proxy passed on is known"
        catalog.release(["a page"], "consent")
    with process(tmp_path) as house:
        catalog = RemoteCatalog(house.url, token_env="TOKEN", cache=tmp_path / "cache")
        trail = catalog.audit_trail()
        assert catalog.audit_findings() == ()
        assert catalog.audit_anchor()["seq"] >= len(trail)
    login, alert = "110114 110122", "110113 110132"
    found = [one for one in codes(trail) if one != "110113 110135"]    # the product's base models got their aliases
    assert found == ["110100 110120", login, "110104", "110112", "110102", "110104", alert, alert, login, "110105",
                     "110107", alert, alert, "110100 110121", "110100 110120", login]
