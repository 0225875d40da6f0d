"""A lab looks at a shelf and takes a model from it: signed by a lab that it trusts, every file as that lab had it."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ailab_kernel.ground.catalog import Catalog, record_digest
from ailab_kernel.ground.errors import AilabError, ModelError, NotFound, SealBroken, WrongUse
from ailab_kernel.ground.ids import Ref, sha256
from ailab_kernel.ground.seal import fingerprint, signed_by
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.models.bundle import KIND, Bundle, read_bundle
from ailab_kernel.models.registry import Models

from .index import Index, Offer, check_index
from .shelf import INDEX, INDEX_BYTES, LABS, LABS_BYTES, Shelf, object_path
from .trusted import Trusted, check_order, how_to_trust, last_seen

RECEIVED = "received"
_FILE_BYTES, _MANIFEST_BYTES = 2 << 30, 16 << 20


@dataclass(frozen=True)
class Found:
    """What a shelf has for this lab.

    Attributes
    ----------
    offers
        Each with the lab that offers it, and that lab's index.
    refused
        One line for each lab whose index was not believed.
    unknown
        One line for each lab that is not trusted, and how it would be.
    """

    offers: tuple[tuple[Trusted, Index, Offer], ...]
    refused: tuple[str, ...]
    unknown: tuple[tuple[str, str, str], ...]


def search(catalog: Catalog, shelf: Shelf, trusted: Sequence[Trusted], *, words: str = "") -> Found:
    """Return the models that trusted labs offer on a shelf, and who else is there.

    Parameters
    ----------
    catalog
        The lab, which remembers how far each index had come.
    shelf
        Where to look.
    trusted
        Whose keys are believed; this lab's own belongs among them.
    words
        All of which a model's name, recipe or summary holds.
    """
    offers: list[tuple[Trusted, Index, Offer]] = []
    refused = []
    for lab in trusted:
        try:
            index = _index(catalog, shelf, lab)
        except SealBroken as error:
            refused.append(str(error))
            continue
        if index:
            offers += [(lab, index, one) for one in index.offers if _fits(one, words)]
    return Found(tuple(offers), tuple(refused), tuple(_unknown(shelf, trusted)))


def _fits(offer: Offer, words: str) -> bool:
    text = f"{offer.name} {offer.recipe} {offer.summary}".lower()
    return all(word in text for word in words.lower().split())


def pull(catalog: Catalog, ref: str, shelf: Shelf, *, trusted: Sequence[Trusted], lab: str = "") -> Bundle:
    """Take a model from a shelf into the lab and return it; nothing in it is run.

    It keeps its digest, so that the sending lab's evidence speaks for this very model; an alias moves here for evidence
    of this lab only.

    Parameters
    ----------
    catalog, shelf, trusted
        As of `search`.
    ref
        ``heart-wall`` (the newest there) or ``heart-wall@2``, the version at its home.
    lab
        From which of the trusted labs, where several offer it.

    Raises
    ------
    NotFound
        No lab that is trusted offers it there.
    SealBroken
        An index, a file or a report is not what the lab signed.
    ModelError, UnsafeModel
        It is none, or would need code of its own.
    """
    wished = Ref.parse(ref)
    if wished.alias:
        msg = f"{ref}: an alias means something in its own lab only; give a name or name@version"
        raise WrongUse(msg)
    found = search(catalog, shelf, trusted)
    if found.refused and not lab:
        raise SealBroken(found.refused[0])
    fitting = [(one, index, offer) for one, index, offer in found.offers
               if offer.name == wished.name and wished.version in {None, offer.version} and lab in {"", one.name}]
    if not fitting:
        raise _none(ref, shelf, found, lab)
    if len({one.name for one, _, _ in fitting}) > 1:
        names = " and ".join(sorted({one.name for one, _, _ in fitting}))
        msg = f"{ref} is offered by {names}: say which with --lab NAME"
        raise WrongUse(msg)
    return _take(catalog, shelf, *max(fitting, key=lambda one: one[2].version))


def _take(catalog: Catalog, shelf: Shelf, lab: Trusted, index: Index, offer: Offer) -> Bundle:
    evidence = [_evidence(shelf, lab, offer, one) for one in offer.evidence]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / offer.name
        for path, digest in offer.files.items():
            data = _object(shelf, lab, digest, size=offer.sizes[path], what=f"{offer.ref}: {path}")
            atomic_write(folder / path, data)
        read = read_bundle(folder, name=offer.name)
        if {**read.body["files"]} != offer.files or read.body["network"] != offer.body.get("network"):
            msg = (f"{offer.ref} of {lab.name} is no bundle as this AI-LAB keeps them: it holds more than data, or is "
                   "of another version; ask that lab to import and push it anew")  # fmt: skip
            raise ModelError(msg)
        if record_digest(KIND, offer.name, offer.body, parents=offer.parents) != offer.digest:
            msg = f"{offer.ref} of {lab.name}: its record is not the one that its digest names; nothing was kept"
            raise SealBroken(msg)
        whole = Bundle(offer.name, 0, offer.body, read.file, tuple(offer.parents))
        kept = Models(catalog).take_in(whole, lab=lab.name, key=lab.fingerprint)
    body = {"lab": lab.name, "key": lab.key, "shelf": shelf.url, "sequence": index.sequence, "offer": offer.ref,
            "evidence": [{**told, "manifest": catalog.put(data)} for told, data in evidence],
            "lineage": offer.lineage}  # fmt: skip
    catalog.append(RECEIVED, body, name=kept.name, parents=[kept.digest])
    return kept


def _evidence(shelf: Shelf, lab: Trusted, offer: Offer, told: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """A sealed report of the sending lab: signed by it, and about this very model."""
    report, digest, signature = (str(told.get(key, "")) for key in ("report", "manifest", "signature"))
    data = _object(shelf, lab, digest, size=_MANIFEST_BYTES, what=f"{offer.ref}: report {report}")
    try:
        about = json.loads(data)["resolved"]["model"]
    except (ValueError, RecursionError, KeyError, TypeError):
        about = ""
    if not signed_by(lab.key, data, signature) or about != offer.digest:
        msg = (f"{offer.ref} of {lab.name}: report {report} does not bear that lab's seal, or is about another model; "
               "nothing was kept")  # fmt: skip
        raise SealBroken(msg)
    return {"report": report, "signature": signature}, data


def _object(shelf: Shelf, lab: Trusted, digest: str, *, size: int, what: str) -> bytes:
    data = shelf.get(object_path(digest), most=min(size, _FILE_BYTES))
    if sha256(data) != digest:
        msg = f"{what} at {shelf.url} is not what {lab.name} signed: it was changed on the way; nothing was kept"
        raise SealBroken(msg)
    return data


def _index(catalog: Catalog, shelf: Shelf, lab: Trusted) -> Index | None:
    """What a trusted lab offers here; None where it never did."""
    try:
        data = shelf.get(f"{lab.fingerprint}/{INDEX}", most=INDEX_BYTES)
    except NotFound:
        seen = last_seen(catalog, lab.key, shelf.url)
        if seen:
            msg = f"what {lab.name} offered at {shelf.url} is gone; its number {seen} was read here; ask that lab"
            raise SealBroken(msg) from None
        return None
    found = check_index(data, key=lab.key, lab=lab.name)
    check_order(catalog, found, url=shelf.url, lab=lab.name)
    return found


def _unknown(shelf: Shelf, trusted: Sequence[Trusted]) -> Iterator[tuple[str, str, str]]:
    """Labs that are on the shelf and not trusted: name as they say it, key, and how they would be."""
    known = {one.key for one in trusted}
    try:
        listed = json.loads(shelf.get(LABS, most=LABS_BYTES))
    except (AilabError, ValueError, RecursionError):
        return
    for one in listed if isinstance(listed, list) else ():
        try:
            lab, key = Ref.parse(str(one["lab"])).name, str(one["key"])
            fingerprint(key)
        except (WrongUse, KeyError, TypeError):
            continue
        if key not in known:
            yield lab, key, how_to_trust(lab, key)


def _none(ref: str, shelf: Shelf, found: Found, lab: str) -> AilabError:
    if lab and found.refused:
        return SealBroken(found.refused[0])
    there = ", ".join(f"{offer.ref} of {one.name}" for one, _, offer in found.offers[:10])
    if found.unknown and not there:
        return NotFound(f"no lab that is trusted offers {ref} at {shelf.url}; {found.unknown[0][2]}")
    whose = f"{lab} does not offer {ref}" if lab else f"nobody who is trusted offers {ref}"
    return NotFound(f"{whose} at {shelf.url}; there are {there or 'no models'}")
