"""A lab puts a model on a shelf: its files by digest, and a new index that its key signs."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.ground.ids import check_name
from ailab_kernel.models.bundle import KIND, Bundle
from ailab_kernel.models.evidence import KIND as EVIDENCE
from ailab_kernel.models.evidence import kept_evidence
from ailab_kernel.models.registry import Models, texts_of
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import Chunk, values

from .index import Index, Offer, check_index
from .shelf import INDEX, INDEX_BYTES, Shelf, object_path
from .trusted import check_order, last_seen

_NAMED = (KIND, "dataset")                     # whose names say nothing of a patient: a series' record has its UID
_ANCESTORS = (*_NAMED, "annotation", "task", "image", "report")
_SUMMARY = 2000


def push(catalog: Catalog, ref: str, shelf: Shelf, *, lab: str, release: str = "") -> Index:
    """Put a model on a shelf and return the lab's new index there.

    Parameters
    ----------
    catalog
        The lab: its ledger, and its key, which signs.
    ref
        ``heart-wall@champion``; what is shared is the version that it means now.
    shelf
        Where to.
    lab
        What this lab calls itself (the setting ``lab_name``).
    release
        Why it may leave although a text in it holds what identifies a patient; by role, and written down.

    Raises
    ------
    WrongUse
        The lab has no name.
    ExitBlocked
        A text holds what identifies a patient, and no reason was given.
    SealBroken
        The lab's own index there is not its own, or an older one.
    """
    if not lab:
        msg = 'others see who offers a model: write lab_name = "north-hospital" into ailab.toml'
        raise WrongUse(msg)
    bundle, key = Models(catalog).get(ref), catalog.public_key()
    bundle.check()
    offer = _offer(catalog, bundle)
    check(catalog, _texts(bundle, offer), what=f"model {bundle.ref}", reason=release)
    before = _own(catalog, shelf, key)
    number = max(before.sequence if before else 0, last_seen(catalog, key, shelf.url)) + 1
    others = [one for one in (before.offers if before else ()) if one.ref != offer.ref]
    made = Index(check_name(lab), key, number, datetime.now(UTC).isoformat(timespec="seconds"),
                 tuple(sorted((*others, offer), key=lambda one: (one.name, one.version))))  # fmt: skip
    catalog.audit("export", kind=KIND, model=bundle.ref, digest=bundle.digest, shelf=shelf.url)
    for digest, data in _objects(catalog, bundle, offer):
        if not shelf.has(object_path(digest)):
            shelf.put(object_path(digest), data)
    shelf.put(f"{made.fingerprint}/{INDEX}", made.sealed(catalog.sign))
    check_order(catalog, made, url=shelf.url, lab=lab)
    return made


def _own(catalog: Catalog, shelf: Shelf, key: str) -> Index | None:
    """What the lab offers there now: by its own signature, and not older than what it wrote itself."""
    empty = Index("", key, 1, "")
    try:
        found = check_index(shelf.get(f"{empty.fingerprint}/{INDEX}", most=INDEX_BYTES), key=key, lab="this lab")
    except NotFound:
        return None
    check_order(catalog, found, url=shelf.url, lab="this lab")
    return found


def _offer(catalog: Catalog, bundle: Bundle) -> Offer:
    about = bundle.metadata
    return Offer(
        name=bundle.name, version=bundle.version, digest=bundle.digest, recipe=bundle.recipe,
        summary=str(about.get("intended_use") or about.get("description") or "")[:_SUMMARY], body=dict(bundle.body),
        parents=list(bundle.parents), sizes={path: len(bundle.file(path)) for path in bundle.body["files"]},
        evidence=[_evidence(catalog, one) for one in catalog.query(EVIDENCE) if bundle.digest in one.parents],
        lineage=_lineage(catalog, bundle),
    )  # fmt: skip


def _evidence(catalog: Catalog, record: Record) -> dict[str, Any]:
    """What a sealed report says of the model, without its pages and its cases."""
    shown = kept_evidence(catalog, record.digest)
    return {"report": shown.id, "manifest": str(record.body["manifest"]), "signature": shown.signature}


def _lineage(catalog: Catalog, bundle: Bundle) -> list[dict[str, Any]]:
    """What a model was made from: models and datasets by name and digest, all else only counted."""
    seen: dict[str, Record] = {}
    todo = list(bundle.parents)
    while todo:
        digest = todo.pop(0)
        if digest not in seen and (record := _find(catalog, digest)):
            seen[digest] = record
            todo += record.parents
    named = [{"kind": one.kind, "ref": one.ref, "digest": one.digest} for one in seen.values() if one.kind in _NAMED]
    counts = {kind: sum(one.kind == kind for one in seen.values()) for kind in _ANCESTORS if kind not in _NAMED}
    return [*named, *({"kind": kind, "count": count} for kind, count in counts.items() if count)]


def _find(catalog: Catalog, digest: str) -> Record | None:
    return next((found[0] for kind in _ANCESTORS if (found := catalog.query(kind, digest=digest))), None)


def _texts(bundle: Bundle, offer: Offer) -> Iterator[Chunk]:
    yield from texts_of(bundle)
    yield from values(offer.model_dump(), "the offer")


def _objects(catalog: Catalog, bundle: Bundle, offer: Offer) -> Iterator[tuple[str, bytes]]:
    files: Mapping[str, str] = bundle.body["files"]
    yield from ((digest, bundle.file(path)) for path, digest in files.items())
    yield from ((one["manifest"], catalog.get(one["manifest"])) for one in offer.evidence)
