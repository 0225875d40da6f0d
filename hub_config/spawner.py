"""The spawner: a tier is chosen, checked, prepared, lent its devices, started in its room, and told about all along.

`lab_spawner` puts `Tiered` in front of whatever spawner a deployment names; `local_room` has the one for a single host.
"""

import asyncio
import html
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime
from math import ceil
from typing import Any

from jupyterhub.spawner import Spawner
from tornado import web
from traitlets.utils.importstring import import_item

from ailab_kernel.fleet.gpus import visible
from ailab_kernel.fleet.profiles import ROLES, Profile, allowed, choose
from ailab_kernel.ground.activity import told
from ailab_kernel.ground.errors import WrongUse
from hub_config.house import HERE, House

START_TIMEOUT_S = 900  # a queue for a GPU counts in it


def lab_spawner(house: House) -> type[Spawner]:
    """Return the spawner class of a deployment."""
    base = import_item(house.deployment["spawner"])

    class LabSpawner(Tiered, base):
        pass

    LabSpawner.house = house
    return LabSpawner


def apply_tier(spawner: Any, options: dict[str, Any]) -> None:
    """Check what was asked for, however it came, and set the spawner's limits; HTTP 403 where it is not allowed."""
    house = spawner.house
    try:
        profile = choose(house.profiles, spawner.roles, name=str(options.get("tier") or ""))
        house.leases.check(profile.gpus, profile.gpu_kind)
    except WrongUse as error:
        refused = web.HTTPError(403, str(error))
        refused.jupyterhub_message = str(error)
        raise refused from None
    options.clear()
    options["tier"] = profile.name
    spawner.profile = profile
    spawner.mem_limit, spawner.cpu_limit = f"{profile.memory_gb}G", profile.cpus


class Tiered:
    """What every deployment's spawner does beside starting a process; stands in front of a `Spawner`."""

    house: House
    profile: Profile | None = None
    granted_at: float | None = None
    starting = False
    waits_for = ""  # what a cluster's scheduler lets the server wait for, in words

    @property
    def roles(self) -> list[str]:
        """The person's roles, the most powerful first."""
        mine = {group.name for group in self.user.groups}
        return [role for role in ROLES if role in mine]

    @property
    def lessee(self) -> str:
        """The name under which devices are lent."""
        return f"{self.user.name}/{self.name}"

    async def get_options_form(self) -> str:
        """Return the choice of tiers, with the person's latest notices above it."""
        return form(self.house, self.user.name, self.roles)

    def run_options_from_form(self, form_data: dict[str, list[str]]) -> dict[str, str]:
        """Take the tier out of a posted form; `apply_tier` judges it."""
        return {"tier": (form_data.get("tier") or [""])[0]}

    options_from_query = run_options_from_form

    async def start(self) -> Any:
        """Wait for devices where the tier has some, then start."""
        self.starting, self.granted_at, begun = True, None, False
        try:
            await self._wait_for_devices()
            self.granted_at = time.monotonic()
            place = await super().start()
            begun = True
        finally:
            self.starting = False
            if not begun:
                self.house.leases.release(self.lessee)
        return place

    async def _wait_for_devices(self) -> None:
        leases, profile = self.house.leases, self.profile
        if not profile.gpus:
            return
        leases.ask(self.lessee, profile.gpus, profile.gpu_kind)
        until = time.monotonic() + START_TIMEOUT_S - 60
        while leases.place(self.lessee):
            if time.monotonic() > until:
                late = web.HTTPError(503, "no GPU came free in time")
                late.jupyterhub_message = "No GPU came free in time. Choose a tier without, or try again later."
                raise late
            await asyncio.sleep(0.2)

    def get_env(self) -> dict[str, str]:
        """Return the server's environment: tier, devices, where to beat."""
        house, name, profile = self.house, self.user.name, self.profile
        devices = visible(house.leases.held(self.lessee))
        env = super().get_env() | {
            "AILAB_TIER": profile.name, "AILAB_ISOLATION": house.isolation, "CUDA_VISIBLE_DEVICES": devices,
            "OMP_NUM_THREADS": str(ceil(profile.cpus)),
            "JUPYTERHUB_ACTIVITY_INTERVAL": str(max(1, round(house.beat_s / 2))),
        }  # fmt: skip
        if house.has_service:
            env["AILAB_SERVICE"] = house.service_url
            if house.service_url.startswith("https:") and os.environ.get("AILAB_HUB_TLS_CA"):
                env["AILAB_SERVICE_CA"] = os.environ["AILAB_HUB_TLS_CA"]
        if house.deployment["rooms"]:
            paths = {"AILAB_ACTIVITY": house.activity(name), "AILAB_NOTICES": house.notices(name),
                     "AILAB_HOME": house.room(name) / "lab", "PYTHONSTARTUP": HERE / "kernel_start.py"}  # fmt: skip
            env |= {variable: str(path) for variable, path in paths.items()}
        return env

    def get_state(self) -> dict[str, Any]:
        """Keep what is lent, so that a hub that starts again does not lend it twice, and the tier."""
        tier = self.profile.name if self.profile else ""
        return super().get_state() | {"gpus": list(self.house.leases.held(self.lessee)), "tier": tier}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the tier and what was lent before the hub started again."""
        super().load_state(state)
        self.profile = next((one for one in self.house.profiles if one.name == state.get("tier")), self.profile)
        if state.get("gpus"):
            self.house.leases.restore(self.lessee, state["gpus"])

    def clear_state(self) -> None:
        """Give devices back when the server is over; a poll while it starts, or waits in the queue, changes nothing."""
        super().clear_state()
        if not self.starting:
            self.house.leases.release(self.lessee)

    async def stop(self, now: bool = False) -> None:
        """Stop the server, whatever became of it, and give its devices back."""
        await super().stop(now=now)
        self.house.leases.release(self.lessee)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Say in plain words what happens, how long it usually takes, and when it takes longer."""
        usual, said = float(self.house.deployment["usual_s"]), ""
        while True:
            share, text = self._stage(usual)
            event = {"progress": share}
            if text != said:
                said = event["message"] = text
            yield event
            await asyncio.sleep(0.4)

    def _stage(self, usual: float) -> tuple[int, str]:
        place = self.house.leases.place(self.lessee)
        if place:
            return 5, f"Every GPU is lent. You are number {place} in the queue; your server starts when one is free."
        if self.waits_for:
            return 5, self.waits_for
        if self.granted_at is None:
            return 5, f"Your room is being prepared: {self.profile.size}."
        elapsed = time.monotonic() - self.granted_at
        if elapsed > 2 * usual:
            return 95, f"JupyterLab takes longer than usual; more than {2 * usual:.0f} s have passed. Please wait."
        share = min(95, round(10 + 85 * elapsed / usual))
        return share, f"JupyterLab is starting; usually it is ready in {usual:.0f} s."


def form(house: House, name: str, roles: list[str]) -> str:
    """Return the choice of tiers as HTML."""
    notes = "".join(
        f'<li>{datetime.fromtimestamp(one.at).astimezone():%d %b %H:%M} &nbsp; {html.escape(one.text)}</li>'
        for one in reversed(told(house.notices(name))))  # fmt: skip
    parts = [f'<div class="alert alert-warning" id="notices"><ul class="mb-0">{notes}</ul></div>'] if notes else []
    mine = allowed(house.profiles, roles)
    if not mine:
        none = "No tier is open to you: none of your groups has a role here. Ask the hub's admin, then log in again."
        parts.append(f'<div class="alert alert-danger">{none}</div>')
    there = house.leases.most
    parts += [_card(one, first=one is mine[0], there=there) for one in mine]
    limits = import_item(house.deployment["limits"])() if "limits" in house.deployment else ""
    parts.append(f'<p class="text-muted mt-3">{html.escape(house.plain_words())} {html.escape(limits)}</p>')
    return "\n".join(parts)


def _card(one: Profile, *, first: bool, there: int) -> str:
    lacking = one.gpus > there
    state = "disabled" if lacking else "checked" if first else ""
    note = f" This machine has {there or 'no'} GPU." if lacking else ""
    limits = (f"stops after {one.idle_minutes:g} min without use, {one.max_hours:g} h at most; "
              f"{one.price_per_hour:.2f} an hour.{note}")  # fmt: skip
    return (
        f'<label class="card mb-2 p-3 d-block {"text-muted" if lacking else ""}" for="tier-{one.name}">'
        f'<input type="radio" name="tier" id="tier-{one.name}" value="{one.name}" {state}> '
        f'<strong>{html.escape(one.name.capitalize())}</strong> &nbsp; {html.escape(one.size)}'
        f'<br><span>{html.escape(one.whom)}</span>'
        f'<br><small class="text-muted">{html.escape(limits)}</small></label>')  # fmt: skip
