"""Which case comes first: what the model is least sure of teaches it most."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import WrongUse

KIND = "uncertainty"
_SURE = 0.05  # below this probability of any label a voxel is background, and most of a scan would hide the rest


def order(series_uids: Sequence[str], how: str, *, scores: Mapping[str, float], seed: int = 7) -> tuple[str, ...]:
    """Return the worklist in the order in which it is to be read.

    Parameters
    ----------
    series_uids
        SeriesInstanceUID (0020,000E) of every case.
    how
        ``uncertain`` (the highest score first; a case without one comes last), ``random`` or ``first`` (as given).
    scores
        Uncertainty of the proposal by SeriesInstanceUID, 0 to 1.
    seed
        Of ``random``; the same cases and seed give the same order, in whichever order they are given.

    Raises
    ------
    WrongUse
        There is no such order.
    """
    if how not in _ORDERS:
        msg = f"order {how!r}: one of {', '.join(_ORDERS)} is expected"
        raise WrongUse(msg)
    return _ORDERS[how](series_uids, scores, seed)


def worklist(
    catalog: Catalog, series_uids: Sequence[str], how: str, *, model: str, scores: Mapping[str, float] | None = None,
    seed: int = 7,
) -> tuple[str, ...]:  # fmt: skip
    """Return the worklist in order; without ``scores`` by those that a model (digest) was given when it proposed.

    Raises
    ------
    WrongUse
        No such order, or nothing says how unsure anything is.
    """
    known = scores if scores is not None or how != "uncertain" else scores_of(catalog, series_uids, model=model)
    if how == "uncertain" and not known:
        msg = ("nobody knows how unsure the model is of these series: let it propose first (annotate with assist=, and "
               "order=\"first\"), then make the task that reads the unsure ones first")  # fmt: skip
        raise WrongUse(msg)
    return order(series_uids, how, scores=known or {}, seed=seed)


def _uncertain(series_uids: Sequence[str], scores: Mapping[str, float], _seed: int) -> tuple[str, ...]:
    return tuple(sorted(series_uids, key=lambda uid: -scores.get(uid, -1.0)))


def _random(series_uids: Sequence[str], _scores: Mapping[str, float], seed: int) -> tuple[str, ...]:
    return tuple(str(uid) for uid in np.random.default_rng(seed).permutation(sorted(series_uids)))


def _first(series_uids: Sequence[str], _scores: Mapping[str, float], _seed: int) -> tuple[str, ...]:
    return tuple(series_uids)


_ORDERS: Mapping[str, Callable[[Sequence[str], Mapping[str, float], int], tuple[str, ...]]] = {
    "uncertain": _uncertain, "random": _random, "first": _first,
}  # fmt: skip


def uncertainty(logits: np.ndarray) -> float:
    """Return how unsure a model is of its proposal: the mean entropy where there may be a label, 0 to 1.

    1 also where it finds nothing at all: that is to be looked at first.

    Parameters
    ----------
    logits
        float32, shape (channels, slices, rows, columns), channel 0 is background.
    """
    flat = logits.reshape(len(logits), -1)
    shares = np.exp(flat - flat.max(axis=0))
    shares /= shares.sum(axis=0)
    shares = shares[:, shares[0] < 1 - _SURE]
    if not shares.size:
        return 1.0
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=0)
    return float(entropy.mean() / np.log(len(logits)))


def keep_score(catalog: Catalog, series_uid: str, score: float, *, model: str) -> None:
    """Record the uncertainty of a model's (digest) proposal on a series."""
    catalog.append(KIND, {"series": series_uid, "score": round(score, 6)}, name=series_uid, parents=[model])


def scores_of(catalog: Catalog, series_uids: Sequence[str], *, model: str) -> dict[str, float]:
    """Return the recorded uncertainty of a model's (digest) proposals, of the series that it has proposed on."""
    found = (record for uid in series_uids for record in catalog.query(KIND, name=uid) if model in record.parents)
    return {record.name: float(record.body["score"]) for record in found}
