"""Local accounts: names and bcrypt hashes in the hub's database, begun by an invitation (`fleet.invitations`)."""

from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LoginHandler
from jupyterhub.utils import maybe_future
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from tornado import web

from ailab_kernel.fleet.invitations import accept, invite
from ailab_kernel.fleet.profiles import ROLES
from hub_config.house import HERE, House

FIRST_LOGIN = "first-login.txt"
SHORTEST = 12  # characters of a password that somebody chooses
BLOCKED_S = 300  # after five wrong passwords; NativeAuthenticator's own default is 0, not the 600 that it says
_BCRYPT_BYTES = 72  # bcrypt reads no more; its library refuses longer ones with an error
RULE = f"At least {SHORTEST} characters, at most {_BCRYPT_BYTES} bytes, and no common one."


def settings(house: House) -> dict[str, dict[str, Any]]:
    """Return JupyterHub's settings; see `hub_config.logins.settings`."""
    first_login(house)
    Accounts.house = house
    return {
        "JupyterHub": {
            "authenticator_class": Accounts,
            "template_paths": [str(HERE / "pages")],
            "load_groups": {role: {"users": []} for role in ROLES},
        },
        "Authenticator": {"allow_all": True},  # of those with an account, which begins with an invitation
        "NativeAuthenticator": {
            "enable_signup": False, "check_common_password": True, "minimum_password_length": SHORTEST,
            "allowed_failed_logins": 5, "seconds_before_next_try": BLOCKED_S,
        },
    }  # fmt: skip


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
        name, password = self.normalize_username(data.get("username", "")), data.get("password", "")
        if len(password.encode()) > _BCRYPT_BYTES:
            return None
        found = accept(self.house.private / "invitations", name, password)
        if found:
            self._take_in(name, *found)
        return await maybe_future(super().authenticate(handler, {"username": name, "password": password}))

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The hub's own login page and our change of a password, instead of NativeAuthenticator's pages.

        Its login (1.3) does not run on JupyterHub 6; its other pages sign people up (with a script from another
        machine), authorize them by a plain link, and let an admin set a password and so enter as somebody else.
        Invitations stand in for those.
        """
        return [("/login", LoginHandler), ("/change-password", PasswordPage)]

    def change(self, name: str, old: str, new: str, *, again: str) -> str:
        """Change a password and return nothing, or return in plain words why not."""
        if self.is_blocked(name):
            return f"Too many wrong passwords. Try again in {self.seconds_before_next_try // 60} minutes."
        if len(old.encode()) > _BCRYPT_BYTES or not self.get_user(name).is_valid_password(old):
            self.add_login_attempt(name)
            return "The old password is not right. Nothing was changed."
        self.successful_login(name)
        if new != again:
            return "The two new passwords differ. Nothing was changed."
        if len(new.encode()) > _BCRYPT_BYTES or "\0" in new or not self.change_password(name, new):
            return f"The new password cannot be taken. {RULE}"
        return ""

    def add_user(self, user: Any) -> Any:
        """Put somebody who was just taken in into the group of the role."""
        done = super().add_user(user)
        self._join(user.name)
        return done

    def _take_in(self, name: str, role: str, hashed: bytes) -> None:
        info = UserInfo.find(self.db, name) or UserInfo(username=name)
        info.password, info.is_authorized = hashed, True
        self.db.add(info)
        self.successful_login(name)
        if user := orm.User.find(self.db, name):
            user.cookie_id = orm.new_token()  # a new password ends the sessions of the old one
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


class PasswordPage(BaseHandler):
    """Where somebody changes the own password; every other session of theirs ends with it."""

    @web.authenticated
    async def get(self) -> None:
        """Show the form."""
        await self._show()

    @web.authenticated
    async def post(self) -> None:
        """Change it, and say what came of it."""
        old, new, again = (self.get_body_argument(name, "", strip=False)
                           for name in ("old_password", "new_password", "new_password_confirmation"))  # fmt: skip
        user = self.current_user
        refused = self.authenticator.change(user.name, old, new, again=again)
        if not refused:
            user.orm_user.cookie_id = orm.new_token()
            self.db.commit()
            self.set_login_cookie(user)
        await self._show(said=refused or "Your password was changed.", done=not refused)

    async def _show(self, **said: Any) -> None:
        self.finish(await self.render_template("change-password.html", user=self.current_user, rule=RULE, **said))
