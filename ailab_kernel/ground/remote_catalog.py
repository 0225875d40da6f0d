"""The catalog behind the hub: the same protocol, asked of the trusted service over HTTP.

This side holds a token and a cache of objects, nothing else. Objects are named by their digest and checked here; an
error of the house comes back as the class it was there. A question that may safely be asked twice is asked again
where the service was away for a moment; moving an alias and an audit line are sent once.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from . import errors
from .catalog import Move, Record, record_digest
from .errors import AilabError, CatalogError, NotFound, SealBroken, SettingsError
from .identifiers import Sighting
from .ids import canonical_json
from .store import FolderStore

if TYPE_CHECKING:
    from requests import Response

_CONNECT_S, _ANSWER_S = 5.0, 300.0             # the check of a large object takes its time
_PAUSES_S = (0.2, 1.0, 3.0)                    # a service that is started anew answers within seconds
_AWAY = frozenset({502, 503, 504})
_BLOCK = 1 << 20
_TEXT_AT_ONCE = 2 << 20                        # characters; the service takes 16 MiB of JSON


class RemoteCatalog:
    """A `Catalog` that the service holds; roles are enforced there.

    Parameters
    ----------
    url
        ``http(s)://HOST/services/ailab``.
    token_env
        Name of the variable that holds the token.
    cache
        Folder for objects that came from there.
    ca
        File of the authority that signed its certificate; empty: the system's.

    Raises
    ------
    SettingsError
        No such address, or no such file.
    """

    roles_enforced = True

    def __init__(self, url: str, *, token_env: str, cache: Path, ca: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = f"service = {url!r} is no address; write http://HOST:PORT/services/ailab"
            raise SettingsError(msg)
        if ca and not Path(ca).is_file():
            msg = f"service_ca = {ca!r}: there is no such file"
            raise SettingsError(msg)
        self._verify: str | bool = ca or True
        self._base = f"{url.rstrip('/')}/catalog"
        self._host = parts.netloc.rpartition("@")[2]
        self._token_env = token_env
        self._cache = FolderStore(cache)

    # objects
    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes, and return their SHA-256; they stay in the cache of this side too."""
        digest = self._cache.put(data)
        answer = self._json("GET", f"objects/{digest}/wanted")
        path = self._cache.path(digest)
        if answer["wanted"]:
            if path.stat().st_size > answer["limit"]:
                msg = f"object {digest[:12]} has {path.stat().st_size} bytes, more than the {answer['limit']} accepted"
                raise CatalogError(msg)
            with path.open("rb") as file:
                self._json("PUT", f"objects/{digest}", data=file)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their digest."""
        try:
            return self._cache.get(digest)
        except NotFound:
            return self._fetch(digest).read_bytes()
        except SealBroken:
            self._cache.path(digest).unlink()
            return self._fetch(digest).read_bytes()

    def path(self, digest: str) -> Path:
        """Return a local file that holds the bytes, fetched when it is not cached."""
        try:
            return self._cache.path(digest)
        except NotFound:
            return self._fetch(digest)

    def check(self, digest: str) -> None:
        """Raise NotFound or SealBroken unless the service's bytes still match; a damaged copy here is dropped."""
        self._json("GET", f"objects/{_digest(digest)}/check")
        try:
            self._cache.check(digest)
        except NotFound:
            return
        except SealBroken:
            self._cache.path(digest).unlink()

    # keys
    def sign(self, data: bytes) -> str:
        """Return the lab's Ed25519 signature of ``data``, hex; who asked stands in the audit trail."""
        return str(self._json("POST", "sign", data=data)["signature"])

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether ``signature`` is this lab's own on ``data``."""
        return bool(self._json("POST", "verify", data=data, params={"signature": signature})["ours"])

    def public_key(self) -> str:
        """Return the public part of the lab's signing key, hex."""
        return str(self._json("GET", "key")["public"])

    def pseudonym(self, domain: str, value: str) -> str:
        """Return the lab's stable, keyed stand-in for an identifying value."""
        return str(self._told("pseudonyms", {"domain": domain, "value": value})["pseudonym"])

    def reidentify(self, pseudonym: str, reason: str) -> str:
        """Return whom a patient's pseudonym stands for; refused where the token's roles do not allow it."""
        told = {"pseudonym": pseudonym, "reason": reason}
        return str(self._told("reidentifications", told, again=False)["identifier"])

    # known identifiers
    def remember(self, known: Mapping[str, Sequence[str]]) -> None:
        """Let texts be searched for identifying values, given by DICOM keyword; nobody can list them."""
        self._told("identifiers", {"known": {kind: list(values) for kind, values in known.items()}})

    def found(self, texts: Sequence[str]) -> list[Sighting]:
        """Return where known identifiers stand in texts; what was found stands in the audit trail."""
        seen: list[Sighting] = []
        for first, part in _portions(texts):
            answer = self._told("identifiers/found", {"texts": part})
            seen += [Sighting(**{**row, "text": first + row["text"]}) for row in answer]
        return seen

    def release(self, places: Sequence[str], reason: str) -> None:
        """Write down that known identifiers are let out; refused where the token's roles do not allow it."""
        self._told("releases", {"places": list(places), "reason": reason}, again=False)

    # the ledger
    def append(self, kind: str, body: Mapping[str, Any], *, name: str = "", parents: Sequence[str] = ()) -> Record:
        """Write a record and return it; one with the same content is returned as it stands."""
        plain = json.loads(canonical_json(body))
        digest = record_digest(kind, name, plain, parents=parents)
        told = {"kind": kind, "body": plain, "name": name, "parents": list(parents)}
        record = _record(self._told("records", told))
        if record.digest != digest:
            msg = f"the service recorded {record.digest[:12]} for {digest[:12]}; are the two sides of one version?"
            raise SealBroken(msg)
        return record

    def query(
        self, kind: str, *, name: str | None = None, version: int | None = None, digest: str | None = None
    ) -> list[Record]:
        """Return the matching records, oldest first."""
        asked = {"kind": kind, "name": name, "version": version, "digest": digest}
        return [_record(row) for row in self._json("GET", "records", params=asked)]

    def point(
        self, kind: str, name: str, alias: str, *, digest: str, reason: str = "", evidence: str = ""
    ) -> None:
        """Let ``name@alias`` mean the record ``digest``; a model's alias moves for ``evidence`` only."""
        told = {"kind": kind, "name": name, "alias": alias, "digest": _digest(digest), "reason": reason,
                "evidence": _digest(evidence)}  # fmt: skip
        self._told("aliases", told, again=False)

    def resolve(self, kind: str, name: str, alias: str) -> Record:
        """Return the record that ``name@alias`` means now, or raise NotFound."""
        return _record(self._json("GET", "aliases/now", params={"kind": kind, "name": name, "alias": alias}))

    def history(self, kind: str, name: str) -> list[Move]:
        """Return every move of every alias of ``name``, oldest first."""
        return [Move(**row) for row in self._json("GET", "aliases", params={"kind": kind, "name": name})]

    def audit(self, event: str, **detail: str) -> None:
        """Add one line to the audit trail, in the name that the token belongs to."""
        self._told("audit", {"event": event, "detail": detail}, again=False)

    def audit_trail(self) -> list[dict[str, str]]:
        """Return the audit trail, oldest first; for auditors and administrators."""
        return list(self._json("GET", "audit"))

    def audit_findings(self) -> tuple[str, ...]:
        """Return what is wrong with the audit trail; for auditors and administrators."""
        return tuple(self._json("GET", "audit/findings"))

    def audit_anchor(self) -> dict[str, Any]:
        """Return the newest line's number and chain with the lab's signature; for auditors and administrators."""
        return dict(self._json("GET", "audit/anchor"))

    def _told(self, path: str, value: Mapping[str, Any], *, again: bool = True) -> Any:
        return self._json("POST", path, data=canonical_json(value), again=again)

    def _json(self, method: str, path: str, **asked: Any) -> Any:
        with self._answered(method, path, **asked) as response:
            return response.json()

    def _fetch(self, digest: str) -> Path:
        """Bring an object into the cache, its bytes checked on the way."""
        found = hashlib.sha256()
        with tempfile.NamedTemporaryFile() as file, self._answered("GET", f"objects/{_digest(digest)}") as response:
            for block in response.iter_content(_BLOCK):
                found.update(block)
                file.write(block)
            file.flush()
            if found.hexdigest() != digest:
                msg = (f"object {digest[:12]} arrived with other bytes: it changed on the service's disk, or was cut "
                       "off on the way; try again, or restore it from a backup")  # fmt: skip
                raise SealBroken(msg)
            self._cache.put(Path(file.name))
        return self._cache.path(digest)

    @contextmanager
    def _answered(self, method: str, path: str, *, again: bool = True, **asked: Any) -> Iterator["Response"]:
        """A good answer, its body still to come; every other is an error of the house."""
        import requests

        try:
            with requests.Session() as session:
                session.trust_env = False      # no proxy and no .netrc come between: the token is for the service
                with self._sent(session, method, path, again=again, **asked) as response:
                    if not response.ok or response.is_redirect:
                        raise self._error(response)
                    yield response
        except requests.RequestException as error:
            msg = (f"the lab's service at {self._host} does not answer ({type(error).__name__}); nothing is lost: try "
                   "again, or ask the hub's administrator whether it runs")  # fmt: skip
            raise CatalogError(msg) from None

    def _sent(self, session: Any, method: str, path: str, *, again: bool, **asked: Any) -> "Response":
        import requests

        headers = {"Authorization": f"token {os.environ.get(self._token_env, '')}",
                   "Accept-Encoding": "identity"}  # fmt: skip
        for pause in (*(_PAUSES_S if again else ()), None):
            if hasattr(asked.get("data"), "seek"):
                asked["data"].seek(0)
            try:
                response = session.request(
                    method, f"{self._base}/{path}", headers=headers, stream=True, allow_redirects=False,
                    timeout=(_CONNECT_S, _ANSWER_S), verify=self._verify, **asked,
                )  # fmt: skip
            except requests.ConnectionError:
                if pause is None:
                    raise
            else:
                if response.status_code not in _AWAY or pause is None:
                    return response
                response.close()
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _error(self, response: "Response") -> AilabError:
        """The error that the service names; a name that the house does not know is a CatalogError."""
        try:
            told = response.json()
            kind, message = getattr(errors, str(told["error"]), None), str(told["message"])
        except (ValueError, KeyError, TypeError):
            kind, message = None, f"{self._host} answered HTTP {response.status_code}; see the hub's log"
        known = isinstance(kind, type) and issubclass(kind, AilabError)
        return kind(message) if known and kind else CatalogError(message)


def _digest(text: str) -> str:
    """A digest as a part of a path: whatever else it may be, it stays one part."""
    return quote(text, safe="")


def _portions(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Texts in messages of a few megabytes, each with the number of its first text."""
    first, part, size = 0, [], 0
    for number, text in enumerate(texts):
        part.append(text)
        size += len(text)
        if size > _TEXT_AT_ONCE or number == len(texts) - 1:
            yield first, part
            first, part, size = number + 1, [], 0


def _record(row: Mapping[str, Any]) -> Record:
    return Record(**{**row, "parents": tuple(row["parents"])})
