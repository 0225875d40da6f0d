"""JupyterHub's configuration: one deployment, its tiers, local accounts. Loopback unless told; no call leaves here."""

import os
import sys
from pathlib import Path

import nativeauthenticator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ailab_kernel.fleet.invitations import NAME
from ailab_kernel.fleet.profiles import ROLES
from hub_config import access, accounts, proxy, spawner
from hub_config.house import HERE, open_house

c = get_config()  # noqa: F821 - JupyterHub runs this file
house = open_house()
accounts.first_login(house)
accounts.Accounts.house = house

c.JupyterHub.bind_url = house.url
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{house.port(1)}"
c.ConfigurableHTTPProxy.command = proxy.command()
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{house.port(2)}"
c.ConfigurableHTTPProxy.pid_file = str(house.private / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{house.private / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(house.private / "cookie_secret")
c.JupyterHub.cookie_max_age_days = 0.5
c.JupyterHub.token_expires_in_max_seconds = 30 * 86400
c.JupyterHub.cookie_host_prefix_enabled = house.url.startswith("https:")
c.JupyterHub.tornado_settings = {"cookie_options": {"samesite": "Lax", "expires_days": 0.5}, "slow_spawn_timeout": 3}
c.JupyterHub.template_paths = [str(Path(nativeauthenticator.__file__).parent / "templates")]
c.JupyterHub.template_vars = {"announcement_login": house.plain_words()}

c.JupyterHub.authenticator_class = accounts.Accounts
c.Authenticator.allow_all = True  # of those with an account, which begins with an invitation
c.Authenticator.username_pattern = f"{NAME}$"
c.NativeAuthenticator.enable_signup = False
c.NativeAuthenticator.check_common_password = True
c.NativeAuthenticator.minimum_password_length = 12
c.NativeAuthenticator.allowed_failed_logins = 5
c.JupyterHub.load_groups = {role: {"users": []} for role in ROLES}
c.JupyterHub.load_roles = access.roles(house)
c.JupyterHub.services = access.services(house)

c.JupyterHub.spawner_class = spawner.lab_spawner(house)
c.Spawner.apply_user_options = spawner.apply_tier
c.Spawner.start_timeout = spawner.START_TIMEOUT_S
c.Spawner.http_timeout = 60
c.Spawner.args = [f"--LabApp.app_settings_dir={HERE / 'labsettings'}", "--LabApp.extension_manager=readonly"]
if os.geteuid() == 0 and house.isolation == "none":
    c.Spawner.args.append("--allow-root")
c.merge({house.deployment["spawner"].rpartition(".")[2]: house.deployment["settings"]})
