"""What the lab's key seals, and that a model's alias moves for a sealed validation of it and for nothing else."""

import json

import pytest

from ailab_kernel.ground.errors import CatalogError, ModelChanged, ModelError, NotFound, SealBroken, WrongUse
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from ailab_kernel.models import Models
from ailab_kernel.models.acceptance import parse
from ailab_kernel.models.evidence import Evidence, keep_evidence
from tests.models.judged import Report, dataset_in, gate_of
from tests.models.test_bundle import make_bundle
from tests.service.serving import MANIFEST, serving, token


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
    return json.dumps(json.loads(MANIFEST) | more).encode()


def move(catalog, model, evidence: str = "") -> None:
    catalog.point("model", model.name, "champion", digest=model.digest, evidence=evidence)


def test_a_sealed_validation_moves_the_alias(catalog, model, house):
    Models(catalog).promote(model, "champion", evidence=Report(catalog, model))
    assert Models(catalog).get("tiny@champion") == model
    move_, = house.desk.realms.lab.history("model", "tiny")
    assert (move_.moved_by, move_.reason) == ("data-scientist", "report validate-00000000")
    trail = [(row["event"], json.loads(row["detail"])) for row in house.desk.realms.lab.audit_trail()]
    signed, = [detail for event, detail in trail if event == "service.signed"]
    assert (signed["id"], signed["template"]) == ("validate-00000000", "validate")
    moved, = [detail for event, detail in trail if event == "alias-moved"]
    assert house.desk.realms.lab.query("evidence", digest=moved["evidence"])[0].parents == (model.digest,)


def test_without_a_report_no_alias_moves(catalog, model):
    with pytest.raises(NotFound, match="no sealed validation report was named"):
        move(catalog, model)
    note = catalog.append("note", {"is": "no evidence"})
    with pytest.raises(NotFound, match="no sealed validation report"):
        move(catalog, model, note.digest)


@pytest.mark.parametrize("more", [{"template_digest": "1" * 64}, {"template": "annotate"}, {"resolved": {"model": "2" * 64}},
                                  {"resolved": {"model": ""}}], ids=str)  # fmt: skip
def test_a_report_that_does_not_speak_for_the_model_moves_nothing(catalog, model, more):
    kept = keep_evidence(catalog, Report(catalog, model, **more).shown)
    with pytest.raises(ModelError, match=r"says nothing about tiny@1|another template"):
        move(catalog, model, kept.digest)
    with pytest.raises(NotFound):
        Models(catalog).get("tiny@champion")


def refused(catalog, model, match, error=ModelError, **how) -> None:
    """The kernel's own check is none of the service's: it is asked directly."""
    kept = keep_evidence(catalog, Report(catalog, model, **how).shown)
    with pytest.raises(error, match=match):
        move(catalog, model, kept.digest)
    with pytest.raises(NotFound):
        Models(catalog).get("tiny@champion")


def test_a_report_on_another_dataset_moves_nothing(catalog, model, house):
    declare_as_admin(house, 'dataset = "check@1"')
    refused(catalog, model, "is on dataset other@1; the criteria in force ask for check@1", dataset=dataset_in(catalog, "other"))
    refused(catalog, model, "on no dataset of this lab", resolved={"dataset": "4" * 64})


def test_a_gate_that_was_not_passed_moves_nothing(catalog, model):
    asked = Models(catalog).criteria("tiny").criteria
    refused(catalog, model, "did not pass its gate: dice of lung", gate=gate_of(asked, verdict="fail"))
    refused(catalog, model, "did not pass its gate", gate=gate_of(asked, bound=0.5))
    refused(catalog, model, "did not pass its gate", gate=gate_of(asked, patients=3))
    refused(catalog, model, "says nothing about criterion 1", gate=gate_of(asked) | {"verdicts": gate_of(asked)["verdicts"][:1]})


def test_figures_that_are_not_the_sealed_ones_move_nothing(catalog, model):
    refused(catalog, model, "not judged by the criteria in force", files={"metrics.json": "5" * 64})


def test_criteria_of_ones_own_move_nothing(catalog, model, house):
    lenient = parse('title = "anything goes"')
    refused(catalog, model, "not judged by the criteria in force", gate=gate_of(lenient))
    with pytest.raises(CatalogError, match="set-criteria is not for data-scientist"):
        Models(catalog).declare("tiny", 'title = "anything goes"')
    declare_as_admin(house, 'title = "anything goes"')
    Models(catalog).promote(model, "champion", evidence=Report(catalog, model, gate=gate_of(lenient)))


@pytest.mark.parametrize("role", ["data-scientist", "radiologist", "auditor", "student"])
def test_only_administrators_set_criteria(house, role):
    told = {"kind": "criteria", "name": "tiny", "body": {"toml": ""}}
    assert house.ask(role, "POST", "catalog/records", json=told).status_code == 403
    assert house.ask("admin", "POST", "catalog/records", json=told | {"body": {"toml": "what = 1"}}).status_code == 400


def declare_as_admin(house, toml: str) -> None:
    told = {"kind": "criteria", "name": "tiny", "body": {"toml": toml}}
    assert house.ask("admin", "POST", "catalog/records", json=told).status_code == 200


def test_a_second_person_has_to_approve(catalog, model, house, tmp_path, monkeypatch):
    declare_as_admin(house, "approvals = 1")
    models, report = Models(catalog), Report(catalog, model)
    with pytest.raises(ModelError, match="needs 1 more approval by somebody else than data-scientist"):
        models.promote(model, "champion", evidence=report)
    models.approve(model, "champion", evidence=report)
    refused(catalog, model, "needs 1 more approval")
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", token("radiologist"))
    second = RemoteCatalog(house.url, token_env="AILAB_SERVICE_TOKEN", cache=tmp_path / "r")
    assert Models(second).approve(model, "champion", evidence=report).made_by == "radiologist"
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", token("data-scientist"))
    models.promote(model, "champion", evidence=report)
    assert models.get("tiny@champion") == model


def test_a_revoked_alias_means_nothing_and_its_report_speaks_no_more(catalog, model, house):
    models, report = Models(catalog), Report(catalog, model)
    models.promote(model, "champion", evidence=report)
    for told in ({"digest": "", "reason": "because"}, {"digest": "", "reason": "revoked: "},
                 {"digest": model.digest, "reason": "revoked: no"}):  # fmt: skip
        sent = {"kind": "model", "name": "tiny", "alias": "champion"} | told
        assert house.ask("data-scientist", "POST", "catalog/aliases", json=sent).status_code in {400, 404}
    models.revoke("tiny", "champion", reason="misses thin walls")
    with pytest.raises(NotFound, match=r"means nothing since .*misses thin walls"):
        models.get("tiny@champion")
    with pytest.raises(ModelError, match="was revoked as champion after report"):
        models.promote(model, "champion", evidence=report)
    refused(catalog, model, "was revoked as champion")
    trail = [row["event"] for row in house.desk.realms.lab.audit_trail()]
    assert "revoke" in trail


def test_an_edited_report_moves_nothing(catalog, model):
    good = Report(catalog, model, resolved={"model": "3" * 64}).shown
    edited = Evidence(good.id, good.manifest.replace(b"3" * 64, model.digest.encode()), good.signature, good.metrics)
    kept = keep_evidence(catalog, edited)
    with pytest.raises(SealBroken, match="does not bear this lab's seal"):
        move(catalog, model, kept.digest)


def test_a_changed_weight_moves_nothing(catalog, model, house):
    kept = keep_evidence(catalog, Report(catalog, model).shown)
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
