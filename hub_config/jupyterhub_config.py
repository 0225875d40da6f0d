"""JupyterHub's configuration: one deployment, its tiers, its logins. Loopback unless told; no call leaves here."""

import os
import sys
from pathlib import Path

from traitlets.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ailab_kernel.fleet.guards import GUARDS
from ailab_kernel.fleet.invitations import NAME
from hub_config import access, logins, proxy, spawner
from hub_config.house import HERE, open_house

c = get_config()  # noqa: F821 - JupyterHub runs this file
house = open_house()

c.merge(Config(proxy.settings(house)))
c.JupyterHub.db_url = f"sqlite:///{house.private / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(house.private / "cookie_secret")
c.JupyterHub.cookie_max_age_days = 0.5
c.JupyterHub.token_expires_in_max_seconds = 30 * 86400
c.JupyterHub.cookie_host_prefix_enabled = house.url.startswith("https:")
c.JupyterHub.tornado_settings = {"cookie_options": {"samesite": "Lax", "expires_days": 0.5}, "slow_spawn_timeout": 3}
c.JupyterHub.template_vars = {"announcement_login": house.plain_words()}

c.merge(Config(logins.settings(house)))
c.Authenticator.username_pattern = rf"{NAME}\Z"
c.JupyterHub.load_roles = access.roles(house)
c.JupyterHub.services = access.services(house)

c.JupyterHub.spawner_class = spawner.lab_spawner(house)
c.Spawner.apply_user_options = spawner.apply_tier
c.Spawner.start_timeout = spawner.START_TIMEOUT_S
c.Spawner.http_timeout = 60
c.Spawner.args = [f"--LabApp.app_settings_dir={HERE / 'labsettings'}", "--LabApp.extension_manager=readonly",
                  "--ServerApp.allow_unauthenticated_access=False", *GUARDS]  # fmt: skip
if os.geteuid() == 0 and "uid" not in house.isolation:
    c.Spawner.args.append("--allow-root")
c.merge({house.deployment["spawner"].rpartition(".")[2]: house.deployment["settings"]})
