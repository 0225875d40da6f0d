"""A dataset version: cases, splits and digests, frozen under a name such as ``heart-wall@1``."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ailab_kernel.dicom.codes import Code
from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import DatasetError, NotFound
from ailab_kernel.ground.ids import Ref, check_name
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.pack import unpack_mask
from ailab_kernel.volumes.volume import Volume

from .intake import Image, image_volume
from .splits import SPLITS, check_leakage, split_by_patient

KIND = "dataset"


@dataclass(frozen=True)
class Annotated:
    """An image with an accepted annotation, ready to be frozen.

    Attributes
    ----------
    image
        The series on the research side.
    truth
        SHA-256 of the mask's pack.
    labels
        What its values mean.
    record
        Digest of the annotation's record: who drew it, from which proposal.
    """

    image: Image
    truth: str
    labels: tuple[Label, ...]
    record: str = ""


@dataclass(frozen=True)
class Case:
    """One image and its truth in a dataset version.

    Attributes
    ----------
    id
        Short pseudonym of the series, stable in this lab.
    patient
        Pseudonym.
    split
        ``train``, ``tune`` or ``test``.
    image, truth
        SHA-256 of the packs.
    facts
        Technical attributes by DICOM keyword, ``site`` and ``pixels`` (a hash of the stored values), for subgroups and
        against leakage.
    """

    id: str
    patient: str
    split: str
    image: str
    truth: str
    study_uid: str
    series_uid: str
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def pixels(self) -> str:
        """SHA-256 of the stored values; of the whole pack, for images that came in before it was kept."""
        return self.facts.get("pixels", self.image)


@dataclass(frozen=True)
class DatasetVersion:
    """Frozen cases under ``name@version``."""

    name: str
    version: int
    digest: str
    labels: tuple[Label, ...]
    cases: tuple[Case, ...] = field(repr=False)
    parents: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def split(self, name: str) -> tuple[Case, ...]:
        """Cases of one split.

        Raises
        ------
        DatasetError
            The split is empty.
        """
        cases = tuple(case for case in self.cases if case.split == name)
        if not cases:
            counts = Counter(case.split for case in self.cases)
            msg = f"dataset {self.ref} has no {name} cases, only {dict(counts)}; freeze one with a {name} share"
            raise DatasetError(msg)
        return cases

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{column}</th>" for column in ("split", "cases", "patients"))
        rows = "".join(_row(name, [case for case in self.cases if case.split == name]) for name in SPLITS)
        labels = ", ".join(html.escape(label.name) for label in self.labels)
        title = f"<p><b>{self.ref}</b> labels: {labels}; digest {self.digest[:12]}</p>"
        return f"{title}<table><tr>{head}</tr>{rows}</table>"


class Datasets:
    """The lab's dataset versions, a view on its catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def freeze(
        self,
        name: str,
        accepted: Sequence[Annotated],
        *,
        split: Sequence[float] | Mapping[str, str] = (0.7, 0.15, 0.15),
        seed: int = 0,
    ) -> DatasetVersion:
        """Freeze accepted annotations under a name and return the version; the same content is frozen once.

        Parameters
        ----------
        name
            Kebab-case.
        accepted
            Annotated images with the same labels.
        split
            Shares of train, tune and test (drawn by patient), or a table from series UID to split name.
        seed
            Of the draw.

        Raises
        ------
        DatasetError, Leakage
            Nothing accepted, labels that differ, a patient or image on two sides.
        """
        check_name(name)
        labels = _same_labels(name, accepted)
        split_of = self._split_of(accepted, split, seed)
        cases = sorted((self._case(item, split_of) for item in accepted), key=lambda case: case.id)
        ids = {case.id: case for case in cases}
        check_leakage(
            {key: case.patient for key, case in ids.items()},
            {key: case.split for key, case in ids.items()},
            {key: case.pixels for key, case in ids.items()},
        )
        body = {"labels": [asdict(label) for label in labels], "cases": [asdict(case) for case in cases]}
        parents = sorted({digest for item in accepted for digest in (item.image.record, item.record) if digest})
        return _version(self._catalog.append(KIND, body, name=name, parents=parents))

    def get(self, ref: str) -> DatasetVersion:
        """Return the dataset that ``name`` (newest) or ``name@2`` means."""
        wished = Ref.parse(ref)
        found = self._catalog.query(KIND, name=wished.name, version=wished.version) if not wished.alias else []
        if not found:
            known = sorted({record.ref for record in self._catalog.query(KIND)})
            msg = f"there is no dataset {ref}; known here: {', '.join(known) or 'none'} (ailab datasets list)"
            raise NotFound(msg)
        return _version(found[-1])

    def find(self, digest: str) -> DatasetVersion:
        """Return the dataset version whose record has this digest."""
        found = self._catalog.query(KIND, digest=digest)
        if not found:
            msg = f"there is no dataset with digest {digest[:12]}"
            raise NotFound(msg)
        return _version(found[0])

    def all(self) -> tuple[DatasetVersion, ...]:
        """Return every dataset version, oldest first."""
        return tuple(_version(record) for record in self._catalog.query(KIND))

    def load(self, case: Case, labels: Sequence[Label]) -> tuple[Volume, Mask]:
        """Return image and truth of a case, both checked against their digests."""
        return image_volume(self._catalog, case.image), load_mask(self._catalog, case.truth, labels)

    def check(self, dataset: DatasetVersion) -> None:
        """Raise SealBroken or NotFound unless every image and truth still has its digest."""
        for case in dataset.cases:
            self._catalog.check(case.image)
            self._catalog.check(case.truth)

    def _split_of(
        self, accepted: Sequence[Annotated], split: Sequence[float] | Mapping[str, str], seed: int
    ) -> dict[str, str]:
        """Series UID to split name."""
        if not isinstance(split, Mapping):
            drawn = split_by_patient([item.image.patient for item in accepted], split, seed=seed)
            return {item.image.series_uid: drawn[item.image.patient] for item in accepted}
        missing = [item.image.series_uid for item in accepted if split.get(item.image.series_uid) not in SPLITS]
        if missing:
            msg = f"series {missing[0]} has no split; each of {len(accepted)} needs one of {', '.join(SPLITS)}"
            raise DatasetError(msg)
        return dict(split)

    def _case(self, item: Annotated, split_of: Mapping[str, str]) -> Case:
        image = item.image
        return Case(
            id=self._catalog.pseudonym("series", image.series_uid)[:8],
            patient=image.patient,
            split=split_of[image.series_uid],
            image=image.digest,
            truth=item.truth,
            study_uid=image.study_uid,
            series_uid=image.series_uid,
            facts=dict(image.facts),
        )


def load_mask(catalog: Catalog, digest: str, labels: Sequence[Label]) -> Mask:
    """Return a kept mask, its bytes checked against ``digest``."""
    from dataclasses import replace

    return replace(unpack_mask(catalog.get(digest)), labels=tuple(labels))


def _same_labels(name: str, accepted: Sequence[Annotated]) -> tuple[Label, ...]:
    if not accepted:
        msg = f"nothing to freeze as {name}: no annotation was accepted; accept some first (task.accept)"
        raise DatasetError(msg)
    labels = {item.labels for item in accepted}
    if len(labels) > 1:
        msg = f"nothing frozen as {name}: the annotations carry {len(labels)} different label sets; freeze them apart"
        raise DatasetError(msg)
    return labels.pop()


def _version(record: Record) -> DatasetVersion:
    labels = tuple(_label(value) for value in record.body["labels"])
    cases = tuple(Case(**value) for value in record.body["cases"])
    return DatasetVersion(record.name, record.version, record.digest, labels, cases, record.parents)


def _label(value: Mapping[str, Any]) -> Label:
    coded = {"code": Code(**value["code"]), "category": Code(**value["category"]), "color": tuple(value["color"])}
    return Label(**{**value, **coded})


def _row(name: str, cases: list[Case]) -> str:
    return f"<tr><td>{name}</td><td>{len(cases)}</td><td>{len({case.patient for case in cases})}</td></tr>"
