"""What Helm, the chart and Kubernetes do with the rendered files, for processes of one machine: no cluster is there.

The hub, its proxy, the trusted process and the provider of logins run in a network and a file tree of their own, under
the names, at the ports and with the paths that the rendered files give them; nothing outside reaches them.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hub_config import proxy
from tests.hub import providers
from tests.services import need_root, need_service

ROOT = Path(__file__).parents[2]
HOST = "lab.hospital.example"
CONFIG = "/usr/local/etc/jupyterhub"
_HOSTS = f"127.0.0.1 localhost hub proxy-api ailab-service {HOST}\n"
_KEPT = ("ld.so.cache", "nsswitch.conf", "passwd", "group", "ssl", "localtime")       # what programs need of /etc
_TREES = ("etc", "srv", "usr/local/etc", "var/lib")
# 1 the folder; what follows is put over the machine's own tree: it ends when this shell does.
_UP = f"""
set -e
ip link set lo up
for tree in {' '.join(_TREES)}; do mount --bind "$1/$tree" "/$tree"; done
echo ready
cat > /dev/null
"""
_KUBECTL = """#!/bin/sh
set -e
[ "$1 $2 $3" = "create secret generic" ]
name=$4
shift 4
mkdir -p "secrets/$name"
for word; do told=${word#--from-file=}; cp "${told#*=}" "secrets/$name/${told%%=*}"; done
"""
_CHART = """
import os
import sys
from pathlib import Path

import yaml

place = Path(__file__).parent
sys.path.insert(0, str(place))
values = yaml.safe_load((place / "secret" / "values.yaml").read_text())


def get_config(name, default=None):
    found = values
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return default
        found = found[part]
    return found


def get_secret_value(name):
    return (place / "secret" / name).read_text()


c.JupyterHub.spawner_class = "simple"              # the chart's own, KubeSpawner, looks for a cluster
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.services = [{**one, "name": name, "api_token": get_secret_value(f"hub.services.{name}.apiToken")}
                         for name, one in get_config("hub.services").items()]
c.JupyterHub.load_roles = [{**one, "name": name} for name, one in get_config("hub.loadRoles").items()]
for name, told in get_config("hub.config").items():
    c[name].update(told)
for _, source in sorted(get_config("hub.extraConfig").items()):
    exec(source)
"""


def made_by_the_docs(folder: Path, given: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """The secrets that the commands of docs/hub.md make of the files ``given``, by name and key."""
    commands = re.search(r"```sh\n(openssl .*?)```", (ROOT / "docs" / "hub.md").read_text(), re.DOTALL).group(1)
    for name, data in given.items():
        (folder / name).write_bytes(data)
    (folder / "kubectl").write_text(_KUBECTL)
    (folder / "kubectl").chmod(0o755)
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True, capture_output=True,
                   env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "HOST": HOST})
    return {one.name: {file.name: file.read_bytes() for file in one.iterdir()} for one in (folder / "secrets").iterdir()}


def extra_files(values: dict, place: Path) -> None:
    """The hub's files beside its configuration, as the chart mounts them there."""
    for one in values["hub"]["extraFiles"].values():
        path = place / Path(one["mountPath"]).relative_to(CONFIG)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one["stringData"])


@dataclass
class Cluster:
    """A small cluster; `mount`, `environment` and `start` do the kubelet's work."""

    folder: Path
    pid: int
    secrets: dict[str, dict[str, bytes]]
    running: list[subprocess.Popen] = field(default_factory=list)

    def inside(self, *command: str) -> list[str]:
        """A command as it is run in there; nsenter passes no signal on, so the command is asked to end when it ends."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--wd=/", "--",
                "setpriv", "--pdeathsig", "TERM", "--", *command]

    def path(self, place: str) -> Path:
        """Where a file of the cluster's tree lies out here."""
        return self.folder / place.lstrip("/")

    def mount(self, volumes: list[dict], mounts: list[dict]) -> None:
        """Put the secrets among the volumes where the mounts say, each of which must be read-only."""
        for volume in volumes:
            if "secret" not in volume:
                continue
            (told,) = [one for one in mounts if one["name"] == volume["name"]]
            assert told["readOnly"] is True
            for item in volume["secret"]["items"]:
                file = self.path(f"{told['mountPath']}/{item['path']}")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self.secrets[volume["secret"]["secretName"]][item["key"]])

    def environment(self, env: list[dict] | dict[str, object]) -> dict[str, str]:
        """What a pod's programs are told, in either of the forms that there are, with its secrets."""
        listed = env if isinstance(env, list) else [
            {"name": name, **(one if isinstance(one, dict) else {"value": one})} for name, one in env.items()]
        found = {}
        for one in listed:
            asked = one.get("valueFrom", {}).get("secretKeyRef")
            found[one["name"]] = self.secrets[asked["name"]][asked["key"]].decode() if asked else one["value"]
        return found

    def start(self, name: str, *command: str, env: Mapping[str, str]) -> None:
        """Start a program in there; what it says goes to `log`."""
        with self.path(f"{name}.log").open("wb") as log:
            self.running.append(subprocess.Popen(self.inside(*command), env=_bare() | env, stdout=log, stderr=log))

    def log(self, name: str) -> str:
        return self.path(f"{name}.log").read_text()

    def wait(self, host: str, port: int, *, name: str) -> None:
        """Until somebody listens there; ``name`` is whose log says why nobody does."""
        knock = f"until (exec 3<>/dev/tcp/{host}/{port}) 2>/dev/null; do sleep 0.1; done"
        done = subprocess.run(["timeout", "90", *self.inside("bash", "-c", knock)], check=False)
        assert done.returncode == 0, self.log(name)

    def python(self, code: str, *words: str, **env: str) -> str:
        """What Python prints in there; an error of it is the test's."""
        done = subprocess.run(self.inside("sh", "-c", f'cd {ROOT} && exec "$@"', "sh", sys.executable, "-c", code, *words),
                              env=_bare() | env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end(self) -> None:
        for one in reversed(self.running):
            one.terminate()
        for one in self.running:
            one.wait(30)


def _bare() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AILAB_", "JUPYTERHUB_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@contextmanager
def cluster(made: dict[str, dict[str, bytes]]) -> Iterator[Cluster]:
    """An empty cluster with these secrets; all that runs in it ends with the block."""
    need_root("to lay the cluster's files over the machine's")
    need_service("unshare", "nsenter", "setpriv", "ip", package="util-linux iproute2")
    folder = Path(tempfile.mkdtemp(prefix="ailab-chart-"))
    for tree in _TREES:
        (folder / tree).mkdir(parents=True)
    for name in _KEPT:
        subprocess.run(["cp", "--archive", f"/etc/{name}", folder / "etc"], check=True)
    (folder / "etc" / "hosts").write_text(_HOSTS)
    outer = subprocess.Popen(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
                              "sh", "-c", _UP, "sh", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert outer.stdout.readline() == b"ready\n"
        pid = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
        found = Cluster(folder, pid, made)
        try:
            yield found
        finally:
            found.end()
    finally:
        outer.communicate(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def start_the_lab(here: Cluster, values: dict, parts: list[dict]) -> None:
    """Start the trusted process, the proxy and the hub, as the rendered files tell the chart and Kubernetes."""
    pod = parts[0]["spec"]["template"]["spec"]
    (box,) = pod["containers"]
    here.secrets["hub"] = {f"hub.services.{name}.apiToken": secrets.token_hex(32).encode()
                           for name in values["hub"]["services"]}                     # the chart makes them so
    here.mount(pod["volumes"], box["volumeMounts"])
    here.path("/var/lib/ailab").mkdir()
    here.start("service", *box["command"], env=here.environment(box["env"]))
    _front(here, values["proxy"])
    place = here.path(CONFIG)
    extra_files(values, place)
    (place / "jupyterhub_config.py").write_text(_CHART)
    (place / "secret").mkdir()
    (place / "secret" / "values.yaml").write_text(yaml.safe_dump(values))
    for name, data in here.secrets["hub"].items():
        (place / "secret" / name).write_bytes(data)
    here.mount(values["hub"]["extraVolumes"], values["hub"]["extraVolumeMounts"])
    here.path("/srv/jupyterhub").mkdir()
    here.wait("proxy-api", 8001, name="proxy")
    here.wait("ailab-service", 8600, name="service")
    here.start("hub", "sh", "-c", f"cd /srv/jupyterhub && exec jupyterhub --config {CONFIG}/jupyterhub_config.py",
               env=here.environment(values["hub"]["extraEnv"]) | {"CONFIGPROXY_AUTH_TOKEN": "of-the-proxy"})
    here.wait("hub", 8081, name="hub")


def _front(here: Cluster, told: dict) -> None:
    """The chart's proxy with the people's certificate, whose whole secret it mounts."""
    place = "/etc/chp/tls"
    secret = told["https"]["secret"]
    here.path(place).mkdir(parents=True)
    for key, data in here.secrets[secret["name"]].items():
        here.path(f"{place}/{key}").write_bytes(data)
    here.start("proxy", *proxy.command(), "--ip=127.0.0.1", "--port=443", "--api-ip=127.0.0.1", "--api-port=8001",
               f"--ssl-key={place}/{secret['key']}", f"--ssl-cert={place}/{secret['crt']}",
               "--default-target=http://hub:8081", "--error-target=http://hub:8081/hub/error",
               env=here.environment(told["chp"]["extraEnv"]) | {"CONFIGPROXY_AUTH_TOKEN": "of-the-proxy"})


@contextmanager
def provider(here: Cluster, folder: Path, people: dict[str, dict]) -> Iterator[providers.Provider]:
    """The login's provider in there."""
    with providers.oidc(folder, callback=f"https://{HOST}/hub/oauth_callback", within=here.inside()) as one:
        one.people(people)
        yield one
