"""Hostile models: none of them is run, each is refused by name in one line, and nothing of it is kept.

Each payload, were it run or followed, would make a file that the test looks for (the canary), or take what the process
has. The import runs in this process, whose memory is looked at.
"""

import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ailab_kernel.ground.errors import AilabError, ModelChanged, UnsafeModel
from ailab_kernel.models import Models, read_bundle
from ailab_kernel.models.trust.worker import lacking

from .test_bundle import NETWORK, make_bundle

CONFIG, METADATA, WEIGHTS = "configs/inference.json", "configs/metadata.json", "models/model.safetensors"
MOST_GROWN_MB = 400


@dataclass(frozen=True)
class Place:
    """Where a payload is made, and the canary that it would make."""

    folder: Path
    canary: Path

    @property
    def bundle(self):
        return self.folder / "evil"

    def code(self):
        return f"__import__('pathlib').Path({str(self.canary)!r}).touch()"


class Calls:
    """Unpickled, it calls something."""

    def __init__(self, func, *arguments):
        self.told = func, arguments

    def __reduce__(self):
        return self.told


# ---- parts ----

def good(place, **metadata):
    return make_bundle(place.bundle, name="evil", **metadata)


def with_config(place, **told):
    """A bundle whose configuration says more than it should."""
    folder = good(place)
    (folder / CONFIG).write_text(json.dumps({"network_def": NETWORK, **told}))
    return folder


def with_network(place, **told):
    return with_config(place, network_def={**NETWORK, **told})


def with_text(place, path, data):
    folder = good(place)
    (folder / path).write_bytes(data)
    return folder


def with_checkpoint(place, data):
    """Weights as a torch checkpoint."""
    folder = good(place)
    (folder / WEIGHTS).unlink()
    (folder / "models/model.pt").write_bytes(data)
    return folder


def with_weights(place, header, body=b"", *, size=None):
    """A safetensors file by hand: length of the header, header, numbers."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return with_text(place, WEIGHTS, struct.pack("<Q", len(text) if size is None else size) + text + body)


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def repickled(data, pickled):
    """A torch checkpoint whose pickle is another one."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("/data.pkl") else old.read(name))
    return out.getvalue()


def old_tar(place):
    """A checkpoint of torch before 0.4: a tar of pickles."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("pickle", "tensors", "storages"):
            data = pickle.dumps(Calls(open, str(place.canary), "w"))
            told = tarfile.TarInfo(name)
            told.size = len(data)
            file.addfile(told, io.BytesIO(data))
    return out.getvalue()


def zipped(place, members):
    """A zip by hand: names, or ZipInfo, with their bytes."""
    path = place.folder / "evil.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")        # a name that occurs twice
        for name, data in members:
            file.writestr(name, data)
    return path


def with_member(place, name, data=b"x"):
    """A good bundle's zip with one member more."""
    folder = good(place)
    members = [(str(path.relative_to(folder)), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    return zipped(place, [*members, (name, data)])


def kind(name, mode):
    """A member of another kind than a file."""
    told = zipfile.ZipInfo(name)
    told.external_attr = mode << 16
    return told


def huggingface(place, config, weights=None):
    folder = place.bundle
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights or read_bundle(good(Place(place.folder / "in", place.canary))).file(WEIGHTS))
    return folder


def linked(place, make):
    folder = good(place)
    make(folder / "docs" / "more.md")
    return folder


def scripted(place, module, name="evil.ts"):
    path = place.folder / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")        # torch asks for other ways to export
        torch.jit.script(module).save(str(path))
    return path


class Reads(torch.nn.Module):
    """TorchScript that opens a file of the machine."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, torch.from_file("/etc/hostname", False, 1).reshape(1, 1, 1, 1, 1).expand_as(x)], 1)


class Ends(torch.nn.Module):
    """TorchScript that never answers with labels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(3)


class Eats(torch.nn.Module):
    """TorchScript that takes all the memory there is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones((1 << 12, 1 << 12, 1 << 12))


def protobuf(*fields):
    """ONNX by hand: (field, bytes) and (field, number)."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += bytes((number << 3, value))
        else:
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return out


def _varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes((value & 0x7F | 0x80,)), value >> 7
    return out + bytes((value,))


def onnx(place, graph):
    path = place.folder / "evil.onnx"
    path.write_bytes(protobuf((1, 8), (7, graph)))
    return path


def outside(location):
    """A tensor whose numbers are kept in another file."""
    entry = protobuf((1, b"location"), (2, location))
    return protobuf((5, protobuf((1, 1), (2, 1), (8, b"w"), (13, entry), (14, 1))))


def deep(levels, key="a"):
    return f'{{"{key}":' * levels + "1" + "}" * levels


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
EIGHT = np.ones(2, "<f4").tobytes()
PAYLOADS = {
    # pickles
    "pickle that calls os.system": lambda p: with_checkpoint(p, pickle.dumps(Calls(os.system, f"touch {p.canary}"))),
    "pickle that calls exec": lambda p: with_checkpoint(p, pickle.dumps(Calls(exec, p.code()))),
    "pickle that calls eval, protocol 0": lambda p: with_checkpoint(p, pickle.dumps(Calls(eval, p.code()), 0)),
    "pickle that opens a file": lambda p: with_checkpoint(p, pickle.dumps(Calls(open, str(p.canary), "w"), 2)),
    "torch file with a calling pickle": lambda p: with_checkpoint(p, repickled(saved({"a": torch.zeros(2)}), pickle.dumps(Calls(exec, p.code()), 2))),
    "torch file that saves an object": lambda p: with_checkpoint(p, saved({"a": torch.zeros(2), "b": Calls(os.system, f"touch {p.canary}")})),
    "torch file of old": lambda p: with_checkpoint(p, old_tar(p)),
    "torch file with a nested calling pickle": lambda p: with_checkpoint(p, saved({"model": {"x": [Calls(exec, p.code())]}})),
    "torch file that calls getattr": lambda p: with_checkpoint(p, repickled(saved({"a": torch.zeros(2)}), b"\x80\x02c__builtin__\ngetattr\ncos\nU\x06system\x86R.")),
    "torch file by STACK_GLOBAL": lambda p: with_checkpoint(p, repickled(saved({"a": torch.zeros(2)}), pickle.dumps(Calls(exec, p.code()), 4))),
    "torch file whose pickle is cut off": lambda p: with_checkpoint(p, repickled(saved({"a": torch.zeros(2)}), b"\x80\x02}q\x00(X\x01")),
    "torch file with two pickles": lambda p: with_checkpoint(p, _two_pickles()),
    "tensor that says it is huge": lambda p: with_checkpoint(p, saved({"a": torch.zeros(1).expand(1 << 40)})),
    "weights that are no tensors": lambda p: with_checkpoint(p, saved({"a": "text"})),
    # expressions and things to be built
    "expression in a network": lambda p: with_network(p, channels=f"${p.code()}"),
    "expression in a list": lambda p: with_network(p, strides=[f"${p.code()}"]),
    "expression deep in an argument": lambda p: with_network(p, norm=["instance", {"eps": [f"${p.code()}"]}]),
    "expression in the metadata": lambda p: good(p, description=f"${p.code()}"),
    "reference to something": lambda p: with_network(p, act="@evil"),
    "macro of another file": lambda p: with_network(p, act="%/etc/passwd::a"),
    "target os.system": lambda p: with_config(p, network_def={"_target_": "os.system", "command": f"touch {p.canary}"}),
    "target subprocess": lambda p: with_config(p, network_def={"_target_": "subprocess.run", "args": ["touch", str(p.canary)]}),
    "target of MONAI that is no network": lambda p: with_config(p, network_def={"_target_": "monai.apps.download_url", "url": "http://127.0.0.1:1/x", "filepath": str(p.canary)}),
    "target that looks like a network": lambda p: with_config(p, network_def={**NETWORK, "_target_": "monai.networks.nets.UNet.__init__.__globals__"}),
    "target below an argument": lambda p: with_network(p, norm={"_target_": "os.system", "command": f"touch {p.canary}"}),
    "requires": lambda p: with_network(p, _requires_=[f"${p.code()}"]),
    "mode": lambda p: with_network(p, _mode_="callable"),
    "disabled": lambda p: with_network(p, _disabled_=f"${p.code()}"),
    "description that is an expression": lambda p: with_network(p, _desc_=f"${p.code()}"),
    "target that is an expression": lambda p: with_config(p, network_def={**NETWORK, "_target_": f"${p.code()}"}),
    "target that is no text": lambda p: with_config(p, network_def={**NETWORK, "_target_": {"_target_": "os.system"}}),
    "weights fetched from elsewhere": lambda p: with_config(p, network_def={"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "pretrained": True}),
    "a network of a thousand million channels": lambda p: with_network(p, channels=[10**9, 10**9]),
    "a network of a thousand layers": lambda p: with_network(p, channels=[4] * 3000, strides=[1] * 2999),
    "a network that is larger than its weights": lambda p: with_network(p, channels=[60000, 60000]),
    # JSON
    "JSON nested a hundred thousand deep": lambda p: with_text(p, CONFIG, deep(100_000).encode()),
    "JSON nested a hundred deep": lambda p: with_text(p, METADATA, deep(100).encode()),
    "JSON with a key twice": lambda p: with_text(p, CONFIG, b'{"network_def": {}, "network_def": {"_target_": "os.system"}}'),
    "JSON that is no UTF-8": lambda p: with_text(p, CONFIG, b'{"network_def": "\xff\xfe"}'),
    "JSON with NaN": lambda p: with_text(p, CONFIG, b'{"network_def": {"_target_": "UNet", "dropout": NaN}}'),
    "JSON with a number of a million digits": lambda p: with_text(p, CONFIG, b'{"network_def": ' + b"9" * 1_000_000 + b"}"),
    "JSON that is a list": lambda p: with_text(p, METADATA, b"[1, 2]"),
    # zips
    "zip slip": lambda p: with_member(p, "../canary"),
    "zip slip below a folder": lambda p: with_member(p, "configs/../../canary"),
    "zip with an absolute name": lambda p: with_member(p, str(p.canary)),
    "zip with backslashes": lambda p: with_member(p, "..\\..\\canary"),
    "zip with a drive": lambda p: with_member(p, "C:canary"),
    "zip with a full-width full stop": lambda p: with_member(p, "\uff0e\uff0e/canary"),
    "zip with a hidden letter": lambda p: with_member(p, "configs/metadata\u202e.json"),
    "zip with a link": lambda p: with_member(p, kind("docs/link.md", 0o120777), b"/etc/passwd"),
    "zip with a device": lambda p: with_member(p, kind("docs/zero.md", 0o020666)),
    "zip with a member twice": lambda p: with_member(p, METADATA, b"{}"),
    "zip with two names that differ by case": lambda p: with_member(p, "Configs/Metadata.json", b"{}"),
    "zip bomb": lambda p: with_member(p, "models/model.pt", bytes(1 << 28)),
    "zip that is cut off": lambda p: _cut(with_member(p, "docs/more.md")),
    # folders
    "symbolic link": lambda p: linked(p, lambda path: path.symlink_to("/etc/passwd")),
    "symbolic link to a folder": lambda p: linked(p, lambda path: path.symlink_to("/etc")),
    "hard link": lambda p: linked(p, lambda path: path.hardlink_to(_file(p.folder / "elsewhere"))),
    "pipe that nobody writes": lambda p: linked(p, os.mkfifo),
    # safetensors
    "safetensors cut off": lambda p: with_text(p, WEIGHTS, read_bundle(good(p)).file(WEIGHTS)[:-9]),
    "safetensors with a header of 2**63 bytes": lambda p: with_weights(p, b"{}", size=2**63 - 1),
    "safetensors with a header that overflows": lambda p: with_weights(p, b"{}", size=2**64 - 1),
    "safetensors with overlapping tensors": lambda p: with_weights(p, {"a": F32, "b": F32}, EIGHT),
    "safetensors with a hole": lambda p: with_weights(p, {"a": F32, "b": {**F32, "data_offsets": [16, 24]}}, EIGHT * 3),
    "safetensors with another shape": lambda p: with_weights(p, {"a": {**F32, "shape": [2**31, 2**31, 4]}}, EIGHT),
    "safetensors with a negative place": lambda p: with_weights(p, {"a": {**F32, "data_offsets": [-8, 0]}}, EIGHT),
    "safetensors with values that are no numbers": lambda p: with_weights(p, {"a": F32}, np.array([np.nan, 1], "<f4").tobytes()),
    "safetensors with an unknown kind": lambda p: with_weights(p, {"a": {**F32, "dtype": "PICKLE"}}, EIGHT),
    "safetensors nested deep": lambda p: with_weights(p, deep(5000).encode(), EIGHT),
    "weights of another network": lambda p: with_weights(p, {"a": F32}, EIGHT),
    # Hugging Face
    "config with auto_map": lambda p: huggingface(p, {"auto_map": {"AutoModel": "modeling.Evil"}, "network_def": NETWORK}),
    "config that trusts remote code": lambda p: huggingface(p, {"trust_remote_code": True, "network_def": NETWORK}),
    "config with a pipeline of its own": lambda p: huggingface(p, {"custom_pipelines": {"x": {"impl": "evil.Evil"}}, "network_def": NETWORK}),
    "config of a network that is not on the list": lambda p: huggingface(p, {"architectures": ["EvilForSegmentation"]}),
    "config with an expression": lambda p: huggingface(p, {"description": f"${p.code()}", "network_def": NETWORK}),
    # programs
    "ONNX with tensors elsewhere": lambda p: onnx(p, outside(b"../../../../etc/passwd")),
    "ONNX with an absolute place": lambda p: onnx(p, outside(str(p.canary).encode())),
    "ONNX with operators of others": lambda p: onnx(p, protobuf((1, protobuf((4, b"Evil"), (7, b"com.evil"))))),
    "ONNX nested deep": lambda p: onnx(p, _nested(64)),
    "ONNX that is no ONNX": lambda p: onnx(p, b"\xff" * 64),
    "TorchScript that is a pickle": lambda p: _file(p.folder / "evil.ts", pickle.dumps(Calls(exec, p.code()))),
}  # fmt: skip
# Run behind walls: they need bubblewrap and time.
PROGRAMS = {
    "TorchScript that reads a file": lambda p: scripted(p, Reads()),
    "TorchScript that answers with no labels": lambda p: scripted(p, Ends()),
    "TorchScript that eats the memory": lambda p: scripted(p, Eats()),
}


def _two_pickles():
    out = io.BytesIO(saved({"a": torch.zeros(2)}))
    with zipfile.ZipFile(out, "a") as file:
        file.writestr("other/data.pkl", pickle.dumps({}))
    return out.getvalue()


def _cut(path):
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _file(path, data=b"x"):
    path.write_bytes(data)
    return path


def _nested(levels):
    graph = b""
    for _ in range(levels):
        graph = protobuf((1, protobuf((5, protobuf((6, graph))))))
    return graph


def refused(place, payload, models):
    """Import a payload, which must be refused in one line that names it; return the error."""
    source = payload(place)
    Path("/proc/self/clear_refs").write_text("5")      # the high-water mark begins anew (proc(5))
    before_mb = most_mb()
    with pytest.raises(AilabError) as told:
        models.import_model(source, recipe="lungs")
    said = str(told.value)
    assert "\n" not in said
    assert len(said) < 500
    assert "evil" in said or "program" in said, said
    assert not place.canary.exists(), "it was run"
    assert len(models.all()) == 0, "something of it was kept"
    assert most_mb() - before_mb < MOST_GROWN_MB
    return told.value


def most_mb():
    """Most resident memory of this process since the mark was cleared."""
    line, = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "deep" / "deeper" / "in"       # so that ../../canary is a place that the test owns
    folder.mkdir(parents=True)
    (folder / "in").mkdir()
    return Place(folder, tmp_path / "canary")


def test_there_are_fifty_and_more():
    assert len(PAYLOADS) + len(PROGRAMS) >= 50


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_hostile_model_is_refused_by_name_and_never_run(place, workspace, name):
    refused(place, PAYLOADS[name], Models(workspace.catalog))
    assert not list(place.folder.parents[1].rglob("canary"))


@pytest.mark.slow
@pytest.mark.skipif(bool(lacking()), reason="no walls on this machine: bubblewrap is missing")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_stays_behind_its_walls(place, workspace, name):
    refused(place, PROGRAMS[name], Models(workspace.catalog))


def test_another_digest_than_was_asked_for_is_refused(place, workspace):
    folder, models = good(place), Models(workspace.catalog)
    found = models.import_model(folder)
    with pytest.raises(ModelChanged, match=r"its digest is sha256:\w{64}, not the one that was asked for"):
        models.import_model(folder, digest="sha256:" + "0" * 64)
    assert models.import_model(folder, digest=found.source).bundle.digest == found.bundle.digest


def test_weights_that_changed_after_the_import_are_refused(place, workspace):
    models = Models(workspace.catalog)
    bundle = models.import_model(good(place)).bundle
    digest = bundle.body["files"][WEIGHTS]
    kept = next(path for path in workspace.home.rglob("*") if path.is_file() and path.name in digest and path.parent.name == digest[:2])
    kept.chmod(0o600)
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    with pytest.raises(AilabError, match=r"changed|digest|damaged"):
        models.get(bundle.ref).weights()


def test_without_walls_no_program_is_run(place, workspace, monkeypatch):
    monkeypatch.setattr("ailab_kernel.models.trust.worker.lacking", lambda: "bwrap is not installed")
    source = scripted(place, Ends())
    with pytest.raises(UnsafeModel, match="behind walls only, and they cannot be built here: bwrap is not installed; nothing was run"):
        Models(workspace.catalog).import_model(source, recipe="lungs")
