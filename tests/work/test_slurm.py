"""The address of a Slurm cluster, and what is said where there is none; real jobs run in tests/hub/test_slurm.py."""

import pytest

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.work.slurm import Jobs, own_address, read_url


def test_an_address_is_read():
    assert read_url("slurm://") == Jobs()
    assert read_url("slurm://gpu?workers=4&cpus=8&memory_gb=31.5&gpus=1&hours=0.5&account=lab&host=10.0.0.1&folder=/a b") == Jobs(
        partition="gpu", workers=4, cpus=8, memory_gb=31.5, gpus=1, hours=0.5, account="lab", host="10.0.0.1", folder="/a b")


@pytest.mark.parametrize(("url", "says"), [
    ("slurm:lab", "not of this form"), ("slurm://lab/x", "not of this form"), ("slurm://lab?speed=9", "speed is unknown"),
    ("slurm://lab?workers=0", "workers = '0'; a number from 1 on"), ("slurm://lab?workers=many", "workers = 'many'"),
    ("slurm://lab?memory_gb=nan", "memory_gb = 'nan'"), ("slurm://lab?hours=-1", "hours"), ("slurm://lab?gpus=1.5", "gpus"),
    ("slurm://lab?account=a%0A%23SBATCH", "account has other characters"), ("slurm://a b", "partition has other characters"),
    ("slurm://lab?host=$(id)", "host has other characters"), ("slurm://lab?workers=", "workers = ''"),
])
def test_a_wrong_address_is_named(url, says):
    with pytest.raises(SettingsError) as caught:
        read_url(url)
    assert says in str(caught.value)


def test_where_slurm_is_not_installed_the_next_step_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="install Slurm's programs, or use local"):
        own_address()


def test_where_no_controller_is_known_the_operator_is_named(monkeypatch, tmp_path):
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="ask the cluster's operator"):
        own_address()
