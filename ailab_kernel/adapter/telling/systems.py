"""A reporting system by its URL: which protocol, and where."""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.references import secret

from . import diagnostic_report, mllp, oru
from .report import Report


def _mllp(url: SplitResult, options: Mapping[str, str], report: Report) -> None:
    assert url.hostname and url.port           # noqa: PT018 - `check` has seen it
    told = oru.message(report, receiver=url.path.strip("/"))
    mllp.send((url.hostname, url.port), told, control_id=oru.control_id(report), ca=options.get("ca", ""),
              tls=url.scheme == "mllps")  # fmt: skip


def _fhir(url: SplitResult, options: Mapping[str, str], report: Report) -> None:
    base = f"{url.scheme.removeprefix('fhir+')}://{url.netloc}{url.path}"
    diagnostic_report.create(base, report, **options)


# Scheme, who speaks it, and the options that its URL may have.
_SYSTEMS: Mapping[str, tuple[Callable[[SplitResult, Mapping[str, str], Report], None], frozenset[str]]] = {
    "mllp": (_mllp, frozenset()),
    "mllps": (_mllp, frozenset({"ca"})),
    "fhir+http": (_fhir, frozenset({"token", "patient_system"})),
    "fhir+https": (_fhir, frozenset({"token", "ca", "patient_system"})),
}
SCHEMES = tuple(_SYSTEMS)


def tell(url: str, report: Report) -> None:
    """Tell a reporting system; twice, and it can know that it is the same.

    Parameters
    ----------
    url
        ``mllp://HOST:PORT/APPLICATION``, ``mllps://…?ca=FILE`` or ``fhir+https://HOST/BASE?token=REFERENCE&ca=FILE``
        (and ``patient_system=URI``).
    report
        What is told.

    Raises
    ------
    SettingsError
        A URL that is none of these.
    ArchiveUnreachable, ArchiveRefused
        Nobody answers; or the answer is no.
    """
    split, options = _parts(url)
    _SYSTEMS[split.scheme][0](split, options, report)


def check(url: str) -> None:
    """Say what is wrong with a reporting system's URL and the secret and file that it names.

    Raises
    ------
    SettingsError
        What it is.
    """
    _, options = _parts(url)
    if "token" in options:
        secret(options["token"], what="token")
    if "ca" in options and not Path(options["ca"]).is_file():
        msg = f"ca={options['ca']} is no file"
        raise SettingsError(msg)


def _parts(url: str) -> tuple[SplitResult, Mapping[str, str]]:
    split = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(split.query).items()}
    known = split.scheme in _SYSTEMS and set(options) <= _SYSTEMS[split.scheme][1]
    if not known or not split.hostname or (split.scheme.startswith("mllp") and not split.port):
        msg = (f"{split.scheme}://{split.hostname or ''} is no reporting system; write mllp://HOST:PORT/NAME, "
               "mllps:// with ?ca=FILE, or fhir+https://HOST/BASE with ?token=REFERENCE&ca=FILE")  # fmt: skip
        raise SettingsError(msg)
    return split, options
