"""Objects encrypted at rest, and secrets by reference."""

from pathlib import Path

import pytest

from ailab_kernel.ground import encrypted
from ailab_kernel.ground.encrypted import EncryptedStore
from ailab_kernel.ground.errors import NotFound, SealBroken, SettingsError
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.references import secret
from ailab_kernel.ground.stores import open_store

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(encrypted, "_PIECE", 100)      # so that small objects have several pieces
    return EncryptedStore(tmp_path / "objects", KEY)


def stored(tmp_path: Path) -> Path:
    path, = [one for one in (tmp_path / "objects").rglob("*") if one.is_file()]
    return path


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 1000])
def test_round_trip(store, tmp_path, size):
    data = bytes(i * 7 % 251 for i in range(size))
    digest = store.put(data)
    assert digest == sha256(data)
    assert store.get(digest) == data == store.path(digest).read_bytes()
    store.check(digest)
    written = stored(tmp_path).read_bytes()
    assert size < 8 or data[:8] not in written
    assert store.put(data) == digest
    (tmp_path / "a file").write_bytes(data)
    assert store.put(tmp_path / "a file") == digest


def test_the_same_object_is_never_encrypted_the_same(tmp_path):
    for name in ("a", "b"):
        EncryptedStore(tmp_path / name, KEY).put(b"the same")
    one, other = (next(p for p in (tmp_path / name).rglob("*") if p.is_file()).read_bytes() for name in ("a", "b"))
    assert one != other


@pytest.mark.parametrize("change", [
    lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:-116], lambda data: b"", lambda data: data[:16],
    lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
    lambda data: data[:16] + data[132:248] + data[16:132] + data[248:], lambda data: b"plain bytes, as before",
], ids=["shorter", "longer", "a piece less", "empty", "head only", "a bit", "pieces swapped", "not encrypted"])  # fmt: skip
def test_whatever_changes_is_seen(store, tmp_path, change):
    digest = store.put(bytes(350))
    path = stored(tmp_path)
    path.chmod(0o600)
    path.write_bytes(change(path.read_bytes()))
    for act in (store.get, store.check, store.path):
        with pytest.raises(SealBroken):
            act(digest)


def test_an_object_under_another_name_is_seen(store, tmp_path):
    digest = store.put(b"one")
    other = sha256(b"two")
    place = tmp_path / "objects" / other[:2] / other[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(stored(tmp_path).read_bytes())
    with pytest.raises(SealBroken):
        store.get(other)
    assert store.get(digest) == b"one"


def test_another_key_opens_nothing(store, tmp_path):
    digest = store.put(b"secret")
    with pytest.raises(SealBroken, match="another key"):
        EncryptedStore(tmp_path / "objects", bytes(32)).get(digest)
    with pytest.raises(NotFound):
        store.get(sha256(b"nothing"))


def test_few_files_stay_open(store):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(200):
        assert store.path(store.put(b"%d" % number)).read_bytes() == b"%d" % number
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 65


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), b"g" * 64, bytes(33)])
def test_a_wrong_key_is_told(tmp_path, key):
    with pytest.raises(SettingsError, match="openssl rand -hex 32"):
        EncryptedStore(tmp_path, key)


def test_a_setting_opens_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OBJECTS", KEY.hex())
    made = open_store("objects", home=tmp_path, key="env:OBJECTS")
    assert isinstance(made, EncryptedStore)
    made.put(b"x" * 50)
    assert b"x" * 20 not in stored(tmp_path).read_bytes()
    with pytest.raises(SettingsError, match="let the bucket encrypt"):
        open_store("memory://bucket", home=tmp_path, key="env:OBJECTS")


def test_secrets_are_told_by_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("NAMED", "value")
    path = tmp_path / "secret"
    path.write_bytes(b"in a file")
    path.chmod(0o600)
    assert secret("env:NAMED", what="x") == b"value"
    assert secret(f"file:{path}", what="x") == b"in a file"
    path.chmod(0o640)
    for wrong in ("", "value", "env:", "env:NONE", f"file:{path}", "file:/none/there", "http://x", "keyring:"):
        with pytest.raises(SettingsError) as told:
            secret(wrong, what="objects_key")
        assert str(told.value).startswith("objects_key: ")
        assert "in a file" not in str(told.value)
