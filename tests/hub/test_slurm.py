"""The hub with the deployment ``slurm``: servers are real jobs of a real Slurm, and so is a Dask worker."""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ailab_kernel.ground.activity import told
from ailab_kernel.ground.errors import AilabError

from .hubs import free_ports
from .hubs import hub as started
from .slurms import ADDRESS, PEOPLE
from .slurms import slurm as slurm_started
from .test_hub import start, wait_for

pytestmark = pytest.mark.slow
TIERS = """
pilot: {cpus: 1, memory_gb: 1.2, idle_minutes: 60, max_hours: 8, groups: [student, radiologist, data-scientist]}
gpu: {cpus: 2, memory_gb: 2, gpus: 1, idle_minutes: 60, max_hours: 8, groups: [data-scientist]}
"""
# So slowly that the room, which looks five times a second, is there before Slurm, which looks each second: +=, say, copies.
GROW = "import time; kept = [b'x' * 700_000_000]\nfor _ in range(300): kept.append(b'x' * 4_000_000); time.sleep(0.05)"


@pytest.fixture(scope="module")
def slurm():
    with slurm_started() as running:
        yield running


@contextmanager
def hub_of(slurm):
    port = free_ports()
    with started(tiers=TIERS, service="on", within=slurm.inside(), port=port, AILAB_HUB_URL=f"http://0.0.0.0:{port}",
                 AILAB_DEPLOYMENT="slurm", AILAB_HUB_HOST=ADDRESS, **slurm.environment) as running, slurm.reachable(port):
        yield running


@pytest.fixture(scope="module")
def hub(hub_needs, slurm):
    with hub_of(slurm) as running:
        yield running


def notices(hub, name):
    return [one.text for one in told(hub.home / "hub" / "told" / name / "notices.json")]


def test_a_server_is_a_job_with_its_tiers_limits_and_stop_cancels_it(hub, slurm):
    anna = hub.person("anna", "student")
    page = anna._get("/hub/spawn").text
    assert "Slurm looks every 1 s and ends the whole server above it (no cgroup holds it in the kernel)" in page
    anna.api("POST", "/users/anna/server", body={"tier": "pilot"})
    assert "JupyterLab is starting; usually it is ready in 10 s" in anna.told(until="is starting")
    anna.wait()
    assert slurm.jobs() == ["ailab|anna|RUNNING|1|1357M|8:00:00|N/A"]
    kernel = anna.kernel()
    assert anna.run("import os; print(os.getuid(), os.environ['CUDA_VISIBLE_DEVICES'], os.getcwd() == os.environ['HOME'])",
                    kernel=kernel) == f"{PEOPLE['anna']}  True\n"
    assert anna.run("os.environ.get('JUPYTERHUB_CRYPT_KEY'), os.environ['AILAB_TIER']", kernel=kernel) == "(None, 'pilot')"
    bound = anna.run("import urllib.parse; urllib.parse.urlsplit(os.environ['JUPYTERHUB_SERVICE_URL']).hostname", kernel=kernel)
    assert bound == f"'{ADDRESS}'", "where the hub reaches it, not on every address"
    way = anna.run("import ipykernel, json; json.load(open(ipykernel.get_connection_file()))['transport']", kernel=kernel)
    assert way == "'ipc'", "nobody on that machine can listen in"
    assert anna.run("os.access(os.environ['AILAB_NOTICES'].rpartition('/')[0], os.R_OK)", kernel=kernel) == "True"
    secrets = anna.run(f"open('{hub.private}/jupyterhub.sqlite', 'rb')", kernel=kernel)
    assert "PermissionError" in secrets
    lab = "import ailab_kernel; lab = ailab_kernel.open_lab(); lab.workspace.catalog.roles_enforced"
    assert anna.run(lab, kernel=kernel) == "True", "the trusted process is reached from the job"
    anna.leave()
    assert wait_for(lambda: not slurm.jobs(), seconds=30), slurm.jobs()
    assert not notices(hub, "anna"), "who stops a server need not be told why"


@pytest.mark.parametrize("tier", ["gpu", "enormous"])
def test_a_forged_tier_is_refused_and_no_job_is_made(hub, slurm, tier):
    student = hub.person("ben", "student")
    before = slurm.jobs()
    assert student.choose(tier).status_code == 403
    refused = student.api("POST", "/users/ben/server", body={"tier": tier, "options": "--uid=0", "partition": "lab"})
    assert refused.status_code == 403
    assert slurm.jobs() == before


def test_slurm_lends_the_gpu_and_whoever_waits_is_told_the_place(hub, slurm):
    first, second = hub.person("gina", "data-scientist"), hub.person("gunter", "data-scientist")
    start(first, "gpu")
    assert any(one.endswith("gres:gpu:1") for one in slurm.jobs()), slurm.jobs()
    assert first.run("import os; os.environ['CUDA_VISIBLE_DEVICES']", kernel=first.kernel()) == "'0'"
    second.api("POST", "/users/gunter/server", body={"tier": "gpu"})
    heard = second.told(until="number 1 in its queue")
    assert "Every machine of the cluster that fits is in use" in heard
    first.leave()
    second.wait(90)
    assert [one.split("|")[1] for one in slurm.jobs() if "gres:gpu" in one and "RUNNING" in one] == ["gunter"]
    second.leave()


def test_the_room_in_the_job_holds_memory_and_a_job_that_ends_by_itself_is_explained(hub, slurm):
    greedy = hub.person("greta", "student")
    start(greedy, "pilot")
    with pytest.raises(AilabError, match="did not finish"):
        greedy.run(GROW, kernel=greedy.kernel(), seconds=25)
    assert greedy.run("6 * 7", kernel=greedy.kernel()) == "42"
    log = (hub.home / "hub" / "rooms" / "greta" / ".ailab" / "server.log").read_text()
    assert "out of memory: 1." in log
    assert "of 1.2 GB used" in log
    slurm.run("scancel", "--user=greta")
    assert wait_for(lambda: not greedy.server(), seconds=60), hub.log[-2000:]
    assert notices(hub, "greta") == ["Your server was ended with scancel, by you or by the cluster's operator."]
    assert wait_for(lambda: "ended with scancel" in greedy._get("/hub/spawn").text, seconds=10)
    assert not [one for one in Path("/tmp").glob("ailab-*") if one.stat().st_uid == PEOPLE["greta"]], "nothing stays behind"


def test_whoever_has_no_account_on_the_cluster_is_told_so(hub, slurm):
    for name, says in {"stranger": "no account of this name on the cluster", "daemon": "name is that of a system"}.items():
        somebody = hub.person(name, "student")
        answer = somebody.api("POST", f"/users/{name}/server", body={"tier": "pilot"})
        assert wait_for(lambda says=says: says in hub.log, seconds=20), answer.text
        assert not any(f"|{name}|" in one for one in slurm.jobs())


def test_a_port_that_cannot_be_one_is_not_believed(hub):
    """A job may write what it likes into its comment; the hub routes to a port of the job's machine or nowhere."""
    from ailab_kernel.fleet.slurm import job_of

    for comment in ("22", "70000", "4711 ", "http://10.0.0.1:8001", "", "(null)", "١٢٣٤", "80|80", "-8000", "8000\n"):
        assert job_of(f"RUNNING|None|vm|lab|{comment}").port in {0, 4711, 8000}
    assert job_of("RUNNING|None|vm|lab|http://10.0.0.1:8001").port == 0
    assert job_of("no line") is None


def test_a_dask_worker_is_a_job_and_computes(slurm, tmp_path):
    code = ("import sys; sys.path.insert(0, '.'); from ailab_kernel.work.compute import map_cases, cluster\n"
            "from tests.work.tasks import square, host_and_job\n"
            "if __name__ == '__main__':\n"
            "    url = 'slurm://lab?workers=1&cpus=2&memory_gb=2&hours=0.5'\n"
            "    print(map_cases(square, [3, 1, 2], compute=url), *map_cases(host_and_job, [0], compute=url), flush=True)\n"
            "    import subprocess; print(subprocess.run(['squeue', '-h', '-o', '%j|%T|%C|%m|%l'], text=True,"
            " capture_output=True).stdout, flush=True)\n")
    began = time.monotonic()
    printed = slurm.run(sys.executable, "-W", "error", "-c", code, timeout=120)
    assert printed.startswith("[9, 1, 4] "), printed
    assert "ailab-dask|RUNNING|2|2G|30:00" in printed
    assert time.monotonic() - began < 60
    assert wait_for(lambda: not [one for one in slurm.jobs() if "dask" in one], seconds=20), "it leaves with the program"


def test_a_hub_that_starts_again_knows_the_job_and_a_silent_slurm_ends_nothing(hub_needs, tmp_path, monkeypatch):
    import asyncio

    from hub_config.slurm import SlurmJob

    running = SlurmJob()
    running.job = "4711"
    again = SlurmJob()
    again.load_state(running.get_state())
    assert again.job == "4711"
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert asyncio.run(again.poll()) is None, "it may live on"
    again.clear_state()
    assert asyncio.run(again.poll()) == 0
    assert "job" not in again.get_state()
