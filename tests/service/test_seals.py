"""What the lab's key seals, and that a model's alias moves for a sealed validation of it and for nothing else."""

import json

import pytest

from ailab_kernel.ground.errors import CatalogError, ModelChanged, ModelError, NotFound, SealBroken, WrongUse
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from ailab_kernel.models import Models
from ailab_kernel.models.evidence import Evidence, keep_evidence
from ailab_kernel.reports.library import template
from tests.models.test_bundle import make_bundle
from tests.service.serving import MANIFEST, serving, token

OWN = template("validate").digest


@pytest.fixture
def house(tmp_path):
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def catalog(house, tmp_path, monkeypatch):
    """What a data scientist's kernel holds."""
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", token("data-scientist"))
    return RemoteCatalog(house.url, token_env="AILAB_SERVICE_TOKEN", cache=tmp_path / "cache")


@pytest.fixture
def model(catalog, tmp_path):
    return Models(catalog).import_bundle(make_bundle(tmp_path / "bundle"))


def manifest(**more) -> bytes:
    return json.dumps(json.loads(MANIFEST) | {"template_digest": OWN} | more).encode()


def sealed(catalog, about: str, **more) -> Evidence:
    told = manifest(resolved={"model": about}, **more)
    return Evidence("validate-00000000", told, catalog.sign(told))


def move(catalog, model, evidence: str = "") -> None:
    catalog.point("model", model.name, "champion", digest=model.digest, evidence=evidence)


def test_a_sealed_validation_moves_the_alias(catalog, model, house):
    Models(catalog).promote(model, "champion", evidence=sealed_as_report(catalog, model))
    assert Models(catalog).get("tiny@champion") == model
    move_, = house.desk.realms.lab.history("model", "tiny")
    assert (move_.moved_by, move_.reason) == ("data-scientist", "report validate-00000000")
    trail = [(row["event"], json.loads(row["detail"])) for row in house.desk.realms.lab.audit_trail()]
    signed, = [detail for event, detail in trail if event == "service.signed"]
    assert (signed["id"], signed["template"]) == ("validate-00000000", "validate")
    moved, = [detail for event, detail in trail if event == "alias-moved"]
    assert house.desk.realms.lab.query("evidence", digest=moved["evidence"])[0].parents == (model.digest,)


def sealed_as_report(catalog, model):
    class _Report:
        def evidence(self):
            return sealed(catalog, model.digest)

    return _Report()


def test_without_a_report_no_alias_moves(catalog, model):
    with pytest.raises(NotFound, match="no sealed validation report was named"):
        move(catalog, model)
    note = catalog.append("note", {"is": "no evidence"})
    with pytest.raises(NotFound, match="no sealed validation report"):
        move(catalog, model, note.digest)


@pytest.mark.parametrize("more", [{"template_digest": "1" * 64}, {"template": "annotate"}, {"resolved": {"model": "2" * 64}},
                                  {"resolved": {}}], ids=str)  # fmt: skip
def test_a_report_that_does_not_speak_for_the_model_moves_nothing(catalog, model, more):
    told = manifest(**({"resolved": {"model": model.digest}} | more))
    kept = keep_evidence(catalog, Evidence("validate-00000000", told, catalog.sign(told)))
    with pytest.raises(ModelError, match=r"says nothing about tiny@1|another template"):
        move(catalog, model, kept.digest)
    with pytest.raises(NotFound):
        Models(catalog).get("tiny@champion")


def test_an_edited_report_moves_nothing(catalog, model):
    good = sealed(catalog, "3" * 64)
    edited = Evidence(good.id, good.manifest.replace(b"3" * 64, model.digest.encode()), good.signature)
    kept = keep_evidence(catalog, edited)
    with pytest.raises(SealBroken, match="does not bear this lab's seal"):
        move(catalog, model, kept.digest)


def test_a_changed_weight_moves_nothing(catalog, model, house):
    kept = keep_evidence(catalog, sealed(catalog, model.digest))
    stored = house.desk.realms.lab.path(model.body["files"]["models/model.safetensors"])
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    with pytest.raises((ModelChanged, SealBroken)):
        move(catalog, model, kept.digest)


@pytest.mark.parametrize("data", [
    b"", b"a report", b"[]", b"null", b'{"template": "validate"}', b"[" * 100_000, manifest(state="failed"),
    manifest(id="../x"), manifest(id="validate"), manifest(files={"a": "b"}), manifest(template="Validate me"),
    manifest(resolved={"model": 1}), MANIFEST.decode().encode("utf-16"),
], ids=range(13))  # fmt: skip
def test_the_key_seals_manifests_only(catalog, data):
    if data.startswith(b"\xff\xfe"):
        assert catalog.sign(data), "JSON in UTF-16 is JSON (RFC 4627); it is the manifest all the same"
        return
    with pytest.raises(WrongUse, match="only the manifest of a finished report is sealed here"):
        catalog.sign(data)


def test_the_refusals_are_counted(house):
    told = {"kind": "model", "name": "tiny", "alias": "champion", "digest": "0" * 64}
    assert house.ask("radiologist", "POST", "catalog/aliases", json=told).status_code == 403
    assert house.ask("data-scientist", "POST", "catalog/aliases", json=told).status_code == 404
    with_more = told | {"evidence": "../../etc/passwd"}
    assert house.ask("data-scientist", "POST", "catalog/aliases", json=with_more).status_code == 400


def test_a_student_seals_nothing(house, tmp_path, monkeypatch):
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", token("student"))
    student = RemoteCatalog(house.url, token_env="AILAB_SERVICE_TOKEN", cache=tmp_path / "s")
    with pytest.raises(CatalogError, match="sign is not for student"):
        student.sign(MANIFEST)
