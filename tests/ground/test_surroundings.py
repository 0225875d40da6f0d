"""What a record keeps of its surroundings, and how two of them differ, in words."""

import shutil

from ailab_kernel.ground import surroundings as room
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.surroundings import code_digest, lock_digest, lock_text, surroundings, unlike

BEFORE = {"engine": "openvino", "versions": {"torch": "2.12.0", "numpy": "2.1"}, "code": "a" * 64, "threads": 4}


def test_the_lock_is_kept_by_its_digest():
    told = surroundings()
    assert told["lock"] == lock_digest() == sha256(lock_text())
    assert b"torch==2.13.0" in lock_text()
    assert told["processor"]
    assert told["versions"]["torch"]


def test_elsewhere_the_lock_is_what_is_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    lines = lock_text.__wrapped__().decode().splitlines()
    assert any(line.startswith("torch==") for line in lines)
    assert not any(line.startswith("ailab-kernel==") for line in lines)
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0].lower())


def test_the_code_is_every_source_file(tmp_path):
    package = tmp_path / "one" / "ailab_kernel"
    package.mkdir(parents=True)
    (package / "a.py").write_text("a = 1\n")
    (package / "a.json").write_text("{}")
    first = code_digest(package)
    other = tmp_path / "two" / "ailab_kernel"
    shutil.copytree(package, other)
    (other / "a.json").write_text("[]")
    assert code_digest(other) == first
    third = tmp_path / "three" / "ailab_kernel"
    shutil.copytree(package, third)
    (third / "a.py").write_text("a = 2\n")
    assert code_digest(third) != first


def test_what_differs_is_told_likelier_causes_first():
    assert unlike(BEFORE, BEFORE) == ()
    now = {"engine": "torch", "versions": {"torch": "2.13.0", "numpy": "2.1", "monai": "1.6.1"}, "code": "b" * 64, "threads": 8}
    assert unlike(BEFORE, now) == (
        "the engine: openvino then, torch now", "torch: 2.12.0 then, 2.13.0 now", "monai: none then, 1.6.1 now",
        "AI-LAB's code: aaaaaaaaaaaa then, bbbbbbbbbbbb now", "the number of threads: 4 then, 8 now")
    assert unlike({"engine": "torch"}, {"engine": "torch", "code": "b"}) == (), "what was never told is no difference"
