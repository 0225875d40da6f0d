"""Where files of several labs lie to be taken: a folder, or the same folder behind HTTP. What comes is bounded."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

from ailab_kernel.ground.errors import CatalogError, NotFound, SettingsError
from ailab_kernel.ground.store import atomic_write

from .index import said_key

if TYPE_CHECKING:
    from requests import Response, Session

LABS = "labs.json"
INDEX = "index.json"
INDEX_BYTES, LABS_BYTES = 4 << 20, 256 << 10
_CONNECT_S, _SILENCE_S, _LONGEST_S = 5.0, 30.0, 3600.0
_BLOCK = 1 << 18
_OPTIONS = ("token_env", "ca")


class Shelf(Protocol):
    """A place for what labs offer; nothing that comes from it is believed."""

    @property
    def url(self) -> str:
        """Where it is; safe to show."""

    def get(self, path: str, *, most: int) -> bytes:
        """Return a file of at most so many bytes; NotFound, or CatalogError where there are more."""

    def put(self, path: str, data: bytes) -> None:
        """Put a file there; an index only where it may be replaced."""

    def has(self, path: str) -> bool:
        """Whether a file is there."""


def object_path(digest: str) -> str:
    """Return where an object lies on a shelf."""
    return f"objects/{digest[:2]}/{digest[2:]}"


@dataclass(frozen=True)
class FolderShelf:
    """A shelf in a folder: on a share, on a stick, or what a web server serves."""

    folder: Path

    @property
    def url(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def get(self, path: str, *, most: int) -> bytes:
        """Return a file of at most so many bytes."""
        try:
            with (self.folder / path).open("rb") as file:
                data = file.read(most + 1)
        except OSError:
            raise _absent(path, self.url) from None
        if len(data) > most:
            raise _too_large(path, most)
        return data

    def put(self, path: str, data: bytes) -> None:
        """Put a file there, and bring the list of labs up to date when it is an index."""
        try:
            atomic_write(self.folder / path, data)
            if path.endswith(INDEX):
                found = [said_key(one.read_bytes()) for one in sorted(self.folder.glob(f"*/{INDEX}"))]
                listed = [{"lab": lab, "key": key} for lab, key in found if key]
                atomic_write(self.folder / LABS, json.dumps(listed, indent=1).encode() + b"\n")
        except OSError as error:
            msg = f"the shelf {self.folder} cannot be written to ({error.strerror}); check the path, rights and space"
            raise CatalogError(msg) from None

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return (self.folder / path).is_file()


@dataclass(frozen=True)
class HttpShelf:
    """A shelf behind HTTP: any web server to read from, ``ailab models serve`` to write to as well.

    Attributes
    ----------
    url
        Without credentials.
    token_env
        Name of the variable that holds the token; empty: none is sent.
    ca
        File of the authority that signed the server's certificate; empty: the system's.
    """

    url: str
    token_env: str = ""
    ca: str = field(default="", repr=False)

    def get(self, path: str, *, most: int) -> bytes:
        """Return a file of at most so many bytes, and give up one that does not come."""
        end, data = time.monotonic() + _LONGEST_S, bytearray()
        with self._answered("GET", path) as response:
            for block in response.iter_content(_BLOCK):
                data += block
                if len(data) > most:
                    raise _too_large(path, most)
                if time.monotonic() > end:
                    msg = f"{path} at {self.url} came too slowly and was given up; try again"
                    raise CatalogError(msg)
        return bytes(data)

    def put(self, path: str, data: bytes) -> None:
        """Send a file; the other side checks it before it is there."""
        with self._answered("PUT", path, data=data):
            return

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        try:
            with self._answered("HEAD", path):
                return True
        except NotFound:
            return False

    @contextmanager
    def _answered(self, method: str, path: str, *, data: bytes | None = None) -> Iterator["Response"]:
        """A good answer, its body still to come; no redirect is followed: the token is for this server."""
        import requests

        try:
            with self._session() as session, session.request(
                method, f"{self.url}/{path}", stream=True, allow_redirects=False, timeout=(_CONNECT_S, _SILENCE_S),
                verify=self.ca or True, data=data,
            ) as response:  # fmt: skip
                if response.status_code == 404:
                    raise _absent(path, self.url)
                if not response.ok or response.is_redirect:
                    msg = f"the shelf at {self.url} refused ({response.status_code}){_said(response)}"
                    raise CatalogError(msg)
                yield response
        except requests.RequestException as error:
            msg = (f"the shelf at {self.url} does not answer ({type(error).__name__}); check the address, that it "
                   "runs, and its certificate (?ca=FILE)")  # fmt: skip
            raise CatalogError(msg) from None

    def _session(self) -> "Session":
        import requests

        session = requests.Session()
        session.trust_env = False              # no .netrc, no proxy: the token is for the shelf
        session.headers["Accept-Encoding"] = "identity"    # what is counted is what comes
        if self.token_env:
            token = os.environ.get(self.token_env, "")
            if not token:
                msg = f"the shelf's URL refers to the environment variable {self.token_env}, which is not set; set it"
                raise SettingsError(msg)
            session.headers["Authorization"] = f"Bearer {token}"
        return session


def open_shelf(url: str) -> Shelf:
    """Open a shelf: a folder's path, or ``http(s)://HOST[:PORT]/PATH[?token_env=NAME&ca=FILE]``.

    Raises
    ------
    SettingsError
        No such form, or a password or token in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        if "://" in url:
            msg = f"{parts.scheme}:// is no shelf: a folder, http:// or https:// is expected"
            raise SettingsError(msg)
        return FolderShelf(Path(url).expanduser().resolve())
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.hostname or "@" in parts.netloc or set(options) - set(_OPTIONS):
        msg = "a shelf's URL is http(s)://HOST[:PORT]/PATH?token_env=NAME&ca=FILE, with no password in it"
        raise SettingsError(msg)
    if options.get("ca") and not Path(options["ca"]).is_file():
        msg = f"the shelf's URL names ca={options['ca']}, and there is no such file"
        raise SettingsError(msg)
    return HttpShelf(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", options.get("token_env", ""),
                     options.get("ca", ""))  # fmt: skip


def _said(response: "Response") -> str:
    """What the other side says of a refusal, one bounded line."""
    try:
        told = str(json.loads(response.raw.read(2000, decode_content=True)).get("detail", ""))
    except (ValueError, AttributeError, OSError):
        return "; ask whoever runs it"
    return f": {' '.join(told.split())[:300]}"


def _absent(path: str, url: str) -> NotFound:
    return NotFound(f"{path} is not at {url}; check the address (ailab models search URL)")


def _too_large(path: str, most: int) -> CatalogError:
    return CatalogError(f"{path} is larger than the {most} bytes that were to come; nothing of it was kept")
