"""Whom a lab trusts: other labs' public keys by name, and how far each of their indexes had come when last read."""

from dataclasses import dataclass

from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import SealBroken, SettingsError, WrongUse
from ailab_kernel.ground.ids import check_name, sha256
from ailab_kernel.ground.seal import fingerprint

from .index import Index

SEEN = "index-seen"


@dataclass(frozen=True)
class Trusted:
    """Another lab's key, under the name that this lab gave it.

    Attributes
    ----------
    name
        From the setting ``trusted_labs``.
    key
        Public key, hex.
    """

    name: str
    key: str

    @property
    def fingerprint(self) -> str:
        """Of the key."""
        return fingerprint(self.key)


def trusted_labs(told: str) -> tuple[Trusted, ...]:
    """Return the labs of the setting ``trusted_labs``: ``north-hospital=KEY, south-hospital=KEY``.

    Raises
    ------
    SettingsError
        A name or a key that is none, or one key or name given twice.
    """
    found = tuple(_trusted(*one.partition("=")[::2]) for one in told.split(",") if one.strip())
    if len({one.key for one in found}) < len(found) or len({one.name for one in found}) < len(found):
        msg = "trusted_labs gives a name or a key twice; leave one of them out"
        raise SettingsError(msg)
    return found


def _trusted(name: str, key: str) -> Trusted:
    plain = key.strip().lower()
    try:
        fingerprint(plain)
        return Trusted(check_name(name.strip()), plain)
    except WrongUse as error:
        msg = f"trusted_labs: {error}"
        raise SettingsError(msg) from None


def how_to_trust(lab: str, key: str) -> str:
    """Return the words that say how a lab comes to be trusted."""
    return (f"{lab} (fingerprint {spaced(fingerprint(key))}) is not among this lab's trusted_labs: ask somebody there, "
            f"by telephone say, whether that is their key (ailab models key), and write into ailab.toml under "
            f"[trusted_labs]: {lab} = \"{key}\"")  # fmt: skip


def spaced(text: str) -> str:
    """Return a fingerprint in groups of four, as it is read aloud."""
    return " ".join(text[at:at + 4] for at in range(0, len(text), 4))


def last_seen(catalog: Catalog, key: str, url: str) -> int:
    """Return the highest number of a lab's index that was read or written at an address; 0 for none."""
    return max((int(one.body["sequence"]) for one in catalog.query(SEEN, name=_name(key, url))), default=0)


def check_order(catalog: Catalog, index: Index, *, url: str, lab: str) -> None:
    """Take note of an index, or refuse one that was there before, or that is another of the same number.

    Raises
    ------
    SealBroken
        It is older than what was read here already.
    """
    known = catalog.query(SEEN, name=_name(index.key, url))
    newest = max((int(one.body["sequence"]) for one in known), default=0)
    digest = sha256(index.signed_part())
    other = any(int(one.body["sequence"]) == index.sequence and one.body["digest"] != digest for one in known)
    if index.sequence < newest or other:
        msg = (f"what {lab} offers at {url} is number {index.sequence}, and number {newest} was read here already: an "
               "older one was put back, so that newer models or withdrawals are hidden; tell that lab")  # fmt: skip
        raise SealBroken(msg)
    catalog.append(SEEN, {"sequence": index.sequence, "digest": digest}, name=_name(index.key, url))


def _name(key: str, url: str) -> str:
    return f"{fingerprint(key)}-{sha256(url.encode())[:16]}"
