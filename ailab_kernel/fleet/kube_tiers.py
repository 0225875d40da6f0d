"""What the hub's pod runs to keep tiers to those who may have them; `fleet.kubernetes` writes it into the values.

The chart runs it as a part of its own ``jupyterhub_config.py``: it imports nothing of AI-LAB, which that image lacks.
"""

from typing import Any

from tornado import web


def configure(c: Any, get_config: Any) -> None:
    """Offer a person the tiers of the own groups only, refuse any other, however it was asked for, and size /dev/shm.

    Parameters
    ----------
    c
        JupyterHub's configuration.
    get_config
        The chart's reader of values, by their dotted name.
    """
    every = get_config("singleuser.profileList")
    tiers = get_config("custom.ailab.tiers")  # slug: {groups: [...], shm: 1Gi}

    def _mine(spawner: Any) -> list[dict[str, Any]]:
        groups = {group.name for group in spawner.user.groups}
        found = [dict(one) for one in every if groups & set(tiers[one["slug"]]["groups"])]
        return [one | {"default": number == 0} for number, one in enumerate(found)]

    def _check(spawner: Any) -> None:
        allowed = [one["slug"] for one in _mine(spawner)]
        wanted = (spawner.user_options or {}).get("profile") or (allowed[0] if allowed else "")
        if wanted not in allowed:
            listed = ", ".join(allowed) or "none: ask the hub's admin for a role"
            refused: Any = web.HTTPError(403, "a tier was asked for that is not open")
            refused.jupyterhub_message = f"This tier is not open to your groups. Open to you: {listed}."
            raise refused
        spawner.user_options = {"profile": wanted}

    def _shape(spawner: Any, pod: Any) -> Any:
        for volume in pod.spec.volumes or []:
            if volume.name == "shm":
                size = tiers[spawner.user_options["profile"]]["shm"]
                volume.empty_dir = {"medium": "Memory", "sizeLimit": size}
        return pod

    c.KubeSpawner.profile_list = _mine
    c.KubeSpawner.pre_spawn_hook = _check
    c.KubeSpawner.modify_pod_hook = _shape
