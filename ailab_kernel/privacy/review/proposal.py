"""What the engine proposes for one object that a person is to look at. It says where text is, never what it says."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset

from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.privacy.pixels.pictures import Frames
from ailab_kernel.privacy.pixels.redact import Redaction
from ailab_kernel.privacy.pixels.risk import Look
from ailab_kernel.privacy.pixels.search import Found
from ailab_kernel.privacy.pixels.texts import Fate

from .places import Place, places_of, read_places

_MODALITY = re.compile(r"[A-Z]{2,8}")          # anything else might be a name in the wrong field
_LIKE = "as in a frame that was read"


@dataclass(frozen=True)
class Proposal:
    """One object, and what the engine would mask in it.

    Attributes
    ----------
    name, number, study, instance
        As in `bulk.Line`: a keyed digest, places in the input, the stand-in of the SOP Instance UID.
    modality
        Modality (0008,0060), where it is one.
    frames, shape
        Number of Frames (0028,0008); Rows and Columns.
    even
        Whether edges lie on even columns only, because pairs of pixels share their colour.
    why, held
        What the rules say, and why the engine doubts.
    places, fates
        What it would mask, and why, one for one.
    stays
        Where it read text that it would leave.
    met
        Where an identifier was still read after a person's decision.
    summary
        Of the redaction, for the report.
    """

    name: str
    number: int
    study: int
    instance: str
    modality: str
    frames: int
    shape: tuple[int, int]
    even: bool
    why: str
    held: str
    places: tuple[Place, ...]
    fates: tuple[str, ...]
    stays: tuple[Place, ...] = ()
    met: tuple[Place, ...] = ()
    summary: dict[str, int | str] = field(default_factory=dict)

    def fitted(self, place: Place) -> Place | None:
        """The place inside the frames, as it would be masked; None where nothing of it is."""
        rows, columns = self.shape
        left, right = max(place.left, 0), min(place.right, columns)
        if self.even:
            left, right = left // 2 * 2, min(-(-right // 2) * 2, columns)
        made = Place(max(place.first, 0), min(place.last, self.frames - 1), max(place.top, 0), left,
                     min(place.bottom, rows), right)  # fmt: skip
        return made if made.first <= made.last and made.top < made.bottom and left < right else None

    def keep(self, folder: Path) -> None:
        """Write it into the folder of a review."""
        atomic_write(folder / f"{self.name}.json", json.dumps(asdict(self)).encode() + b"\n")

    @classmethod
    def read(cls, folder: Path, name: str) -> "Proposal | None":
        """Return the one of an object, where there is one.

        Raises
        ------
        DatasetError
            Its file is damaged.
        """
        path = folder / f"{name}.json"
        if not path.is_file():
            return None
        try:
            told = json.loads(path.read_bytes())
            places = {key: read_places(told[key]) for key in ("places", "stays", "met")}
            return cls(**told | places | {"shape": tuple(told["shape"]), "fates": tuple(told["fates"])})
        except (ValueError, KeyError, TypeError):
            msg = f"the proposal of {name[:8]} is damaged; delete its file, and run the same command again"
            raise DatasetError(msg) from None


def proposals_in(folder: Path) -> list[Proposal]:
    """Every proposal of a review, in the order of the input."""
    found = (Proposal.read(folder, path.stem) for path in folder.glob("*.json"))
    return sorted((one for one in found if one), key=lambda one: (one.study, one.number))


def doubts(made: Redaction) -> bool:
    """Whether a person should look: something was masked or held, or text is expected or was hardly read."""
    unsure = any(one.fate is Fate.UNSURE for one in made.found)
    return bool(made.boxes or made.held) or made.risk.look is Look.ALL or unsure


def proposed(ds: Dataset, made: Redaction, **told: Any) -> Proposal:
    """Return the proposal that a redaction is.

    Parameters
    ----------
    ds
        The object, de-identified; its frames tell the size.
    made
        What the engine did to a copy that nobody gets.
    told
        ``name``, ``number``, ``study`` and ``instance``.
    """
    frames = Frames(ds)
    places = places_of(made.boxes)
    stays = ((one.frame, one.text.box) for one in made.found if not one.fate.goes)
    modality = str(ds.get("Modality") or "")
    return Proposal(
        **told, modality=modality if _MODALITY.fullmatch(modality) else "", frames=frames.count, shape=frames.shape,
        even=frames.halved, why=made.risk.why, held=made.held, places=places,
        fates=tuple(_fate(one, made.found) for one in places), stays=joined(stays), summary=made.summary)  # fmt: skip


def joined(boxes: Iterable[tuple[int, Any]]) -> tuple[Place, ...]:
    """Places of pairs of frame and box."""
    by_frame: dict[int, list[Any]] = {}
    for frame, box in boxes:
        by_frame.setdefault(frame, []).append(box)
    return places_of(by_frame)


def _fate(place: Place, found: Iterable[Found]) -> str:
    inside = [(place.box.overlap(one.text.box), one.fate.value) for one in found
              if one.fate.goes and place.first <= one.frame <= place.last]  # fmt: skip
    most, fate = max(inside, default=(0, _LIKE))
    return fate if most else _LIKE
