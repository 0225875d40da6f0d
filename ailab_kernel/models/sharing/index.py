"""What a lab offers, as a signed document: models by name, version and digest, and by whom."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ailab_kernel.ground.errors import SealBroken
from ailab_kernel.ground.ids import canonical_json
from ailab_kernel.ground.seal import fingerprint, signed_by

KIND = "ailab-model-index"                     # what the signed bytes are: a signed report can be no index
FORMAT = 1
_NAME, _DIGEST = r"^[a-z0-9]+(-[a-z0-9]+)*$", r"^[0-9a-f]{64}$"
_PATH = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_. /-]{0,199}")
_LONG, _MOST, _BYTES = 4000, 500, 4 << 30


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Offer(_Part):
    """One model of a lab, without its files.

    Attributes
    ----------
    name, version, digest
        As in the lab's own ledger; the digest covers ``body`` and ``parents``.
    recipe, summary
        From the card, to search by.
    body, parents
        The model's record.
    sizes
        Bytes of each file of ``body["files"]``, by path.
    evidence
        Sealed validation reports about it: ``report``, ``manifest`` (digest of the object), ``signature``, ``figures``.
    lineage
        What it was made from: ``kind``, and for models and datasets ``ref`` and ``digest``, for all else ``count``.
    """

    name: str = Field(pattern=_NAME, max_length=200)
    version: int = Field(ge=1)
    digest: str = Field(pattern=_DIGEST)
    recipe: str = Field(max_length=200)
    summary: str = Field(max_length=_LONG)
    body: dict[str, Any]
    parents: list[str] = Field(max_length=_MOST)
    sizes: dict[str, int] = Field(max_length=_MOST)
    evidence: list[dict[str, Any]] = Field(max_length=_MOST)
    lineage: list[dict[str, Any]] = Field(max_length=_MOST)

    @property
    def ref(self) -> str:
        """``name@version`` at its home."""
        return f"{self.name}@{self.version}"

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file by path."""
        return {str(path): str(digest) for path, digest in self.body["files"].items()}


class _Told(_Part):
    kind: str = Field(pattern=f"^{KIND}$")
    format: int = Field(ge=FORMAT, le=FORMAT)
    lab: str = Field(pattern=_NAME, max_length=100)
    key: str = Field(pattern=_DIGEST)
    sequence: int = Field(ge=1)
    made_at: str = Field(max_length=40)
    models: list[Offer] = Field(max_length=_MOST)


@dataclass(frozen=True)
class Index:
    """Everything that one lab offers on a shelf.

    Attributes
    ----------
    lab
        What the lab calls itself; who reads it goes by the key.
    key
        Public key, hex.
    sequence
        Counts up with every change, so that an older index put back is noticed.
    made_at
        UTC, ISO 8601.
    offers
        Its models.
    """

    lab: str
    key: str
    sequence: int
    made_at: str
    offers: tuple[Offer, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """Of the key; also the folder on the shelf."""
        return fingerprint(self.key)

    def signed_part(self) -> bytes:
        """The bytes that are signed."""
        return canonical_json({
            "kind": KIND, "format": FORMAT, "lab": self.lab, "key": self.key, "sequence": self.sequence,
            "made_at": self.made_at, "models": [one.model_dump() for one in self.offers],
        })  # fmt: skip

    def sealed(self, sign: Callable[[bytes], str]) -> bytes:
        """Return the document: the index and its signature."""
        return canonical_json({"index": json.loads(self.signed_part()), "signature": sign(self.signed_part())})


def check_index(data: bytes, *, key: str, lab: str) -> Index:
    """Return the index of a document that a key signed.

    Parameters
    ----------
    data
        What lies on the shelf.
    key
        Public key that the reader trusts, hex.
    lab
        What the reader calls the lab, for the error.

    Raises
    ------
    SealBroken
        Not a document of this format, or not signed by this key.
    """
    try:
        whole = json.loads(data)
        told, signature = whole["index"], str(whole["signature"])
        found = _Told.model_validate(told)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        msg = f"what {lab} offers cannot be read ({_why(error)}); ask it to push again with an AI-LAB of this format"
        raise SealBroken(msg) from None
    if found.key != key or not signed_by(key, canonical_json(told), signature):
        msg = (f"what is said to be offered by {lab} does not bear its signature (key {fingerprint(key)}); nothing was "
               "taken: tell that lab")  # fmt: skip
        raise SealBroken(msg)
    offers = tuple(one for one in found.models if _whole(one, lab))
    return Index(found.lab, found.key, found.sequence, found.made_at, offers)


def said_key(data: bytes) -> tuple[str, str]:
    """Return what a document says of its lab and key, unchecked; empty where it says nothing of the kind."""
    try:
        found = _Told.model_validate(json.loads(data)["index"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return "", ""
    return found.lab, found.key


def _whole(offer: Offer, lab: str) -> bool:
    """Whether paths and sizes of an offer are such as may be downloaded; SealBroken where they are not."""
    files = offer.body.get("files")
    bounded = sum(offer.sizes.values()) < _BYTES
    plain = bounded and isinstance(files, Mapping) and set(files) == set(offer.sizes) and all(
        _PATH.fullmatch(path) and re.fullmatch(_DIGEST, str(digest)) and offer.sizes[path] >= 0
        for path, digest in files.items())  # fmt: skip
    if not plain:
        msg = (f"{offer.ref} of {lab} names files in a way that cannot be taken, or too much; nothing was downloaded: "
               "tell that lab")  # fmt: skip
        raise SealBroken(msg)
    return True


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'][:3]))}: {first['msg']}"
    return type(error).__name__
