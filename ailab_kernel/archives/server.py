"""A DICOMweb server: its URL and credentials, the connection, and what its refusals mean."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from ailab_kernel.ground.errors import (
    AilabError,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnreachable,
    DicomError,
    NotFound,
    SettingsError,
)

from .found import ANSWER_S, seconds

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient
    from requests import Response, Session
    from requests.adapters import HTTPAdapter

_OPTIONS = ("token_env", "password_env", "ca", "cert", "key", "timeout")
_CONNECT_S = 5.0
_ATTEMPTS, _PAUSE_MS = 2, 250                  # a server that says it is busy (429, 503) is asked again
_BUSY = (429, 503)
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_REFUSALS = {
    401: "does not accept the credentials; give user:password@ or ?token_env=NAME in the archive's URL",
    403: "does not allow this; ask its administrator for the right, or use another account",
    405: "does not offer this over DICOMweb; do it in the archive itself",
    501: "does not offer this over DICOMweb; do it in the archive itself",
}


@dataclass(frozen=True)
class Server:
    """Where a DICOMweb service is and how to enter; ``base`` is safe to show.

    Attributes
    ----------
    token_env
        Name of the environment variable that holds a bearer token; read at each connection, never kept.
    ca
        File of the authority that signed the server's certificate, where the system does not know it.
    cert
        Our own certificate and its key, for a server that asks for one.
    timeout_s
        Longest silence before the server counts as unreachable, in seconds.
    """

    base: str
    user: str = ""
    password: str = field(default="", repr=False)
    token_env: str = ""
    ca: str = ""
    cert: tuple[str, str] = ("", "")
    timeout_s: float = ANSWER_S

    @property
    def host(self) -> str:
        """Host and port, to name the server by."""
        return urlsplit(self.base).netloc

    @property
    def secure(self) -> bool:
        """Whether the way there is encrypted."""
        return self.base.startswith("https:")

    def session(self) -> "Session":
        """HTTP session with the credentials; nothing is sent yet."""
        import requests

        session = requests.Session()
        session.mount(self.base, _plain_adapter())
        if self.ca:
            session.verify, session.trust_env = self.ca, False     # REQUESTS_CA_BUNDLE would win over it
        session.cert = self.cert if all(self.cert) else None
        if self.user:
            session.auth = (self.user, self.password)
        session.headers["Accept-Encoding"] = "identity"    # deflating pixels costs Orthanc 20 ms a slice, saves little
        if self.token_env:
            session.headers["Authorization"] = f"Bearer {_variable(self.token_env)}"
        return session

    def connect(self, session: "Session", *, attempts: int = _ATTEMPTS) -> "DICOMwebClient":
        """Client that speaks through ``session``."""
        from dicomweb_client import DICOMwebClient

        logging.getLogger("dicomweb_client").addHandler(logging.NullHandler())    # its warnings say nothing to a user
        client = DICOMwebClient(self.base, session=session, timeout=(_CONNECT_S, self.timeout_s))
        client.set_http_retry_params(max_attempts=attempts, wait_exponential_multiplier=_PAUSE_MS)
        return client

    def get(self, session: "Session", path: str) -> "Response":
        """Answer to WADO-RS at ``path`` as it begins, its body still to come, in any transfer syntax: as stored."""
        for attempt in range(_ATTEMPTS):
            time.sleep(_PAUSE_MS / 1000 * 2**attempt if attempt else 0.0)
            response = session.get(f"{self.base}/{path}", headers={"Accept": _AS_STORED}, stream=True,
                                   timeout=(_CONNECT_S, self.timeout_s))
            if response.status_code not in _BUSY:
                response.raise_for_status()
                return response
            response.close()
        raise ArchiveUnreachable(f"{self.host} is too busy to retrieve; try again later")


def server_of(url: str) -> Server:
    """``dicomweb+http(s)://[user[:password]@]host[:port]/path[?OPTION=VALUE&...]``.

    Options: ``token_env``, ``password_env`` (names of variables), ``ca``, ``cert``, ``key`` (files), ``timeout`` (s).

    Raises
    ------
    SettingsError
        The URL names no host, or an option that there is not.
    """
    try:
        parts = urlsplit(url.removeprefix("dicomweb+"))
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise SettingsError("the archive's URL has no valid host and port; write dicomweb+http://host:port/dicom-web"
                            ) from error
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise SettingsError(f"unknown option {', '.join(unknown)} in the archive's URL; use {', '.join(_OPTIONS)}")
    if not parts.hostname:
        raise SettingsError("the archive's URL names no host; write dicomweb+http://host:port/dicom-web")
    password = _variable(options["password_env"]) if "password_env" in options else unquote(parts.password or "")
    return Server(f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}", unquote(parts.username or ""),
                  password, options.get("token_env", ""), _file(options, "ca"),
                  (_file(options, "cert"), _file(options, "key")), seconds(options.get("timeout")))


@contextmanager
def answers(server: Server, act: str, *, missing: str = "", missing_is: type[AilabError] = NotFound) -> Iterator[None]:
    """Turn whatever goes wrong on the way into one of our errors.

    The original error is cut off (``from None``): its text holds the query, and with it a patient's ID.

    Parameters
    ----------
    act
        What was asked, in one verb.
    missing, missing_is
        What HTTP 404 means here.
    """
    import requests
    from retrying import RetryError
    from urllib3.exceptions import HTTPError as StreamError

    host = server.host
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 404 and missing:
            raise missing_is(missing) from None
        raise ArchiveRefused(f"{host} {_REFUSALS.get(status, f'answered HTTP {status} to {act}; see its log')}"
                             ) from None
    except (requests.exceptions.InvalidJSONError, requests.exceptions.InvalidHeader) as error:
        raise ArchiveError(f"{host} did not answer {act} with DICOM JSON ({type(error).__name__}); check the path in "
                           "the archive's URL, for example /dicom-web") from None
    except RetryError:
        raise ArchiveUnreachable(f"{host} is too busy to {act}; try again later") from None
    except (requests.RequestException, StreamError) as error:
        secure = ", that both sides trust each other's certificates (ca=, cert=, key=)" if server.secure else ""
        raise ArchiveUnreachable(f"no answer from {host} to {act} ({type(error).__name__}); check host and port in the "
                                 f"archive's URL, that the archive runs{secure}, and the firewall") from None
    except (DicomError, ArchiveError) as error:
        kind = ArchiveError if isinstance(error, DicomError) else type(error)
        raise kind(f"{host}: {error}") from None


def _plain_adapter() -> "HTTPAdapter":
    """Sends ``*``, ``?`` and ``,`` in a query as they are (RFC 3986 section 3.4), where requests would encode them."""
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter

    class Plain(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: object, **options: object) -> Response:
            """Send with a query that is encoded no more than it must be."""
            path, mark, query = (request.url or "").partition("?")
            for encoded, plain in (("%2A", "*"), ("%3F", "?"), ("%2C", ",")):
                query = query.replace(encoded, plain)
            request.url = path + mark + query
            return super().send(request, *args, **options)     # type: ignore[arg-type]

    return Plain()


def _file(options: dict[str, str], name: str) -> str:
    if options.get(name) and not Path(options[name]).is_file():
        raise SettingsError(f"the archive's URL names {name}={options[name]}, and there is no such file")
    return options.get(name, "")


def _variable(name: str) -> str:
    if not os.environ.get(name):
        raise SettingsError(f"the archive's URL refers to the environment variable {name}, which is not set; set it")
    return os.environ[name]
