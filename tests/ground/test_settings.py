import pytest

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("AILAB_HOME", raising=False)
    monkeypatch.delenv("AILAB_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_pilot_needs_no_settings(tmp_path):
    assert load_settings().home == tmp_path / "lab"
    assert load_settings().archive == "folder:archive"


def test_file_beats_default_and_environment_beats_file(tmp_path, monkeypatch):
    (tmp_path / "ailab.toml").write_text('device = "cpu"\nhome = "here"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert load_settings(below).home == tmp_path / "here", "a relative home starts at the file's folder"
    assert load_settings().device == "cpu"
    monkeypatch.setenv("AILAB_DEVICE", "cuda")
    assert load_settings().device == "cuda"


def test_a_mistake_is_named_with_file_key_and_line(tmp_path, monkeypatch):
    file = tmp_path / "ailab.toml"
    file.write_text('# a lab\n\narchiv = "folder:x"\n')
    with pytest.raises(SettingsError, match=rf"{file}:3: unknown setting 'archiv'.*archive"):
        load_settings()
    file.write_text('device = "tpu"\n')
    with pytest.raises(SettingsError, match=r"ailab.toml:1: device = 'tpu'.*'cpu'"):
        load_settings()
    file.write_text('device = "cpu\n')
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings()
    file.write_text("")
    monkeypatch.setenv("AILAB_DEVICE", "abacus")
    with pytest.raises(SettingsError, match="AILAB_DEVICE: device = 'abacus'"):
        load_settings()


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())
