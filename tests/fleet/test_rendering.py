"""What is rendered for Slurm and Kubernetes: the same bytes each time, true to the chart's schema, tiers kept by groups."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import yaml
from tornado import web

from ailab_kernel.fleet import slurm
from ailab_kernel.fleet import witness as fleet_witness
from ailab_kernel.fleet.profiles import Profile, read_profiles
from ailab_kernel.fleet.rendering import KINDS, render
from ailab_kernel.fleet.site import Site
from ailab_kernel.fleet.sizing import Answers
from ailab_kernel.ground.errors import SettingsError, WrongUse
from ailab_kernel.service import identity

from . import chart

SCHEMA = yaml.safe_load((Path(__file__).parents[1] / "hub" / "data" / "z2jh-values.schema.yaml").read_text())
SITE = Site(image="registry.hospital.example:5000/ailab:2026.11", host="lab.hospital.example", gpu_kind="NVIDIA-A100")
SITES = [Answers(start_small=True), Answers(train="fine-tune"), Answers(train="multiple")]
ROOT = Path(__file__).parents[2]


def values(answers=SITES[2], site=SITE):
    return yaml.safe_load(render("kubernetes", answers, site=site))


@pytest.mark.parametrize("answers", SITES)
def test_kubernetes_values_are_what_the_chart_allows(answers):
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(values(answers), SCHEMA)


@pytest.mark.parametrize(("place", "value"), [
    (("hub", "extraConfg"), {}), (("proxy", "https", "type"), "none"), (("singleuser", "image"), {"name": "x"}),
    (("singleuser", "storage", "type"), "nfs"), (("cull",), {}), (("singleuser", "networkPolicy", "enabled"), "yes"),
])
def test_the_schema_notices_what_is_wrong(place, value):
    told = values()
    part = told
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, SCHEMA)


def test_two_processes_with_other_hash_seeds_render_the_same_bytes(tmp_path):
    answers = tmp_path / "answers.toml"
    answers.write_text('train = "multiple"\ninfer_exams_per_hour = 20\n')
    code = ("import sys, tomllib; from ailab_kernel.fleet.rendering import KINDS, render\n"
            "from ailab_kernel.fleet.sizing import answers_of\n"
            "told = answers_of(tomllib.loads(open(sys.argv[1]).read()))\n"
            "sys.stdout.write(''.join(render(kind, told) for kind in KINDS))")
    texts = {subprocess.run([sys.executable, "-c", code, str(answers)], cwd=ROOT, capture_output=True, check=True,
                            env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in ("1", "20")}
    assert len(texts) == 1
    assert len(texts.pop()) > 10_000


def test_the_values_say_that_no_cluster_has_seen_them_and_let_nothing_out():
    text, told = render("kubernetes", SITES[2], site=SITE), values()
    assert "Untested on a cluster" in text
    assert "Untested on a cluster" in render("kubernetes-service", SITES[2], site=SITE)
    assert told["proxy"]["https"] == {"enabled": True, "type": "secret", "hosts": ["lab.hospital.example"],
                                      "secret": {"name": "ailab-tls", "key": "tls.key", "crt": "tls.crt"}}
    for part in (told["hub"], told["proxy"]["chp"], told["singleuser"]):
        assert part["networkPolicy"]["egressAllowRules"]["nonPrivateIPs"] is False
    assert told["singleuser"]["networkPolicy"]["egressAllowRules"]["privateIPs"] is False
    assert told["singleuser"]["image"] == {"name": "registry.hospital.example:5000/ailab", "tag": "2026.11",
                                           "pullPolicy": "IfNotPresent"}
    assert told["hub"]["config"]["JupyterHub"]["authenticator_class"] != "dummy", "the chart's own default lets all in"
    assert told["hub"]["loadRoles"]["server"]["scopes"] == [
        "users:activity!user", "access:servers!server", "read:users:groups!user", "access:services!service=ailab"]


def test_the_trusted_process_is_a_pod_of_its_own_and_only_servers_and_proxy_reach_it():
    parts = list(yaml.safe_load_all(render("kubernetes-service", SITES[2], site=SITE)))
    assert [one["kind"] for one in parts] == ["Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy"]
    pod = parts[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] != values()["singleuser"]["uid"]
    assert pod["automountServiceAccountToken"] is False
    told = {one["name"]: one for one in pod["containers"][0]["env"]}
    assert not [name for name in ("JUPYTERHUB_API_TOKEN", "SERVICE_TLS_KEY") if "value" in told[name]], "by reference"
    assert told["AILAB_SERVICE_KEY"]["value"] == "env:SERVICE_TLS_KEY"
    assert told["JUPYTERHUB_SERVICE_URL"]["value"] == "https://0.0.0.0:8600"
    allowed = parts[3]["spec"]["ingress"][0]["from"]
    assert [one["podSelector"]["matchLabels"]["component"] for one in allowed] == ["proxy", "singleuser-server", "hub"]


@pytest.mark.parametrize(("told", "says"), [
    ({"image": "ailab"}, "NAME:TAG"), ({"image": "registry:5000/ailab"}, "NAME:TAG"), ({"image": "a b:1"}, "image 'a b:1'"),
    ({"host": "lab\nadmin: true"}, "host"), ({"gpu_kind": "a100\n#SBATCH --uid=0"}, "gpu_kind"),
])
def test_names_of_a_site_are_checked(told, says):
    with pytest.raises(WrongUse, match=says):
        render("kubernetes", SITES[2], site=Site(**told))


@pytest.fixture
def configured(monkeypatch, tmp_path):
    """Runs the values' configuration as the chart does: its modules beside it, values and secrets by its readers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [one for one in sys.modules if one.startswith("ailab_modules")]:
        monkeypatch.delitem(sys.modules, name)

    def run(told, config):
        def reader(name):
            part = told
            for key in name.split("."):
                part = part[key]
            return part

        chart.extra_files(told, tmp_path)
        for name, settings in told["hub"]["config"].items():
            config[name].update(settings)
        for name, source in sorted(told["hub"]["extraConfig"].items()):
            exec(compile(source, name, "exec"), {"c": config, "get_config": reader, "get_secret_value": "the {}".format})

    return run


@pytest.fixture
def spawner_of(monkeypatch, configured):
    """A real KubeSpawner as the chart sets it up, for somebody of some groups; no cluster is asked."""
    kubespawner = pytest.importorskip("kubespawner")
    from traitlets.config import Config

    for name in ("load_config", "shared_client"):              # the way to a cluster, which there is none of
        monkeypatch.setattr(kubespawner.spawner, name, lambda *_, **__: None)
    told, config = values(), Config()
    single = told["singleuser"]
    configured(told, config)
    config.KubeSpawner.update({"image": "x:1", "volumes": single["storage"]["extraVolumes"], "environment": single["extraEnv"],
                               "volume_mounts": single["storage"]["extraVolumeMounts"], "uid": single["uid"]})

    def made(*groups, **options):
        user = SimpleNamespace(name="anna", id=1, url="/user/anna", groups=[SimpleNamespace(name=one) for one in groups],
                               escaped_name="anna", spawners={})
        hub = SimpleNamespace(public_host="", api_url="http://hub:8081/hub/api", base_url="/hub/", server=None)
        spawner = kubespawner.KubeSpawner(config=config, _mock=True, hub=hub, user=user, api_token="t", oauth_client_id="o")
        spawner.user_options = options
        return spawner

    return made


def pod_of(spawner):
    async def made():
        spawner.run_pre_spawn_hook()
        await spawner.load_user_options()
        return spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())

    return asyncio.run(made())


def test_a_tier_is_a_pod_with_its_limits_its_gpus_and_its_shared_memory(spawner_of):
    pod = pod_of(spawner_of("data-scientist", profile="large"))
    box = pod.spec.containers[0]
    assert box.resources.limits == {"cpu": 16, "memory": 256 * 1024**3, "nvidia.com/gpu": "2"}
    assert box.resources.requests["memory"] == 256 * 1024**3, "what a tier promises, it holds"
    assert pod.spec.node_selector == {"nvidia.com/gpu.product": "NVIDIA-A100"}
    (shm,) = [one for one in pod.spec.volumes if one.name == "shm"]
    assert shm.empty_dir == {"medium": "Memory", "sizeLimit": "65536Mi"}
    assert any(one.mount_path == "/dev/shm" for one in box.volume_mounts)
    assert pod.spec.active_deadline_seconds == 72 * 3600
    env = {one.name: one.value for one in box.env}
    assert (env["AILAB_TIER"], env["AILAB_SERVICE"]) == ("large", "https://ailab-service:8600/services/ailab")
    assert env["AILAB_SERVICE_CA"] == "/etc/ailab/authority/ca.crt"
    (authority,) = [one for one in pod.spec.volumes if one.name == "authority"]
    assert authority.secret == {"secretName": "ailab-authority", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    (mount,) = [one for one in box.volume_mounts if one.name == "authority"]
    assert (mount.mount_path, mount.read_only) == ("/etc/ailab/authority", True)
    assert pod.spec.automount_service_account_token is False


def test_a_tier_without_gpus_sees_none(spawner_of):
    pod = pod_of(spawner_of("student"))
    box = pod.spec.containers[0]
    assert "nvidia.com/gpu" not in box.resources.limits
    assert {one.name: one.value for one in box.env}["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert not pod.spec.node_selector


@pytest.mark.parametrize(("groups", "options"), [
    (["student"], {"profile": "large"}), (["student"], {"profile": "small"}), (["radiologist"], {"profile": "medium"}),
    (["student"], {"profile": "enormous"}), ([], {"profile": "pilot"}), ([], {}), (["nurse"], {}),
])
def test_a_forged_tier_is_refused_by_the_hubs_pod(spawner_of, groups, options):
    with pytest.raises(web.HTTPError) as refused:
        pod_of(spawner_of(*groups, **options))
    assert refused.value.status_code == 403
    assert "not open to your groups" in refused.value.jupyterhub_message


def test_options_beside_the_tier_are_dropped(spawner_of):
    spawner = spawner_of("student", profile="pilot", image="evil:1", kubespawner_override={"uid": 0})
    pod_of(spawner)
    assert spawner.user_options == {"profile": "pilot"}
    assert spawner.image == "x:1"


def test_slurm_gets_each_tier_as_options():
    text = render("slurm", SITES[2], site=SITE)
    assert "large: --nodes=1 --ntasks=1 --no-requeue --cpus-per-task=16 --mem=278528M --time=4320 --gres=gpu:NVIDIA-A100:2" in text
    assert "MaxTime=3-00:00:00 or more" in text
    assert "AILAB_DEPLOYMENT=slurm" in text
    assert read_profiles(render("tiers", SITES[2], site=SITE))[3].gpu_kind == "NVIDIA-A100"


PILOT = Profile(name="pilot", cpus=1.5, memory_gb=2, max_hours=8, groups=("student",))


def test_a_script_is_options_and_one_command_that_the_shell_cannot_read_otherwise():
    text = slurm.script(slurm.directives(PILOT), ["python", "-m", "room", "--hint=Next: $(id) 'x'"])
    assert text.splitlines()[:2] == ["#!/bin/sh", "#SBATCH --nodes=1"]
    assert "#SBATCH --cpus-per-task=2\n#SBATCH --mem=2176M\n#SBATCH --time=480\n" in text
    assert text.splitlines()[-1] == """exec python -m room '--hint=Next: $(id) '"'"'x'"'"''"""
    with pytest.raises(SettingsError, match="one line is expected"):
        slurm.script(["--gres=gpu:1\ncurl evil"], ["true"])


@pytest.mark.parametrize(("reason", "says"), [
    ("Resources", "Every machine of the cluster that fits is in use; you are number 2 in its queue"),
    ("Priority", "in use"), ("None", "looking for a machine"), ("PartitionTimeLimit", "runs longer"),
    ("QOSMaxJobsPerUserLimit", "people of your kind"), ("AssocGrpGRES", "limit for your account"),
    ("JobHeldAdmin", "holds your server back"), ("Nodes required for job are DOWN", "down or kept"),
    ("Cosmic rays", "Slurm says: Cosmic rays"),
])
def test_why_a_job_waits_is_said_in_plain_words(reason, says):
    told = slurm.why_it_waits(slurm.Job("PENDING", reason, "", "lab", 0), place=2)
    assert says in told
    assert "number 2 in its queue" in told


@pytest.mark.parametrize(("state", "says"), [
    ("TIMEOUT", "it had run for 8 h, the most that tier pilot allows"), ("OUT_OF_MEMORY", "more than the 2 GB of tier pilot"),
    ("CANCELLED", "scancel"), ("NODE_FAIL", "failed"), ("FAILED", "server.log"), ("COMPLETED", "from inside"),
    ("REVOKED", "(REVOKED)"),
])
def test_how_a_job_ended_is_said_in_plain_words(state, says):
    assert says in slurm.why_it_ended(slurm.Job(state, "", "vm", "lab", 0), PILOT)


@pytest.mark.parametrize(("config", "says"), [
    ("TaskPlugin = task/cgroup,task/affinity\nConstrainRAMSpace       = yes\n", "Slurm's cgroup holds memory in the kernel"),
    ("TaskPlugin = task/none\nJobAcctGatherParams = OverMemoryKill\nJobAcctGatherFrequency = 5\n", "Slurm looks every 5 s"),
    ("TaskPlugin = task/affinity\nJobAcctGatherParams = (null)\n", "Slurm itself holds no memory limit here"),
    ("", "Slurm itself holds no memory limit here"),
])
def test_what_holds_the_limits_is_found_out(config, says):
    assert says in slurm.held_by(config)


@pytest.mark.parametrize(("said", "says"), [
    ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "as large as this tier"),
    ("sbatch: error: Batch job submission failed: Invalid partition name specified", "deployments.yaml"),
    ("sbatch: error: Unable to contact slurm controller", "does not answer"),
    ("sbatch: error: quite new", "did not take your server: quite new"), ("", "nothing was said"),
])
def test_why_slurm_refused_is_said_in_plain_words(said, says):
    assert says in slurm.refusal(said)


def test_the_hubs_code_is_what_we_test():
    files = {Path(one["mountPath"]).name: one["stringData"] for one in values()["hub"]["extraFiles"].values()}
    assert files == {name: (ROOT / "ailab_kernel" / "fleet" / name).read_text() for name in ("kube_tiers.py", "witness.py")}
    assert not [text for text in files.values() if "import ailab_kernel" in text or "from ailab_kernel" in text]
    assert set(KINDS) == {"tiers", "systemd", "docker", "slurm", "kubernetes", "kubernetes-service"}


@pytest.mark.parametrize("named", ["generic-oauth", "oauthenticator.generic.GenericOAuthenticator"])
def test_the_authenticator_of_the_values_is_witnessed_and_keeps_its_settings(configured, tmp_path, named):
    pytest.importorskip("oauthenticator")
    from traitlets.config import Config

    told, config = values(), Config()
    told["hub"]["config"]["JupyterHub"]["authenticator_class"] = named
    configured(told, config)
    made = config.JupyterHub.authenticator_class(config=config)
    assert [one.__name__ for one in type(made).__mro__[:2]] == ["Witnessed", "GenericOAuthenticator"]
    assert made.oauth_callback_url == "https://lab.hospital.example/hub/oauth_callback"
    assert (tmp_path / "seen").is_dir()


def test_a_hub_that_would_ask_without_tls_does_not_start(configured):
    from traitlets.config import Config

    told = values()
    told["custom"]["ailab"]["trusted"]["url"] = "http://ailab-service:8600/services/ailab"
    with pytest.raises(ValueError, match="https:// is expected"):
        configured(told, Config())


def test_the_hub_and_the_service_call_the_witness_by_one_name():
    assert {fleet_witness.SERVICE, identity.WITNESS} <= set(values()["hub"]["services"])
    assert values()["hub"]["loadRoles"]["witnessing"] == {
        "services": [identity.WITNESS], "scopes": ["access:services!service=ailab"]}
