"""What the hub reads, and what ``ailab hub render`` writes."""

import json
from pathlib import Path

import yaml

from ailab_kernel.fleet.profiles import read_profiles
from tests.cli.running import ailab

HUB = Path(__file__).parents[2] / "hub_config"


def test_the_configuration_is_short():
    assert len((HUB / "jupyterhub_config.py").read_text().splitlines()) <= 60


def test_every_deployment_names_a_spawner_and_says_whether_it_was_tried():
    deployments = yaml.safe_load((HUB / "deployments.yaml").read_text())
    assert set(deployments) == {"local", "systemd", "slurm", "docker"}
    assert all({"spawner", "rooms", "usual_s", "tested"} <= set(one) for one in deployments.values())
    assert [name for name, one in deployments.items() if "not run by us" in one["tested"]] == ["systemd", "docker"]


def test_the_proxy_is_locked_by_hashes_and_names_no_registry():
    lock = json.loads((HUB / "node" / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages["node_modules/configurable-http-proxy"]["version"] == "5.3.0"
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values())


def test_render_prints_the_same_file_twice_and_the_hub_can_read_it(tmp_path, capsys):
    answers = tmp_path / "answers.toml"
    answers.write_text('train = "fine-tune"\ninfer_exams_per_hour = 20\n')
    texts = []
    for _ in range(2):
        assert ailab("hub", "render", "tiers", "--from", answers) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert [one.name for one in read_profiles(texts[0])] == ["pilot", "small", "medium"]
    assert ailab("hub", "render", "nomad", "--from", answers) == 2
    assert "one of tiers, systemd, docker, slurm, kubernetes, kubernetes-service is expected" in capsys.readouterr().err


def test_the_check_says_what_to_do_where_no_hub_answers(monkeypatch, capsys):
    assert ailab("hub", "check", "--url", "http://127.0.0.1:9") == 1
    assert "run: ailab hub start" in capsys.readouterr().err
