import json
from dataclasses import replace

import pytest
import torch

from ailab_kernel.ground.errors import ExitBlocked, ModelChanged, ModelError, NotFound, SealBroken
from ailab_kernel.models import Models, build_network, read_bundle, write_bundle
from ailab_kernel.models.bundle import WEIGHTS
from ailab_kernel.models.evidence import kept_evidence

from .judged import Report

NETWORK = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2,
           "channels": [4, 8], "strides": [2]}  # fmt: skip


def make_bundle(folder, *, seed=1, name="tiny", **metadata):
    torch.manual_seed(seed)
    return write_bundle(folder, name=name, recipe="lungs", network=NETWORK,
                        state_dict=build_network(NETWORK).state_dict(), metadata={"version": "0.1.0", **metadata})  # fmt: skip


def test_round_trip(tmp_path):
    bundle = read_bundle(make_bundle(tmp_path / "b", description="A tiny one."))
    network = build_network(bundle.network)
    network.load_state_dict(bundle.weights())
    assert (bundle.name, bundle.recipe, bundle.version) == ("tiny", "lungs", 0)
    assert "A tiny one." in bundle.file("docs/README.md").decode()
    assert "not clinical value" in bundle.file("docs/README.md").decode()


def test_the_same_content_is_one_version(tmp_path, workspace):
    models = Models(workspace.catalog)
    first = models.import_bundle(make_bundle(tmp_path / "a"))
    again = models.import_bundle(make_bundle(tmp_path / "b"))
    other = models.import_bundle(make_bundle(tmp_path / "c", seed=2))
    assert (first.ref, again.ref, other.ref) == ("tiny@1", "tiny@1", "tiny@2")
    assert first.digest == read_bundle(tmp_path / "a").digest, "a model has one digest, in a lab or outside"
    assert models.get("tiny") == other
    assert [model.ref for model in models.all()] == ["tiny@1", "tiny@2"]


def test_export_gives_the_same_bundle(tmp_path, workspace):
    models = Models(workspace.catalog)
    bundle = models.import_bundle(make_bundle(tmp_path / "a"))
    assert read_bundle(models.export("tiny@1", tmp_path / "out")).digest == bundle.digest
    with pytest.raises(ModelError, match="not empty"):
        models.export("tiny@1", tmp_path / "out")


@pytest.mark.parametrize("where", ["description", "training_data"])
def test_a_model_that_names_a_patient_is_not_kept_and_does_not_leave(tmp_path, workspace, where):
    workspace.catalog.remember({"PatientName": ["Quixano^Alonso"]})
    models, told = Models(workspace.catalog), {"dataset": "of Alonso Quixano"}
    folder = make_bundle(tmp_path / "a", **{where: told if where == "training_data" else told["dataset"]})
    with pytest.raises(ExitBlocked, match=r"the new model stays here: .*PatientName in configs/metadata\.json") as caught:
        models.add(read_bundle(folder))
    assert "docs/README.md" in str(caught.value)
    assert "uixano" not in str(caught.value)
    assert list(models.all()) == []
    models.import_bundle(folder)
    with pytest.raises(ExitBlocked, match=r"docs/README\.md"):
        models.export("tiny@1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_changed_byte_is_found_and_named(tmp_path, workspace):
    models = Models(workspace.catalog)
    bundle = models.import_bundle(make_bundle(tmp_path / "a"))
    stored = workspace.catalog.path(bundle.weights_digest)
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(data)
    for act in (bundle.weights, bundle.check, lambda: models.promote("tiny@1", "champion", evidence=Report(workspace.catalog, bundle))):
        with pytest.raises(ModelChanged, match=r"tiny@1: models/model\.safetensors"):
            act()


def test_aliases_keep_their_history(tmp_path, workspace):
    models = Models(workspace.catalog)
    for seed in (1, 2):
        models.import_bundle(make_bundle(tmp_path / str(seed), seed=seed))
    first, second = (models.get(ref) for ref in ("tiny@1", "tiny@2"))
    models.promote("tiny@1", "champion", evidence=Report(workspace.catalog, first, id="first"))
    models.promote(second, "champion", evidence=Report(workspace.catalog, second, id="better"))
    assert models.get("tiny@champion").ref == "tiny@2"
    assert [move.reason for move in models.history("tiny")] == ["report first", "report better"]


def test_no_alias_without_sealed_evidence_about_this_model(tmp_path, workspace):
    models = Models(workspace.catalog)
    one, two = (models.import_bundle(make_bundle(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    with pytest.raises(ModelError, match="says nothing about tiny@1"):
        models.promote("tiny@1", "champion", evidence=Report(workspace.catalog, two))
    report = Report(workspace.catalog, two)
    report.shown = replace(report.shown, manifest=report.shown.manifest.replace(two.digest.encode(), one.digest.encode()))
    with pytest.raises(SealBroken, match="seal"):
        models.promote("tiny@1", "champion", evidence=report)
    for unfit in ({"template": "annotate"}, {"state": "failed"}):
        with pytest.raises(ModelError, match="says nothing about tiny@1"):
            models.promote("tiny@1", "champion", evidence=Report(workspace.catalog, one, **unfit))
    with pytest.raises(NotFound):
        models.get("tiny@champion")


def test_evidence_stays_in_the_ledger(tmp_path, workspace):
    models = Models(workspace.catalog)
    model = models.import_bundle(make_bundle(tmp_path / "a"))
    report = Report(workspace.catalog, model, id="validate-0a1b2c3d")
    models.promote(model, "champion", evidence=report)
    record, = workspace.catalog.query("evidence")
    assert (record.name, record.parents) == ("validate-0a1b2c3d", (model.digest,))
    assert kept_evidence(workspace.catalog, record.digest) == report.shown
    assert json.loads(workspace.catalog.audit_trail()[-1]["detail"])["evidence"] == record.digest


@pytest.mark.parametrize("ref", ["nothing", "nothing@1", "tiny@7", "tiny@champion"])
def test_a_missing_model_is_told(tmp_path, workspace, ref):
    models = Models(workspace.catalog)
    models.import_bundle(make_bundle(tmp_path / "a"))
    with pytest.raises(NotFound):
        models.get(ref)


@pytest.mark.parametrize("lost", ["configs/metadata.json", "configs/inference.json", WEIGHTS])
def test_an_incomplete_bundle_is_refused(tmp_path, lost):
    folder = make_bundle(tmp_path / "a")
    (folder / lost).unlink()
    with pytest.raises(ModelError, match="a: no"):
        read_bundle(folder)


def test_weights_that_do_not_fit_are_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="does not fit"):
        build_network({**NETWORK, "no_such_argument": 1})
    config = json.loads((make_bundle(tmp_path / "a") / "configs/inference.json").read_text())
    assert config == {"network_def": NETWORK}


def test_a_foreign_bundle_of_the_model_zoo(shared_data, workspace):
    bundle = Models(workspace.catalog).import_bundle(shared_data / "models" / "mednist_gan")
    assert bundle.network["latent_shape"] == 64, "a reference to a plain number is filled in"
    build_network(bundle.network).load_state_dict(bundle.weights())
