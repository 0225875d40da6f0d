"""A server that ends while it starts is told at once, in plain words."""

import time

import pytest

from hub_config.startup import ended


@pytest.mark.parametrize(("status", "written", "says"), [
    (1, "OSError: [Errno 28] No space left on device", "the disk is full"),
    (-9, "", "ended from outside (signal 9)"),
    (137, "", "ended from outside (signal 9)"),
    (1, "room: out of memory: 1.4 of 1.2 GB used; the server was ended.", "not enough memory"),
    (1, "Exception while loading config file /x/.jupyter/jupyter_server_config.py", "your own Jupyter configuration"),
    (1, "ModuleNotFoundError: No module named 'jupyterlab'", "missing or broken"),
    (1, "PermissionError: [Errno 13] Permission denied: '/x'", "may not read or write"),
    (4, "<script>", "gave no reason that is known (status 4)"),
])  # fmt: skip
def test_the_reason_is_found(status, written, says, tmp_path):
    log = tmp_path / "log"
    log.write_text("x" * 10_000 + "\n" + written)
    error = ended(status, log)
    assert says in error.jupyterhub_message
    assert "script" not in error.jupyterhub_message
    assert "\n" not in error.log_message


@pytest.mark.slow
def test_a_server_that_ends_while_it_starts_is_told_within_seconds(hub):
    sara = hub.person("sara", "student")
    sara.choose("pilot")
    sara.wait()
    sara.run("import os, pathlib; p = pathlib.Path.home() / '.jupyter'; p.mkdir(exist_ok=True); "
             "(p / 'jupyter_server_config.py').write_text('import os; os._exit(3)')", kernel=sara.kernel())
    sara.leave()
    began = time.monotonic()
    answer = sara.api("POST", "/users/sara/server", body={"tier": "pilot"})
    heard = sara.told(until="ended while it started") if answer.ok else answer.text
    assert "gave no reason that is known (status 3)" in heard, heard
    assert time.monotonic() - began < 8                        # Python itself takes two of them on a busy machine
    assert "ended while it started" in sara._get("/hub/spawn-pending/sara").text
    assert not sara.server()
