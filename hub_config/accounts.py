"""Local accounts: names and bcrypt hashes in the hub's database, begun by an invitation (`fleet.invitations`)."""

from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.login import LoginHandler
from jupyterhub.utils import maybe_future
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo

from ailab_kernel.fleet.invitations import accept, invite
from hub_config.house import House

FIRST_LOGIN = "first-login.txt"
_BCRYPT_BYTES = 72  # bcrypt reads no more; its library refuses longer ones with an error
_KEPT_PAGES = ("/change-password", "/change-password/([^/]+)")


def first_login(house: House) -> None:
    """At the first start, invite the admin; name and password lie in a file that only the hub's user can read."""
    if (house.private / "jupyterhub.sqlite").exists():
        return
    made = invite(house.private / "invitations", "admin", role="admin")
    path = house.private / FIRST_LOGIN
    path.touch(mode=0o600)
    path.write_text(f"name: {made.name}\npassword: {made.password}\n")


class Accounts(NativeAuthenticator):
    """NativeAuthenticator that takes invitations in at a first login and puts the person in the group of the role."""

    house: House

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Use up an invitation if there is one, then check name and password."""
        name = self.normalize_username(data["username"])
        if len(data["password"].encode()) > _BCRYPT_BYTES:
            return None
        found = accept(self.house.private / "invitations", name, data["password"])
        if found:
            self._take_in(name, *found)
        return await maybe_future(super().authenticate(handler, data))

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """Keep the hub's own login page and the change of a password.

        NativeAuthenticator 1.3's own login does not run on JupyterHub 6; its other pages sign people up (with a script
        from another machine) and authorize them by a plain link. Invitations stand in for those.
        """
        kept = [one for one in super().get_handlers(app) if one[0] in _KEPT_PAGES]
        return [("/login", LoginHandler), *kept]

    def add_user(self, user: Any) -> Any:
        """Put somebody who was just taken in into the group of the role."""
        done = super().add_user(user)
        self._join(user.name)
        return done

    def _take_in(self, name: str, role: str, hashed: bytes) -> None:
        info = UserInfo.find(self.db, name) or UserInfo(username=name)
        info.password, info.is_authorized = hashed, True
        self.db.add(info)
        self.db.commit()
        self.joining = {**getattr(self, "joining", {}), name: role}
        self._join(name)
        if name == "admin":
            (self.house.private / FIRST_LOGIN).unlink(missing_ok=True)

    def _join(self, name: str) -> None:
        """Add the group; a person who is not in the hub's database yet is met again in `add_user`."""
        role = getattr(self, "joining", {}).get(name)
        user = orm.User.find(self.db, name)
        if role is None or user is None:
            return
        group = orm.Group.find(self.db, role)
        if group not in user.groups:
            user.groups.append(group)
        self.db.commit()
        del self.joining[name]
