"""A child process that runs what may go wrong: its end is told, and the next call has a new one."""

import ctypes
import os
import subprocess
import sys
import time

import pytest

from ailab_kernel.ground.errors import JobError, WrongUse
from ailab_kernel.work.child import Child, Limits

HERE = "tests.work.test_child"


def double(payload):
    sys.stdout.write("what a function prints goes nowhere")
    return {"twice": 2 * payload["number"], "pid": os.getpid()}


def refuse(payload):
    msg = f"{payload['number']} is wrong"
    raise WrongUse(msg)


def stumble(payload):
    return payload["Doe^John"]


def crash(payload):
    ctypes.string_at(0)


def swell(payload):
    held = []
    while True:
        held.append(bytearray(50 << 20))
        time.sleep(0.05)


def stay(payload):
    while True:
        pass


def test_calls_share_a_warm_process():
    with Child() as child:
        first = child.call(f"{HERE}:double", {"number": 4}, limits=Limits())
        second = child.call(f"{HERE}:double", {"number": 5}, limits=Limits())
    assert (first["twice"], second["twice"]) == (8, 10)
    assert first["pid"] == second["pid"] != os.getpid()


@pytest.mark.parametrize(("function", "said"), [
    ("refuse", "^4 is wrong$"), ("stumble", "^it ended with KeyError$"),
    ("crash", r"^its process died \(signal 11\)$"), ("swell", "more than 0.4 GB of memory"),
    ("stay", "more than 1 s"),
])  # fmt: skip
def test_what_goes_wrong_is_told_and_the_next_call_works(function, said):
    limits = Limits(seconds=1 if function == "stay" else 60, memory_bytes=400 << 20)
    with Child() as child:
        with pytest.raises(JobError, match=said):
            child.call(f"{HERE}:{function}", {"number": 4}, limits=limits)
        assert child.call(f"{HERE}:double", {"number": 1}, limits=Limits())["twice"] == 2


def test_a_child_dies_with_its_parent():
    code = (f"from ailab_kernel.work.child import Child, Limits\nchild = Child()\n"
            f"print(child.call('{HERE}:double', {{'number': 1}}, limits=Limits())['pid'], flush=True)\n"
            f"child.call('{HERE}:stay', {{}}, limits=Limits())")  # fmt: skip
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")
