"""How people log in: local accounts, an OIDC provider or an LDAP directory, chosen by ``AILAB_HUB_LOGIN``.

A provider says who somebody is and which groups they are in; a table of the lab (``AILAB_HUB_GROUPS``) says which role
each group gives. Roles follow the provider at every login: whoever left a group there has lost the role here. Who is in
none of the groups may log in, has no tier, and is told so.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ailab_kernel.fleet.profiles import ROLES
from ailab_kernel.ground.errors import SettingsError
from hub_config import accounts
from hub_config.house import House
from hub_config.references import file_of, needed


@dataclass(frozen=True)
class Groups:
    """Which of a provider's groups give which role of the lab.

    Attributes
    ----------
    of
        Role to the groups that give it, as the provider writes them (LDAP: distinguished names).
    """

    of: Mapping[str, tuple[str, ...]]

    @property
    def known(self) -> list[str]:
        """Every group that gives a role."""
        return sorted({group for groups in self.of.values() for group in groups})

    def roles(self, groups: Iterable[str]) -> list[str]:
        """Return the roles of somebody who is in these groups, the most powerful first; others are ignored."""
        mine = set(groups)
        return [role for role in ROLES if mine & set(self.of.get(role, ()))]


def settings(house: House) -> dict[str, dict[str, Any]]:
    """Return JupyterHub's settings for the way of ``AILAB_HUB_LOGIN``: class names to traits.

    Raises
    ------
    SettingsError
        An unknown way, a variable that is missing or wrong, or a provider that does not answer; the variable is named.
    """
    named = os.environ.get("AILAB_HUB_LOGIN", "native")
    if named not in WAYS:
        msg = f"AILAB_HUB_LOGIN = {named[:40]!r}: one of {', '.join(WAYS)} is expected"
        raise SettingsError(msg)
    found = WAYS[named](house)
    if house.has_service:
        from hub_config.witness import witnessed

        found["JupyterHub"]["authenticator_class"] = witnessed(found["JupyterHub"]["authenticator_class"], house)
    return found


def groups() -> Groups:
    """Read the table of groups, the YAML file that ``AILAB_HUB_GROUPS`` names."""
    needed("AILAB_HUB_GROUPS")
    return read_groups(Path(file_of("AILAB_HUB_GROUPS")).read_text())


def read_groups(text: str) -> Groups:
    """Read a table of groups: a mapping of each role to a list of the provider's groups.

    Raises
    ------
    SettingsError
        No YAML, no mapping, an unknown role, or something else than a list of texts.
    """
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"AILAB_HUB_GROUPS is no YAML: {str(error).splitlines()[0]}"
        raise SettingsError(msg) from None
    if not isinstance(told, dict) or not told:
        msg = "AILAB_HUB_GROUPS: a mapping of roles to groups is expected, such as 'radiologist: [radiology-staff]'"
        raise SettingsError(msg)
    for role, names in told.items():
        if role not in ROLES:
            msg = f"AILAB_HUB_GROUPS: role {str(role)[:40]!r}; one of {', '.join(ROLES)} is expected"
            raise SettingsError(msg)
        if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
            msg = f"AILAB_HUB_GROUPS, role {role}: a list of the provider's group names is expected"
            raise SettingsError(msg)
    return Groups({role: tuple(names) for role, names in told.items()})


def _oidc(house: House) -> dict[str, dict[str, Any]]:
    from hub_config import oidc

    return oidc.settings(house)


def _ldap(house: House) -> dict[str, dict[str, Any]]:
    from hub_config import ldap

    return ldap.settings(house)


WAYS: dict[str, Callable[[House], dict[str, dict[str, Any]]]] = {
    "native": accounts.settings,
    "oidc": _oidc,
    "ldap": _ldap,
}
