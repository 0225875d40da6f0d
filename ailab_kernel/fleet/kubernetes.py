"""Values for Kubernetes: the zero-to-jupyterhub chart (4.x) with the site's tiers, and the trusted process beside it.

Servers, proxy and hub reach the trusted process by https only, and trust the lab's own authority; every key and token
is in a Secret that is named here and written nowhere. Checked against the chart's schema; a pod of each tier is made by
the real KubeSpawner, and the tests run hub, proxy and trusted process as told here. Never run on a cluster by us.
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import WrongUse

from .guards import GUARDS
from .profiles import ROLES, Profile
from .site import Site

SERVICE, PORT = "ailab-service", 8600
GPU = "nvidia.com/gpu"
_HOME, _PROGRAM, _UID, _SERVICE_UID = "/lab", "/opt/ailab", 1000, 1001
_URL, _PATH = f"https://{SERVICE}:{PORT}", "/services/ailab"
_AUTHORITY, _TRUST = "ailab-authority", "/etc/ailab/authority"  # secret; where pods see its ca.crt
_CERTIFICATE, _SHOWN = "ailab-service-tls", "/etc/ailab/tls"  # secret; where the trusted process sees its tls.crt
_BESIDE = "/usr/local/etc/jupyterhub"  # of the chart's own configuration, which may import what lies there
_MODULES, _WITNESS = ("kube_tiers", "witness"), "witness"  # of this room, run by the hub's pod; its service
_CONFIG = """\
from ailab_modules import kube_tiers, witness

kube_tiers.configure(c, get_config)
witness.configure(c, get_config, get_secret_value)
"""
_ARGS = (f"--LabApp.app_settings_dir={_PROGRAM}/hub_config/labsettings", "--LabApp.extension_manager=readonly",
         "--MappingKernelManager.cull_busy=False", *GUARDS)  # fmt: skip
_CLOSED = {"nonPrivateIPs": False, "cloudMetadataServer": False}
_TELLS = """\
# Untested on a cluster: checked against the chart's schema, and run as programs of one machine. For the chart
# jupyterhub of zero-to-jupyterhub 4.x:
#   helm upgrade --install ailab jupyterhub/jupyterhub --version 4 --values values.yaml
#   ailab hub render kubernetes-service --from answers.toml --host {host} | kubectl apply -f -
# What the site makes itself: the image; the provider's addresses below; secrets (docs/hub.md has the commands):
#   ailab-login (client-id, client-secret); ailab-tls (tls.crt and tls.key of the hub's name, and ca.crt, the lab's
#   authority, for the proxy); ailab-authority (ca.crt, nothing else: every person's pod sees it).
# Groups that the provider names like the lab's roles are them: {roles}.
# Kubernetes holds the limits (cgroups) and lends the GPUs (device plugin); GPU kinds are told apart by the label
# nvidia.com/gpu.product. Idle servers end themselves after their tier's minutes, kernels at work keep them; programs
# outside of kernels do not. Nothing here reaches the internet: images come from the site's own registry.
"""
_SERVICE_TELLS = """\
# The trusted process: keys, pseudonyms, aliases, audit. Untested on a cluster. Apply it in the chart's namespace; it
# asks the hub with its callers' tokens. The archive's address goes into AILAB_ARCHIVE, its login into a secret.
# It speaks TLS only: secret ailab-service-tls (tls.crt, tls.key), for the names ailab-service and {host}, by the
# authority in secret ailab-authority (docs/hub.md has the commands). A new one is taken up when the pod starts again.
"""


def values(profiles: Sequence[Profile], site: Site) -> str:
    """Return the chart's values as YAML.

    Raises
    ------
    WrongUse
        The image has no tag.
    """
    return _TELLS.format(roles=", ".join(ROLES), host=site.host) + _yaml({
        "imagePullSecrets": [], "custom": {"ailab": {"tiers": {one.name: _open_to(one) for one in profiles},
                                                    "trusted": {"url": _URL + _PATH, "ca": f"{_TRUST}/ca.crt"}}},
        "hub": _hub(site), "proxy": _proxy(site), "singleuser": _singleuser(profiles, site),
        "cull": {"enabled": True, "users": False, "every": 300,
                 "timeout": round(max(one.idle_minutes for one in profiles) * 60),
                 "maxAge": round(max(one.max_hours for one in profiles) * 3600)},
        "scheduling": {"userScheduler": {"enabled": False, "plugins": {}, "pluginConfig": [], "logLevel": 4},
                       "userPlaceholder": {"enabled": False}},
        "prePuller": {"hook": {"enabled": False}, "continuous": {"enabled": False}},
        "ingress": {"enabled": False}, "debug": {"enabled": False}, "rbac": {"create": True}, "global": {},
    })  # fmt: skip


def _open_to(one: Profile) -> dict[str, Any]:
    return {"groups": list(one.groups), "shm": f"{max(1, round(one.shm_gb * 1024))}Mi"}


def _hub(site: Site) -> dict[str, Any]:
    keys = {"OAUTH_CLIENT_ID": "client-id", "OAUTH_CLIENT_SECRET": "client-secret"}
    secret = {name: {"name": name, "valueFrom": {"secretKeyRef": {"name": "ailab-login", "key": key}}}
              for name, key in keys.items()}  # fmt: skip
    return {
        "baseUrl": "/",
        "config": {
            "JupyterHub": {"authenticator_class": "generic-oauth", "cookie_max_age_days": 0.5,
                           "token_expires_in_max_seconds": 30 * 86400},
            "GenericOAuthenticator": {
                "oauth_callback_url": f"https://{site.host}/hub/oauth_callback",
                "authorize_url": "https://login.example/authorize", "token_url": "https://login.example/token",
                "userdata_url": "https://login.example/userinfo", "scope": ["openid", "groups"],
                "username_claim": "preferred_username", "manage_groups": True,
                "auth_state_groups_key": "oauth_user.groups", "allowed_groups": list(ROLES)},
            # A service with an address would be looked after by the hub, which cannot be told whom to trust for it.
            "ConfigurableHTTPProxy": {"extra_routes": {f"{_PATH}/": _URL}},
        },
        "extraEnv": secret,
        "allowNamedServers": False, "authenticatePrometheus": True,
        "loadRoles": _roles(), "services": {"ailab": {}, _WITNESS: {}},
        "extraFiles": _modules(), "extraConfig": {"ailab.py": _CONFIG}, **_trust(),
        "networkPolicy": {"enabled": True, "egressAllowRules": _CLOSED},
    }  # fmt: skip


def _modules() -> dict[str, Any]:
    """Modules of this room as files beside the chart's configuration: names of theirs cannot meet the site's there."""
    return {name.replace("_", "-"): {"mountPath": f"{_BESIDE}/ailab_modules/{name}.py",
                                     "stringData": Path(__file__).with_name(f"{name}.py").read_text()}
            for name in _MODULES}  # fmt: skip


def _trust() -> dict[str, list[dict[str, Any]]]:
    """The lab's authority as a file, from a secret that holds no key."""
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    return {"extraVolumes": [{"name": "authority", "secret": {"secretName": _AUTHORITY, "items": items}}],
            "extraVolumeMounts": [{"name": "authority", "mountPath": _TRUST, "readOnly": True}]}  # fmt: skip


def _roles() -> dict[str, Any]:
    """The hub's roles, as `hub_config.access` has them on one host."""
    service = "access:services!service=ailab"
    return {
        "user": {"scopes": ["self", service]},
        "server": {"scopes": ["users:activity!user", "access:servers!server", "read:users:groups!user", service]},
        "lab-admin": {"groups": ["admin"], "scopes": ["admin-ui", "admin:users", "admin:groups", "admin:servers"]},
        "witnessing": {"services": [_WITNESS], "scopes": [service]},
    }


def _proxy(site: Site) -> dict[str, Any]:
    return {
        "service": {"type": "LoadBalancer", "disableHttpPort": True},
        "https": {"enabled": True, "type": "secret", "hosts": [site.host],
                  "secret": {"name": "ailab-tls", "key": "tls.key", "crt": "tls.crt"}},
        # The chart lets a site mount no other file there; Node trusts this authority beside the public ones.
        "chp": {"extraEnv": {"NODE_EXTRA_CA_CERTS": "/etc/chp/tls/ca.crt"},
                "networkPolicy": {"enabled": True, "egressAllowRules": _CLOSED}},
    }  # fmt: skip


def _singleuser(profiles: Sequence[Profile], site: Site) -> dict[str, Any]:
    name, tag = image_of(site)
    trust = _trust()
    return {
        "image": {"name": name, "tag": tag, "pullPolicy": "IfNotPresent"},
        "cmd": ["jupyterhub-singleuser"], "defaultUrl": "/lab", "startTimeout": 900,
        "uid": _UID, "fsGid": _UID, "allowPrivilegeEscalation": False,
        "extraEnv": {"AILAB_HOME": f"{_HOME}/lab", "AILAB_ISOLATION": "uid", "JUPYTERHUB_ACTIVITY_INTERVAL": "60",
                     "AILAB_SERVICE": _URL + _PATH, "AILAB_SERVICE_CA": f"{_TRUST}/ca.crt",
                     "PYTHONSTARTUP": f"{_PROGRAM}/hub_config/kernel_start.py"},
        "storage": {"type": "dynamic", "homeMountPath": _HOME, "capacity": "20Gi",
                    "extraVolumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}, *trust["extraVolumes"]],
                    "extraVolumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, *trust["extraVolumeMounts"]]},
        "networkPolicy": {
            "enabled": True, "egressAllowRules": {**_CLOSED, "privateIPs": False, "dnsPortsCloudMetadataServer": False},
            "egress": [{"to": [{"podSelector": {"matchLabels": {"app": SERVICE}}}],
                        "ports": [{"protocol": "TCP", "port": PORT}]}]},
        "cloudMetadata": {"blockWithIptables": False, "ip": "169.254.169.254"},
        "profileList": [_profile(one, default=one is profiles[0]) for one in profiles],
    }  # fmt: skip


def _profile(one: Profile, *, default: bool) -> dict[str, Any]:
    """A tier as KubeSpawner's overrides: guaranteed is what it may use, so that neighbours never take it away."""
    idle = round(one.idle_minutes * 60)
    memory = f"{round(one.memory_gb * 1024)}M"  # KubeSpawner's M is 2**20 bytes
    override: dict[str, Any] = {
        "cpu_guarantee": one.cpus, "cpu_limit": one.cpus, "mem_guarantee": memory, "mem_limit": memory,
        "environment": {"AILAB_TIER": one.name, "OMP_NUM_THREADS": str(ceil(one.cpus))},
        "args": [*_ARGS, f"--MappingKernelManager.cull_idle_timeout={idle}",
                 f"--ServerApp.shutdown_no_activity_timeout={idle}"],
        "extra_pod_config": {"activeDeadlineSeconds": round(one.max_hours * 3600)},
    }  # fmt: skip
    if one.gpus:
        override["extra_resource_limits"] = {GPU: str(one.gpus)}
    else:
        override["environment"]["NVIDIA_VISIBLE_DEVICES"] = "void"
    if one.gpus and one.gpu_kind:
        override["node_selector"] = {f"{GPU}.product": one.gpu_kind}
    return {
        "display_name": one.name.capitalize(), "slug": one.name, "default": default,
        "description": f"{one.size}: {one.whom}; {one.max_hours:g} h at most; {one.price_per_hour:.2f} an hour",
        "kubespawner_override": override,
    }  # fmt: skip


def service(profiles: Sequence[Profile], site: Site) -> str:
    """Return the trusted process as manifests of its own: deployment, service, disk, and who may speak to it."""
    labels = {"app": SERVICE}
    image_of(site)
    parts = (_deployment(site, labels), _service(labels), _claim(labels), _policy(labels))
    return _SERVICE_TELLS.format(host=site.host) + "---\n".join(_yaml(one) for one in parts)


def _deployment(site: Site, labels: dict[str, str]) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": "hub", "key": "hub.services.ailab.apiToken"}}
    env = [
        {"name": "AILAB_HOME", "value": "/var/lib/ailab"},
        {"name": "JUPYTERHUB_API_URL", "value": "http://hub:8081/hub/api"},
        {"name": "JUPYTERHUB_API_TOKEN", "valueFrom": token}, {"name": "JUPYTERHUB_SERVICE_NAME", "value": "ailab"},
        {"name": "JUPYTERHUB_OAUTH_ACCESS_SCOPES", "value": '["access:services!service=ailab"]'},
        {"name": "JUPYTERHUB_SERVICE_URL", "value": f"https://0.0.0.0:{PORT}"},
        {"name": "JUPYTERHUB_SERVICE_PREFIX", "value": f"{_PATH}/"},
        {"name": "AILAB_ARCHIVE", "value": "folder:archive"},
        {"name": "AILAB_SERVICE_CERT", "value": f"{_SHOWN}/tls.crt"},
        # No file: Kubernetes lets the pod's group read a secret's files, which the trusted process refuses for a key.
        {"name": "AILAB_SERVICE_KEY", "value": "env:SERVICE_TLS_KEY"},
        {"name": "SERVICE_TLS_KEY", "valueFrom": {"secretKeyRef": {"name": _CERTIFICATE, "key": "tls.key"}}},
    ]  # fmt: skip
    container = {
        "name": "service", "image": site.image, "command": ["python", "-m", "ailab_kernel.service"], "env": env,
        "ports": [{"containerPort": PORT}],
        "volumeMounts": [{"name": "lab", "mountPath": "/var/lib/ailab"},
                         {"name": "certificate", "mountPath": _SHOWN, "readOnly": True}],
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    pod = {
        "automountServiceAccountToken": False, "containers": [container],
        "securityContext": {"runAsUser": _SERVICE_UID, "runAsNonRoot": True, "fsGroup": _SERVICE_UID},
        "volumes": [{"name": "lab", "persistentVolumeClaim": {"claimName": SERVICE}},
                    {"name": "certificate", "secret": {"secretName": _CERTIFICATE,
                                                       "items": [{"key": "tls.crt", "path": "tls.crt"}]}}],
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": SERVICE, "labels": labels},
        "spec": {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels | {"hub.jupyter.org/network-access-hub": "true"}},
                              "spec": pod}},
    }  # fmt: skip


def _service(labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
            "spec": {"selector": dict(labels), "ports": [{"port": PORT, "targetPort": PORT}]}}  # fmt: skip


def _claim(labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": SERVICE, "labels": dict(labels)},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "200Gi"}}}}  # fmt: skip


def _policy(labels: dict[str, str]) -> dict[str, Any]:
    """Only the chart's proxy, people's servers and the hub, for the logins it saw, speak to it."""
    callers = [{"podSelector": {"matchLabels": {"component": one}}} for one in ("proxy", "singleuser-server", "hub")]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": SERVICE},
            "spec": {"podSelector": {"matchLabels": dict(labels)}, "policyTypes": ["Ingress"],
                     "ingress": [{"from": callers, "ports": [{"protocol": "TCP", "port": PORT}]}]}}  # fmt: skip


def image_of(site: Site) -> tuple[str, str]:
    """Return name and tag of the site's image."""
    name, _, tag = site.image.rpartition(":")
    if not name or "/" in tag or not tag:
        msg = f"image {site.image[:80]!r}: NAME:TAG is expected, such as registry.example/ailab:1"
        raise WrongUse(msg)
    return name, tag


def _yaml(told: dict[str, Any]) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        pass

    Plain.ignore_aliases = lambda *_: True  # the same list twice is written twice
    Plain.add_representer(str, lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))  # fmt: skip
    return yaml.dump(told, Dumper=Plain, sort_keys=False, width=120, allow_unicode=True)
