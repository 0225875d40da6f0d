"""One place knows where the trusted side is: in this process, or behind the hub."""

import pickle

import pytest

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from ailab_kernel.ground.sql_catalog import SqlCatalog
from ailab_kernel.workspace import open_workspace

URL = "http://127.0.0.1:8000/services/ailab"


@pytest.fixture
def folder(workspace, tmp_path, monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    return tmp_path


def test_a_pilot_holds_its_own(folder):
    opened = open_workspace(folder)
    assert isinstance(opened.catalog, SqlCatalog)
    assert opened.archive_url == f"folder:{folder / 'lab' / 'archive'}"


@pytest.mark.parametrize("name", ["AILAB_SERVICE_TOKEN", "JUPYTERHUB_API_TOKEN"])
def test_behind_the_hub_the_service_holds_both(folder, monkeypatch, name):
    monkeypatch.setenv("AILAB_SERVICE", URL)
    monkeypatch.setenv(name, "secret")
    opened = open_workspace(folder)
    assert isinstance(opened.catalog, RemoteCatalog)
    assert opened.archive_url == f"dicomweb+{URL}/dicom-web?token_env={name}"
    assert opened.archive.url == f"dicomweb+{URL}/dicom-web"
    assert not (folder / "lab" / "catalog.sqlite").exists()
    assert not (folder / "lab" / "keys").exists()


def test_the_token_travels_in_no_value(folder, monkeypatch):
    monkeypatch.setenv("AILAB_SERVICE", URL)
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", "secret-token")
    opened = open_workspace(folder)
    told = opened.environment()
    assert told["AILAB_SERVICE"] == URL
    assert "secret-token" not in repr(told) + repr(opened) + repr(pickle.dumps(opened))
    for key, value in told.items():
        monkeypatch.setenv(key, value)
    again = open_workspace(folder)
    assert (again.archive_url, again.home) == (opened.archive_url, opened.home)


def test_ours_beats_the_hubs(folder, monkeypatch):
    monkeypatch.setenv("AILAB_SERVICE", URL)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "theirs")
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", "ours")
    assert open_workspace(folder).archive_url.endswith("token_env=AILAB_SERVICE_TOKEN")


def test_no_token_is_told(folder, monkeypatch):
    monkeypatch.setenv("AILAB_SERVICE", URL)
    with pytest.raises(SettingsError, match="the service needs a token: set AILAB_SERVICE_TOKEN"):
        open_workspace(folder).catalog  # noqa: B018 - opening it is the test


def test_a_password_in_the_archives_url_is_refused_and_not_repeated(folder, monkeypatch):
    for url in ("dicomweb+http://anna:very-secret@127.0.0.1/x", "dicomweb+https://:very-secret@127.0.0.1/x"):
        monkeypatch.setenv("AILAB_ARCHIVE", url)
        for use in (lambda one: one.archive, lambda one: one.environment()):
            with pytest.raises(SettingsError, match=r"USER@HOST .* \?password_env=NAME") as caught:
                use(open_workspace(folder))
            assert "very-secret" not in str(caught.value)
    monkeypatch.setenv("AILAB_ARCHIVE", "dicomweb+http://anna@127.0.0.1/x?password_env=THE_PASSWORD")
    monkeypatch.setenv("THE_PASSWORD", "very-secret")
    assert open_workspace(folder).archive.url == "dicomweb+http://127.0.0.1/x"


def test_a_part_of_its_own(folder):
    inner = open_workspace(folder).within(folder / "inner")
    assert (inner.home, inner.settings.catalog) == (folder / "inner", "")
    assert isinstance(inner.catalog, SqlCatalog)
    assert (folder / "inner" / "catalog.sqlite").exists()
