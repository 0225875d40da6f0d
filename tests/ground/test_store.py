import multiprocessing
import os
import signal
import time

import pytest

from ailab_kernel.ground.errors import NotFound, SealBroken, SettingsError
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.store import FolderStore, RemoteStore, atomic_write
from ailab_kernel.ground.stores import open_store


def test_bytes_are_found_by_their_digest(tmp_path):
    store = FolderStore(tmp_path)
    digest = store.put(b"heart")
    assert digest == sha256(b"heart") == store.put(b"heart")
    assert store.get(digest) == store.path(digest).read_bytes() == b"heart"


def test_a_file_is_kept_like_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"heart")
    assert FolderStore(tmp_path / "s").put(tmp_path / "x") == sha256(b"heart")


def test_changed_and_missing_bytes_are_told(tmp_path):
    store = FolderStore(tmp_path)
    digest = store.put(b"heart")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"heard")
    for act in (store.get, store.check):
        with pytest.raises(SealBroken, match=digest[:12]):
            act(digest)
    with pytest.raises(NotFound):
        store.get("0" * 64)


def test_objects_behind_a_url(tmp_path):
    import fsspec

    store = open_store("memory://objects", home=tmp_path)
    digest = store.put(b"heart")
    store.check(digest)
    other = RemoteStore("memory://objects", tmp_path / "another-machine")
    assert other.get(digest) == other.path(digest).read_bytes() == b"heart"
    files, root = fsspec.core.url_to_fs("memory://objects")
    files.pipe_file(f"{root}/{digest[:2]}/{digest[2:]}", b"heard")
    with pytest.raises(SealBroken):
        store.check(digest)
    with pytest.raises(SettingsError, match="gopher"):
        open_store("gopher://x", home=tmp_path)


def _write_for_ever(path):
    number = 0
    while True:
        number += 1
        atomic_write(path, str(number).encode() * 20_000)


def test_kill_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "x"
    for _ in range(10):
        writer = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(path,))
        writer.start()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.03)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        data = path.read_bytes()
        number = data[: len(data) // 20_000]
        assert data == number * 20_000


@pytest.mark.parametrize("name", ["../../secret", "/etc/secret", "..", "", "A" * 64, "0" * 63, "0" * 64 + "\n", "..secret"])
@pytest.mark.parametrize("remote", [False, True])
def test_nothing_but_a_digest_becomes_a_path(tmp_path, name, remote):
    """``../`` as the first two letters made a path that led out of the store, to a file that could be taken for damaged."""
    (tmp_path / "secret").write_bytes(b"secret")
    store = RemoteStore(f"file://{tmp_path / 'far' / 'store'}", tmp_path / "cache") if remote else FolderStore(tmp_path / "a" / "b")
    for act in (store.get, store.path, store.check):
        with pytest.raises(NotFound, match="no object's name"):
            act(name)
    assert (tmp_path / "secret").read_bytes() == b"secret"
