"""``ailab hub``: start the hub, invite people, check that a person gets through, write its files."""

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ailab_kernel.ground.errors import AilabError, MissingExtra, NotFound, WrongUse
from ailab_kernel.ground.progress import say

from .show import AsJson, line, lines, show

if TYPE_CHECKING:
    from ailab_kernel.fleet.checking import Plan

app = typer.Typer(help="JupyterHub with the lab's tiers. Example: ailab hub start", no_args_is_help=True)
_CONFIG = Path(__file__).parents[2] / "hub_config" / "jupyterhub_config.py"
_URL, _START_S = "http://127.0.0.1:8000", 60.0
_IMAGE = "registry.example/ailab:1"
Answers = Annotated[Path, typer.Option("--from", help="TOML file with the site's answers (see ailab size).")]
Url = Annotated[str, typer.Option(help="Address of the hub; AILAB_HUB_URL sets the default.", envvar="AILAB_HUB_URL")]


@app.command()
def start(url: Url = _URL, as_json: AsJson = False) -> None:
    """Start the hub, say where it is, and stay until Ctrl-C. Example: ailab hub start."""
    if not _CONFIG.is_file():
        msg = "the hub's configuration is not here: it comes with a checkout of AI-LAB, not with the wheel"
        raise NotFound(msg)
    if _answers(url):
        msg = f"a hub answers at {url} already; stop that one, or give another address with --url"
        raise AilabError(msg)
    private, home = _private(), _private().parents[1]
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = private / "hub.log"
    began = time.monotonic()
    command = [sys.executable, "-m", "jupyterhub", "-f", str(_CONFIG)]
    with log.open("ab") as file:
        hub = subprocess.Popen(command, stdout=file, stderr=file, cwd=private,
                               env=os.environ | {"AILAB_HUB_URL": url, "AILAB_HOME": str(home)},
                                start_new_session=True)  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        _wait(hub, url, log)
        show({"url": url, "log": str(log), "seconds": round(time.monotonic() - began, 1), "login": _login(private)},
             as_json=as_json, table=lambda: _tell(url, private, time.monotonic() - began))  # fmt: skip
        sys.stdout.flush()
        hub.wait()
        msg = f"the hub ended by itself (status {hub.returncode}); {log} says why"
        raise AilabError(msg)
    except KeyboardInterrupt:
        line("the hub stops, and people's servers with it; files are as they were saved")
    finally:
        hub.terminate()
        hub.wait()


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help="Account name: a-z, 0-9, '.', '_' and '-'.")],
    role: Annotated[str, typer.Option(help="admin, data-scientist, radiologist, auditor or student.")],
    as_json: AsJson = False,
) -> None:
    """Make an account, or a new first password; it counts for 7 days. Example: ailab hub invite anna --role student."""
    from ailab_kernel.fleet.invitations import invite as invited

    _local_accounts()
    made = invited(_private() / "invitations", name, role=role)
    show(asdict(made), as_json=as_json, table=lambda: line(
        f"{made.name} may log in as {made.role} with the first password {made.password}\n"
        "and should change it at /hub/change-password; it is shown here only"))  # fmt: skip


@app.command()
def check(url: Url = _URL, as_json: AsJson = False) -> None:
    """Walk through every tier of the running hub with a temporary account. Example: ailab hub check."""
    from ailab_kernel.fleet.checking import check as walked

    _local_accounts()
    if not _answers(url):
        msg = f"no hub answers at {url}; run: ailab hub start"
        raise NotFound(msg)
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())  # so that the account is removed then too
    tell = say if as_json else line
    done = walked(_walk(url), did=lambda step: tell(f"  {step.seconds:6.2f} s  {step.did}"))
    show(asdict(done), as_json=as_json,
         table=lambda: lines([f"   skipped  tier {one.tier}: {one.why}" for one in done.skipped]))  # fmt: skip


def _walk(url: str) -> "Plan":
    """What is checked: this hub's tiers, on this machine where its servers run here."""
    from ailab_kernel.fleet.checking import HEALTH, Plan
    from ailab_kernel.fleet.profiles import read_profiles

    tiers = _private() / "tiers.yaml"
    if not tiers.is_file():
        msg = "no hub was started for this lab (AILAB_HOME); run: ailab hub start"
        raise NotFound(msg)
    here = os.environ.get("AILAB_DEPLOYMENT", "local") in {"local", "systemd"}
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3 if here else 0.0
    return Plan(url=url, private=_private(), profiles=read_profiles(tiers.read_text()), memory_gb=memory_gb,
                notebook=_CONFIG.parents[1] / "notebooks" / HEALTH)  # fmt: skip


@app.command()
def render(
    kind: Annotated[str, typer.Argument(help="tiers, systemd, docker, slurm, kubernetes or kubernetes-service.")],
    source: Answers,
    *,
    image: Annotated[str, typer.Option(help="Container image as NAME:TAG.", envvar="AILAB_HUB_IMAGE")] = _IMAGE,
    host: Annotated[str, typer.Option(help="Name under which people reach the hub.")] = "ailab.example",
    gpu_kind: Annotated[str, typer.Option(help="Kind of GPU, as the cluster calls it; empty takes any.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print one of the hub's files as a site's answers ask for. Example: ailab hub render tiers --from answers.toml."""
    from ailab_kernel.fleet.rendering import render as rendered
    from ailab_kernel.fleet.site import Site
    from ailab_kernel.fleet.sizing import answers_of

    from .size import read

    text = rendered(kind, answers_of(read(source)), site=Site(image=image, host=host, gpu_kind=gpu_kind))
    show({"kind": kind, "text": text}, as_json=as_json, table=lambda: line(text.rstrip("\n")))


def _local_accounts() -> None:
    way = os.environ.get("AILAB_HUB_LOGIN", "native")
    if way != "native":
        msg = f"AILAB_HUB_LOGIN={way}: people log in at the provider, and the hub has no accounts that begin here"
        raise WrongUse(msg)


def _private() -> Path:
    return Path(os.environ.get("AILAB_HOME", "lab")).resolve() / "hub" / "private"


def _answers(url: str) -> bool:
    try:
        trust = ssl.create_default_context(cafile=os.environ.get("AILAB_HUB_TLS_CA") or None)
        with urllib.request.urlopen(f"{url}/hub/health", timeout=2, context=trust) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _wait(hub: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until = time.monotonic() + _START_S
    while not _answers(url):
        if hub.poll() is not None or time.monotonic() > until:
            told = log.read_text(errors="replace")
            if "No module named 'nativeauthenticator'" in told or "No module named jupyterhub" in told:
                msg = "the hub's libraries are not installed: pip install 'ailab-kernel[hub]'"
                raise MissingExtra(msg)
            last = (told.strip().splitlines() or ["nothing was said"])[-1][:200]
            msg = f"the hub did not start: {last}; {log} says more"
            raise AilabError(msg)
        time.sleep(0.1)


def _login(private: Path) -> str:
    path = private / "first-login.txt"
    return path.read_text() if path.is_file() else ""


def _tell(url: str, private: Path, seconds: float) -> None:
    line(f"AI-LAB hub: {url} (answered after {seconds:.1f} s; log {private / 'hub.log'})")
    told = _login(private)
    if told:
        line("first login, also in first-login.txt beside the log; change the password at /hub/change-password:")
        line("  " + told.strip().replace("\n", "\n  "))
    line("people are invited with: ailab hub invite NAME --role student")


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt("asked to end")
