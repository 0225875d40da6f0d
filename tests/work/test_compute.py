"""Compute: the items' order, errors in their place, workers that die."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from ailab_kernel.ground.errors import JobError, SettingsError, VolumeError
from ailab_kernel.work.compute import cluster, map_cases

from . import tasks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def closed():
    """Dask's worker processes belong to this module only and leave with it; cached clients would stay till the end."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    for compute in ("local", "local:2"):
        client = cluster(compute)
        client.close()
        client.cluster.close()
    # multiprocessing's resource tracker and fork server serve this process till its end and are no work of ours.
    left = [child for child in psutil.Process().children(recursive=True)
            if child.pid not in before and "tracker" not in " ".join(child.cmdline())]  # fmt: skip
    assert not left, [child.cmdline() for child in left]


@pytest.mark.parametrize("compute", ["local", pytest.param("local:2", marks=pytest.mark.slow)])
def test_results_come_in_the_items_order_and_as_they_are_finished(compute):
    told = []
    found = map_cases(tasks.square, list(range(9)), compute=compute, done=lambda place, value: told.append((place, value)))
    assert found == [n * n for n in range(9)]
    assert sorted(told) == list(enumerate(found))


def test_equal_items_are_each_done():
    assert map_cases(tasks.square, [4, 4, 4]) == [16, 16, 16]
    assert map_cases(tasks.square, []) == []


@pytest.mark.parametrize("compute", ["local", pytest.param("local:2", marks=pytest.mark.slow)])
def test_our_error_stays_in_its_place_and_the_rest_goes_on(compute):
    told = []
    found = map_cases(tasks.fussy, list(range(5)), compute=compute, done=lambda place, _: told.append(place))
    assert [one for one in found if not isinstance(one, VolumeError)] == [0, 1, 3, 4]
    assert isinstance(found[2], VolumeError)
    assert str(found[2]) == "series 1.2.2 has a gap"
    assert sorted(told) == [0, 1, 3, 4]


def test_any_other_error_is_named_without_its_values():
    with pytest.raises(JobError, match="a case failed with ValueError") as caught:
        map_cases(tasks.fussy, [0, 7, 1])
    assert "Mustermann" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    assert map_cases(tasks.square, [3]) == [9], "and the next call works"


def test_local_is_this_process():
    assert set(map_cases(tasks.where, [1, 2])) == {os.getpid()}


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_no_result(tmp_path):
    """local:2 with a kill -9 gives what local gives without one."""
    found = map_cases(partial(tasks.mortal, str(tmp_path)), list(range(8)), compute="local:2")
    assert (tmp_path / "died").exists()
    assert found == map_cases(partial(tasks.mortal, str(tmp_path)), list(range(8)))
    pids = set(map_cases(tasks.where, list(range(6)), compute="local:2"))
    assert os.getpid() not in pids
    assert len(pids) == 2, "the dead worker was replaced"


@pytest.mark.slow
def test_a_case_that_kills_each_worker_is_an_error_and_no_hang():
    with pytest.raises(JobError, match="killed its worker 4 times"):
        map_cases(tasks.poison, list(range(4)), compute="local:2")
    assert map_cases(tasks.square, [2, 3], compute="local:2") == [4, 9], "the cluster lives on"


@pytest.mark.parametrize("compute", ["local:0", "local:many", "local:-1", "local:9999", "local:", "localhost", "local2"])
def test_a_wrong_setting_is_named(compute):
    with pytest.raises(SettingsError, match=f"compute = {compute!r}: local, local:N .* is expected"):
        map_cases(tasks.square, [1], compute=compute)


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(SettingsError, match="no Dask scheduler answers there"):
        cluster("tcp://127.0.0.1:9")


@pytest.mark.parametrize("compute", ["local", pytest.param("local:2", marks=pytest.mark.slow)])
def test_no_port_is_open_to_the_network(compute):
    cluster(compute)
    own = psutil.Process()
    ports = [one.laddr.ip for process in (own, *own.children(recursive=True)) for one in process.net_connections()
             if one.status == psutil.CONN_LISTEN]  # fmt: skip
    assert set(ports) <= {"127.0.0.1"}


@pytest.mark.slow
def test_whoever_reaches_a_workers_port_on_this_host_cannot_run_code_in_it():
    address = cluster("local:2").scheduler_info()["address"]
    assert address.startswith("tls://127.0.0.1:")
    for stranger in (address, address.replace("tls://", "tcp://")):
        code = f"from distributed import Client; Client({stranger!r}, timeout='2s').submit(print, 'inside').result(2)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert "inside" not in done.stdout


def test_a_client_that_was_closed_is_opened_again():
    client = cluster("local")
    client.close()
    client.cluster.close()
    assert map_cases(tasks.square, [2]) == [4]


@pytest.mark.slow
def test_an_existing_scheduler_does_the_same():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1",
                      protocol="tcp") as own:  # fmt: skip
        assert map_cases(tasks.square, [3, 1], compute=own.scheduler_address) == [9, 1]
        cluster(own.scheduler_address).close()


@pytest.mark.slow
def test_a_program_that_ends_leaves_no_process_and_says_nothing():
    code = ("import sys; from ailab_kernel.work.compute import map_cases, cluster; from tests.work.tasks import square\n"
            "if __name__ == '__main__':\n"
            "    print(map_cases(square, [1, 2], compute='local:2'))\n"
            "    print(*cluster('local:2').run(__import__('os').getpid).values())")  # fmt: skip
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    results, pids = done.stdout.splitlines()
    assert results == "[1, 4]"
    assert not [pid for pid in map(int, pids.split()) if psutil.pid_exists(pid)]
