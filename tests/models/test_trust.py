import io
import json
import pickle
import zipfile

import pytest
import torch

from ailab_kernel.ground.errors import ModelError, UnsafeModel
from ailab_kernel.models import Models, read_bundle
from ailab_kernel.models.trust import check_network
from tests.models.test_bundle import NETWORK, make_bundle


class Boom:
    """Unpickling it would create the file that the test looks for."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("network", [
    {"_target_": "os.system", "command": "touch x"},
    {"_target_": "monai.networks.nets.UNet", "channels": "$__import__('os').system('touch x')"},
    {"_target_": "monai.networks.nets.UNet", "act": ["$1+1"]},
    {"_target_": "monai.networks.nets.UNet", "norm": {"_target_": "subprocess.run"}},
    {"_target_": "monai.networks.nets.UNet", "norm": {"a": "@something"}},
    {"_target_": "%other.json"},
])  # fmt: skip
def test_code_in_a_network_is_refused(network):
    with pytest.raises(UnsafeModel):
        check_network(network, bundle="evil")


@pytest.mark.parametrize("network", [None, [], {}, {"channels": 3}])
def test_no_network_is_told(network):
    with pytest.raises(ModelError, match="no network_def"):
        check_network(network, bundle="odd")


def test_other_expressions_in_a_bundle_are_never_run(tmp_path):
    folder = make_bundle(tmp_path / "b")
    flag = tmp_path / "ran"
    config = {"network_def": NETWORK, "initialize": [f"$open({str(flag)!r}, 'w')"], "imports": ["$import os"]}
    (folder / "configs/inference.json").write_text(json.dumps(config))
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text(f"open({str(flag)!r}, 'w')")
    assert "scripts/__init__.py" not in read_bundle(folder).body["files"]
    assert not flag.exists()


def test_a_pickle_is_refused_and_not_run(tmp_path):
    folder, flag = make_bundle(tmp_path / "b"), tmp_path / "ran"
    (folder / "models/model.safetensors").unlink()
    (folder / "models/model.pt").write_bytes(pickle.dumps(Boom(flag), protocol=2))
    with pytest.raises(UnsafeModel, match="more than weights"):
        read_bundle(folder)
    torch.save({"a": torch.zeros(1), "b": "text"}, folder / "models/model.pt")
    with pytest.raises(ModelError, match="no state dict"):
        read_bundle(folder)
    assert not flag.exists()


def test_a_checkpoint_of_weights_becomes_safetensors(tmp_path):
    folder = make_bundle(tmp_path / "b")
    weights = read_bundle(folder).weights()
    (folder / "models/model.safetensors").unlink()
    torch.save(weights, folder / "models/model.pt")
    converted = read_bundle(folder).weights()
    assert all(torch.equal(weights[key], converted[key]) for key in weights)


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_zip_is_imported(tmp_path, workspace):
    folder = make_bundle(tmp_path / "b")
    members = {f"tiny/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    bundle = Models(workspace.catalog).import_bundle(zipped(tmp_path / "b.zip", members))
    assert bundle.digest == read_bundle(folder).digest


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
def test_a_zip_cannot_leave_its_folder(tmp_path, workspace, name):
    with pytest.raises(UnsafeModel, match="would leave"):
        Models(workspace.catalog).import_bundle(zipped(tmp_path / "b.zip", {name: b"x"}))
    assert not (tmp_path.parent / "evil").exists()


def test_links_and_rubbish_are_refused(tmp_path, workspace):
    models = Models(workspace.catalog)
    folder = make_bundle(tmp_path / "b")
    (folder / "docs" / "secret.md").symlink_to("/etc/hostname")
    with pytest.raises(UnsafeModel, match="is a link"):
        models.import_bundle(folder)
    (tmp_path / "no.zip").write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="not a zip"):
        models.import_bundle(tmp_path / "no.zip")
    with pytest.raises(ModelError, match="no such bundle folder"):
        models.import_bundle(tmp_path / "absent")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(link, "/etc/passwd")
    (tmp_path / "link.zip").write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeModel):
        models.import_bundle(tmp_path / "link.zip")
