"""Two labs and a shelf: signed offers, and everything that is not what a trusted lab signed refused by name."""

import json
import shutil
from pathlib import Path

import pytest

from ailab_kernel.ground.errors import (
    CatalogError,
    ExitBlocked,
    ModelError,
    NotFound,
    SealBroken,
    SettingsError,
    UnsafeModel,
    WrongUse,
)
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.seal import fingerprint
from ailab_kernel.ground.settings import load_settings
from ailab_kernel.models import Models
from ailab_kernel.models.bundle import WEIGHTS
from ailab_kernel.models.evidence import Evidence, check_evidence, keep_evidence
from ailab_kernel.models.sharing import Trusted, open_shelf, pull, push, search, trusted_labs
from ailab_kernel.models.sharing.shelf import object_path
from ailab_kernel.workspace import open_workspace
from tests.cli.running import ailab
from tests.models.test_bundle import make_bundle


class Lab:
    """One lab: its catalog, and whom it trusts."""

    def __init__(self, folder: Path, name: str):
        self.name, self.catalog = name, open_workspace(folder, home=folder).catalog
        self.models, self.trusts = Models(self.catalog), []

    @property
    def key(self):
        return self.catalog.public_key()

    def trust(self, *others):
        self.trusts = [Trusted(one.name, one.key) for one in others]
        return self

    def push(self, ref, shelf, **asked):
        return push(self.catalog, ref, open_shelf(str(shelf)), lab=self.name, **asked)

    def pull(self, ref, shelf, **asked):
        return pull(self.catalog, ref, open_shelf(str(shelf)), trusted=self.trusts, **asked)

    def search(self, shelf, words=""):
        return search(self.catalog, open_shelf(str(shelf)), self.trusts, words=words)


@pytest.fixture
def north(workspace, tmp_path):
    lab = Lab(tmp_path / "north", "north-hospital")
    lab.models.import_bundle(make_bundle(tmp_path / "a", description="Finds what is tiny in lungs."))
    return lab


@pytest.fixture
def south(north, tmp_path):
    return Lab(tmp_path / "south", "south-hospital").trust(north)


@pytest.fixture
def shelf(tmp_path):
    return tmp_path / "shelf"


def evidence_of(lab, ref, **more):
    bundle = lab.models.get(ref)
    manifest = json.dumps({"template": "validate", "state": "done", "resolved": {"model": bundle.digest}, **more}).encode()
    return keep_evidence(lab.catalog, Evidence("validate-00000001", manifest, lab.catalog.sign(manifest)))


def index_of(lab, shelf) -> Path:
    return shelf / fingerprint(lab.key) / "index.json"


def test_a_model_travels_with_its_digest_its_evidence_and_its_lineage(north, south, shelf):
    evidence_of(north, "tiny@1")
    index = north.push("tiny", shelf)
    assert (index.sequence, [one.ref for one in index.offers]) == (1, ["tiny@1"])
    (lab, _, offer), = south.search(shelf).offers
    assert (lab.name, offer.ref, offer.recipe, len(offer.evidence)) == ("north-hospital", "tiny@1", "lungs", 1)
    assert south.search(shelf, "Tiny LUNGS").offers
    assert not south.search(shelf, "heart").offers
    taken = south.pull("tiny", shelf)
    assert (taken.ref, taken.digest) == ("tiny@1", north.models.get("tiny@1").digest)
    assert taken.weights().keys() == north.models.get("tiny").weights().keys()
    told = south.catalog.query("received")[0].body
    assert (told["lab"], told["offer"], told["evidence"][0]["report"]) == ("north-hospital", "tiny@1", "validate-00000001")
    assert json.loads(south.catalog.get(told["evidence"][0]["manifest"]))["resolved"]["model"] == taken.digest
    line = next(one for one in south.catalog.audit_trail() if one["event"] == "import")
    assert json.loads(line["detail"])["key"] == fingerprint(north.key)
    assert [one["event"] for one in north.catalog.audit_trail()][-1] == "export"
    assert south.pull("tiny@1", shelf).ref == "tiny@1", "taken twice it is there once"


def test_the_senders_evidence_moves_no_alias_here(north, south, shelf):
    record = evidence_of(north, "tiny@1")
    north.push("tiny", shelf)
    taken = south.pull("tiny", shelf)
    shown = Evidence("x", north.catalog.get(record.body["manifest"]), record.body["signature"])
    with pytest.raises(SealBroken, match="does not bear this lab's seal"):
        check_evidence(south.catalog, shown, model=taken.digest, ref=taken.ref)


def test_nothing_of_a_series_is_in_the_lineage(north, south, shelf, tmp_path):
    image = north.catalog.append("image", {"series_uid": "1.2.3.4"}, name="1.2.3.4")
    task = north.catalog.append("annotation", {"n": 1}, name="1.2.3.4", parents=[image.digest])
    data = north.catalog.append("dataset", {"cases": []}, name="chests", parents=[task.digest])
    from ailab_kernel.models import read_bundle

    north.models.add(read_bundle(make_bundle(tmp_path / "b", seed=3)), parents=(data.digest,))
    north.push("tiny@2", shelf)
    assert b"1.2.3.4" not in index_of(north, shelf).read_bytes()
    offer = south.search(shelf).offers[0][2]
    assert offer.lineage == [{"kind": "dataset", "ref": "chests@1", "digest": data.digest},
                             {"kind": "annotation", "count": 1}, {"kind": "image", "count": 1}]
    assert south.pull("tiny", shelf).parents == (data.digest,)


def test_several_models_and_labs_on_one_shelf(north, south, shelf, tmp_path):
    south.models.import_bundle(make_bundle(tmp_path / "c", seed=9))
    north.models.import_bundle(make_bundle(tmp_path / "d", seed=2))
    assert north.push("tiny@1", shelf).sequence == 1
    assert [one.ref for one in north.push("tiny@2", shelf).offers] == ["tiny@1", "tiny@2"]
    assert north.push("tiny@2", shelf).sequence == 3, "offered again it stands once"
    south.push("tiny", shelf)
    third = Lab(tmp_path / "third", "third").trust(north, south)
    assert len(third.search(shelf).offers) == 3
    with pytest.raises(WrongUse, match="offered by north-hospital and south-hospital: say which with --lab"):
        third.pull("tiny@1", shelf)
    assert third.pull("tiny", shelf, lab="north-hospital").digest == north.models.get("tiny@2").digest


def test_an_unknown_key_is_refused_by_name_with_its_fingerprint_and_the_way_to_trust_it(north, south, shelf):
    north.push("tiny", shelf)
    south.trust()
    found = south.search(shelf)
    assert (found.offers, found.unknown[0][:2]) == ((), ("north-hospital", north.key))
    with pytest.raises(NotFound, match="no lab that is trusted offers tiny at") as caught:
        south.pull("tiny", shelf)
    spaced = " ".join(fingerprint(north.key)[at:at + 4] for at in range(0, 32, 4))
    assert spaced in str(caught.value)
    assert f'[trusted_labs]: north-hospital = "{north.key}"' in str(caught.value)
    assert not south.catalog.query("model")


def changed(path: Path, old: str, new: str):
    text = path.read_text()
    assert old in text
    path.chmod(0o644)
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [
    ('"recipe":"lungs"', '"recipe":"heart-wall"'), ('"sequence":1', '"sequence":9'), ('"signature":"', '"signature":"00'),
    ('"lab":"north-hospital"', '"lab":"north"'),
])  # fmt: skip
def test_a_broken_signature_is_refused(north, south, shelf, old, new):
    north.push("tiny", shelf)
    changed(index_of(north, shelf), old, new)
    with pytest.raises(SealBroken, match=r"offered by north-hospital (does not bear its signature|cannot be read)"):
        south.pull("tiny", shelf)
    assert len(south.search(shelf).refused) == 1
    assert not south.catalog.query("model")


def test_a_key_of_somebody_else_in_the_labs_place_is_refused(north, south, shelf, tmp_path):
    north.push("tiny", shelf)
    mallory = Lab(tmp_path / "mallory", "north-hospital")
    mallory.models.import_bundle(make_bundle(tmp_path / "m", seed=66))
    mallory.push("tiny", tmp_path / "other")
    shutil.copy(index_of(mallory, tmp_path / "other"), index_of(north, shelf))
    with pytest.raises(SealBroken, match="does not bear its signature"):
        south.pull("tiny", shelf)


def test_a_changed_file_is_refused_by_name(north, south, shelf):
    north.push("tiny", shelf)
    weights = shelf / object_path(north.models.get("tiny").weights_digest)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(SealBroken, match=r"tiny@1: models/model\.safetensors at .*shelf is not what north-hospital signed"):
        south.pull("tiny", shelf)
    weights.write_bytes(bytes(data) + b"x")
    with pytest.raises(CatalogError, match=r"is larger than the .* bytes that were to come"):
        south.pull("tiny", shelf)
    weights.unlink()
    with pytest.raises(NotFound, match="is not at"):
        south.pull("tiny", shelf)
    assert not south.catalog.query("model")


def test_an_older_index_put_back_is_noticed(north, south, shelf, tmp_path):
    north.push("tiny", shelf)
    old = index_of(north, shelf).read_bytes()
    north.models.import_bundle(make_bundle(tmp_path / "d", seed=2))
    north.push("tiny@2", shelf)
    south.search(shelf)
    index_of(north, shelf).write_bytes(old)
    with pytest.raises(SealBroken, match="is number 1, and number 2 was read here already"):
        south.pull("tiny@1", shelf)
    with pytest.raises(SealBroken, match=r"this lab offers at .* is number 1"):
        north.push("tiny@1", shelf)
    index_of(north, shelf).unlink()
    assert south.search(shelf).refused[0].endswith("is gone; its number 2 was read here; ask that lab")
    assert north.push("tiny@2", shelf).sequence == 3, "on an emptied shelf the lab begins anew, and counts on"
    assert south.pull("tiny@2", shelf).ref == "tiny@1"


def test_two_indexes_of_one_number_are_noticed(north, south, shelf):
    north.push("tiny", shelf)
    south.search(shelf)
    whole = json.loads(index_of(north, shelf).read_text())
    whole["index"]["made_at"] = "2020-01-01T00:00:00+00:00"
    whole["signature"] = north.catalog.sign(canonical_json(whole["index"]))
    index_of(north, shelf).write_bytes(canonical_json(whole))
    assert "was read here already" in south.search(shelf).refused[0]


def signed(lab, shelf, change):
    """An index that the lab itself signed, with something in it that no AI-LAB would offer."""
    whole = json.loads(index_of(lab, shelf).read_text())
    change(whole["index"]["models"][0])
    whole["index"]["sequence"] += 1
    whole["signature"] = lab.catalog.sign(canonical_json(whole["index"]))
    index_of(lab, shelf).write_bytes(canonical_json(whole))


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", "..", ".hidden", "a\\b", "a\0b", "x" * 300])
def test_a_trusted_lab_cannot_write_outside(north, south, shelf, path):
    north.push("tiny", shelf)

    def escape(model):
        model["body"]["files"][path] = model["body"]["files"][WEIGHTS]
        model["sizes"][path] = model["sizes"][WEIGHTS]

    signed(north, shelf, escape)
    assert "names files in a way that cannot be taken" in south.search(shelf).refused[0]


def test_a_trusted_lab_cannot_fill_the_disk(north, south, shelf):
    north.push("tiny", shelf)
    signed(north, shelf, lambda model: model["sizes"].update({WEIGHTS: 5 << 30}))
    assert "cannot be taken, or too much; nothing was downloaded" in south.search(shelf).refused[0]


def test_a_trusted_lab_cannot_send_code_or_another_record(north, south, shelf):
    north.push("tiny", shelf)
    data = json.dumps({"network_def": {"_target_": "os.system", "command": "true"}}).encode()

    def code(model):
        model["body"]["files"]["configs/inference.json"] = sha256(data)
        model["sizes"]["configs/inference.json"] = len(data)

    place = shelf / object_path(sha256(data))
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    signed(north, shelf, code)
    with pytest.raises(UnsafeModel, match=r"os\.system"):
        south.pull("tiny", shelf)
    north.push("tiny", shelf)
    signed(north, shelf, lambda model: model.update(digest="0" * 64))
    with pytest.raises(SealBroken, match="its record is not the one that its digest names"):
        south.pull("tiny", shelf)
    north.push("tiny", shelf)
    signed(north, shelf, lambda model: model["body"]["network"].update(channels=[8, 16]))
    with pytest.raises(ModelError, match="is no bundle as this AI-LAB keeps them"):
        south.pull("tiny", shelf)
    assert not south.catalog.query("model")


def test_evidence_about_another_model_is_refused(north, south, shelf):
    evidence_of(north, "tiny@1")
    north.push("tiny", shelf)
    record = evidence_of(north, "tiny@1", resolved={"model": "0" * 64})
    manifest = record.body["manifest"]
    place = shelf / object_path(manifest)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(north.catalog.get(manifest))
    signed(north, shelf, lambda model: model["evidence"][0].update(manifest=manifest, signature=record.body["signature"]))
    with pytest.raises(SealBroken, match="report validate-00000001 does not bear that lab's seal, or is about another model"):
        south.pull("tiny", shelf)


def test_what_names_a_patient_stays(north, shelf, tmp_path):
    north.catalog.remember({"PatientName": ["Quixano^Alonso"]})
    north.models.import_bundle(make_bundle(tmp_path / "p", seed=4, description="Made for Alonso Quixano"))
    with pytest.raises(ExitBlocked, match=r"model tiny@2 stays here: .*PatientName") as caught:
        north.push("tiny@2", shelf)
    assert "uixano" not in str(caught.value)
    assert not shelf.exists()
    shelf.write_text("a file")
    with pytest.raises(CatalogError, match=r"shelf cannot be written to \((File exists|Not a directory)\)"):
        north.push("tiny@1", shelf)


@pytest.mark.parametrize(("told", "why"), [
    ("north=12", "that is no public key"), (f"North={'0' * 64}", "is not a name"), ("=", "no public key"),
    (f"a={'0' * 64}, b={'0' * 64}", "twice"),
])  # fmt: skip
def test_trust_is_spelled_out(told, why):
    with pytest.raises(SettingsError, match=why):
        trusted_labs(told)


def test_trust_is_a_table_in_the_settings(tmp_path, workspace):
    (tmp_path / "ailab.toml").write_text(f'[trusted_labs]\nnorth = "{"0" * 64}"\nsouth = "{"1" * 64}"\n')
    assert [one.name for one in trusted_labs(load_settings(tmp_path).trusted_labs)] == ["north", "south"]
    assert hash(load_settings(tmp_path))


@pytest.mark.parametrize(("url", "why"), [
    ("ftp://x/y", "ftp:// is no shelf"), ("http://user:secret@x/y", "no password in it"), ("https://x/y?token=1", "no password"),
    ("https://x/y?ca=/none.pem", "no such file"),
])  # fmt: skip
def test_an_address_that_is_none(url, why):
    with pytest.raises(SettingsError, match=why) as caught:
        open_shelf(url)
    assert "secret" not in str(caught.value)


def test_in_the_terminal(north, shelf, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AILAB_HOME", str(tmp_path / "north"))
    assert ailab("models", "push", shelf, "tiny") == 2
    assert 'write lab_name = "north-hospital"' in capsys.readouterr().err
    monkeypatch.setenv("AILAB_LAB_NAME", "north-hospital")
    assert ailab("models", "push", shelf, "tiny", "--json") == 0
    assert json.loads(capsys.readouterr().out)["models"] == ["tiny@1"]
    assert ailab("models", "key") == 0
    assert f'north-hospital = "{north.key}"' in capsys.readouterr().out
    monkeypatch.setenv("AILAB_HOME", str(tmp_path / "south"))
    monkeypatch.delenv("AILAB_LAB_NAME")
    assert ailab("models", "search", shelf) == 0
    assert "! north-hospital (fingerprint" in capsys.readouterr().out
    assert ailab("models", "pull", shelf, "tiny") == 1
    monkeypatch.setenv("AILAB_TRUSTED_LABS", f"north-hospital={north.key}")
    assert ailab("models", "pull", shelf, "tiny") == 0
    assert "ailab validate tiny@1" in capsys.readouterr().out
    assert ailab("models", "search", shelf, "--json") == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["lab"] == "north-hospital"
    assert ailab("models", "pull", shelf, "tiny@champion") == 2
