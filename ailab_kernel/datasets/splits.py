"""Who learns and who is tested: splits by patient, never by image."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

from ailab_kernel.ground.errors import DatasetError, Leakage, WrongUse
from ailab_kernel.ground.ids import sha256

SPLITS = ("train", "tune", "test")


def split_by_patient(patients: Sequence[str], fractions: Sequence[float], *, seed: int = 0) -> dict[str, str]:
    """Give each patient one split.

    Parameters
    ----------
    patients
        Pseudonyms; repeats are one patient.
    fractions
        Shares of train, tune and test; they sum to 1. A share above 0 gets at least one patient.
    seed
        Another seed, another draw; the order of ``patients`` does not matter.

    Returns
    -------
    dict
        Patient to split name.
    """
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        msg = f"split = {tuple(fractions)}: three shares (train, tune, test) that sum to 1 are expected: 0.7,0.15,0.15"
        raise WrongUse(msg)
    drawn = sorted(set(patients), key=lambda patient: sha256(f"{seed}/{patient}".encode()))
    counts = _counts(len(drawn), fractions)
    ends = list(accumulate(counts))
    return {patient: SPLITS[bisect_right(ends, place)] for place, patient in enumerate(drawn)}


def _counts(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near ``total * fractions``, at least 1 where the share is above 0; the largest share gives way."""
    wanted = sum(share > 0 for share in fractions)
    if total < wanted:
        msg = f"{total} patients cannot fill {wanted} splits; annotate more patients or set a share to 0"
        raise DatasetError(msg)
    counts = [max(1, round(total * share)) if share > 0 else 0 for share in fractions]
    counts[counts.index(max(counts))] += total - sum(counts)
    return counts


def check_leakage(patient_of: Mapping[str, str], split_of: Mapping[str, str], pixels_of: Mapping[str, str]) -> None:
    """Raise Leakage when one patient, or one pixel digest, stands on two sides.

    Parameters
    ----------
    patient_of, split_of, pixels_of
        Case id to patient pseudonym, to split name, and to the SHA-256 of its image's pixels.
    """
    for what, group_of in (("patient", patient_of), ("image", pixels_of)):
        sides: dict[str, set[str]] = {}
        for case, group in group_of.items():
            sides.setdefault(group, set()).add(split_of[case])
        for group, splits in sorted(sides.items()):
            if len(splits) > 1:
                msg = f"{what} {group[:16]} stands in {' and '.join(sorted(splits))}: none may stand on two sides"
                raise Leakage(msg)
