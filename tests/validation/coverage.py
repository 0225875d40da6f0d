"""Simulated studies: how often each interval covers the truth, and how often a gate lets through what it must not.

``python -m tests.validation.coverage`` prints the table of docs/validation.md.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, sqrt
from statistics import NormalDist

import numpy as np

from ailab_kernel.models.acceptance import parse
from ailab_kernel.reports.record.beside import compared
from ailab_kernel.validation.calibration import calibration
from ailab_kernel.validation.detection import ScanFindings, froc
from ailab_kernel.validation.gates import Study, judge
from ailab_kernel.validation.rated import Rated, Whole
from ailab_kernel.validation.statistics import (
    MINIMUM,
    auc,
    compare_auc,
    mcnemar_p,
    mean_interval,
    paired_p,
    proportion,
)
from ailab_kernel.validation.study import CaseScores
from ailab_kernel.validation.subgroups import Groups

FULL, SEED = 2000, 20261130
# Of an ordinary test run, by family: as many as cost a few seconds.
SAMPLE = {"shares": 500, "means": 60, "areas": 500, "tests": 500, "gates": 60, "wholes": 40, "apart": 60}
# Figures as segmentations have them: Dice with a tail to the left, distances with one to the right.
POPULATIONS: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda random, n: random.normal(0.8, 0.1, n), 0.8),
    "Dice, beta(8, 2)": (lambda random, n: random.beta(8, 2, n), 0.8),
    "Dice, beta(20, 3)": (lambda random, n: random.beta(20, 3, n), 20 / 23),
    "distance, gamma(4)": (lambda random, n: random.gamma(4, 1, n), 4.0),
    "distance, lognormal(0.5)": (lambda random, n: random.lognormal(0, 0.5, n), exp(0.125)),
    "distance, exponential": (lambda random, n: random.exponential(2, n), 2.0),
}
SKEWED = ("distance, lognormal(0.5)", "distance, exponential")   # too skewed for BCa at its smallest n


@dataclass(frozen=True)
class Found:
    """A figure of one simulated case: coverage, or the share of false alarms or passes, and what it must keep to."""

    what: str
    population: str
    n: str
    share: float
    low: float
    high: float

    @property
    def kept(self) -> bool:
        return self.low <= self.share <= self.high


def band(share: float, draws: int) -> float:
    """Three Monte Carlo standard errors."""
    return 3 * sqrt(share * (1 - share) / draws)


def names(n: int) -> list[str]:
    return [f"p{number}" for number in range(n)]


def approximate(draws: int) -> tuple[float, float]:
    """93 to 97 %; a sample of the draws may miss them by its own error."""
    more = 0.0 if draws >= FULL else band(0.95, draws)
    return 0.93 - more, min(1.0, 0.97 + more)


def exact(draws: int) -> tuple[float, float]:
    return 0.95 - (0.0 if draws >= FULL else band(0.95, draws)), 1.0


def false_share(level: float, draws: int) -> tuple[float, float]:
    return 0.0, level + band(level, draws)


def shares(draws: int) -> Iterator[Found]:
    random = np.random.default_rng(SEED)
    for n in (20, MINIMUM["share"], 200):
        known = [proportion(count, n) for count in range(n + 1)]
        for truth in (0.5, 0.7, 0.8, 0.9, 0.95):
            drawn = [known[count] for count in random.binomial(n, truth, 10 * draws)]
            covered = float(np.mean([one.exact_low <= truth <= one.exact_high for one in drawn]))
            yield Found("Clopper–Pearson", f"share {truth}", str(n), covered, *exact(draws))
            if n >= MINIMUM["share"]:
                shown = float(np.mean([one.low <= truth <= one.high for one in drawn]))
                yield Found("Wilson", f"share {truth}", str(n), shown, *approximate(draws))


def means(draws: int) -> Iterator[Found]:
    for name, (draw, truth) in POPULATIONS.items():
        for n in (MINIMUM["mean"], 100) if name not in SKEWED else ():
            random = np.random.default_rng(SEED)
            found = [mean_interval(draw(random, n), names(n), seed=number) for number in range(draws)]
            covered = float(np.mean([one.low <= truth <= one.high for one in found]))
            yield Found("mean, BCa by patient", name, str(n), covered, *approximate(draws))
    random, covered, n = np.random.default_rng(SEED), 0, MINIMUM["mean"]
    for number in range(draws):                # one to four studies of a patient, alike among themselves
        counts = random.integers(1, 5, n)
        values = np.repeat(random.normal(0, 1, n), counts) + random.normal(0, 0.2, counts.sum())
        one = mean_interval(values, np.repeat(names(n), counts), seed=number)
        covered += one.low <= 0 <= one.high
    yield Found("mean, BCa by patient", "1 to 4 studies a patient", str(n), covered / draws, *approximate(draws))


def areas(draws: int) -> Iterator[Found]:
    for truth in (0.7, 0.8, 0.9, 0.95):
        apart = sqrt(2) * NormalDist().inv_cdf(truth)
        for n in (MINIMUM["auc"], 100):
            random, found = np.random.default_rng(SEED), np.arange(2 * n) < n
            areas = [auc(random.normal(found * apart, 1), found) for _ in range(draws)]
            covered = float(np.mean([one.low <= truth <= one.high for one in areas]))
            yield Found("AUC, DeLong", f"AUC {truth}", f"{n} + {n}", covered, *approximate(draws))
        random, n = np.random.default_rng(SEED), MINIMUM["auc difference"]
        found, covered = np.arange(2 * n) < n, 0
        for _ in range(draws):                 # two models whose scores share half of their noise
            shared = found * apart + random.normal(0, sqrt(0.5), 2 * n)
            one = compare_auc(*(shared + random.normal(0, sqrt(0.5), (2, 2 * n))), found)
            covered += one.low <= 0 <= one.high
        yield Found("AUC difference, DeLong", f"both {truth}", f"{n} + {n}", covered / draws, *approximate(draws))


def tests(draws: int) -> Iterator[Found]:
    for n in (20, 100):
        random = np.random.default_rng(SEED)
        alarms = [paired_p(random.normal(0, 0.1, n)) < 0.05 for _ in range(draws)]
        yield Found("paired Wilcoxon, false alarms", "no difference", str(n), float(np.mean(alarms)),
                    *false_share(0.05, draws))
        alarms = [mcnemar_p(*(random.random((2, n)) < 0.8)) < 0.05 for _ in range(draws)]
        yield Found("McNemar, false alarms", "both right in 80 %", str(n), float(np.mean(alarms)),
                    *false_share(0.05, draws))


def study(values: np.ndarray, metric: str, rival: np.ndarray | None = None) -> Study:
    rows, other = ([CaseScores(f"c{i:04}", f"p{i}", "wall", {metric: float(value)}) for i, value in enumerate(one)]
                   if one is not None else None for one in (values, rival))
    return Study(rows or [], other, None, Groups())


def gates(draws: int) -> Iterator[Found]:
    """A model that is exactly as good as the threshold: each pass is a false one."""
    for name, (draw, truth) in POPULATIONS.items():
        metric, side = ("hd95", "at_most") if name.startswith("distance") else ("dice", "at_least")
        criteria = parse(f"[[criterion]]\nmetric = '{metric}'\n{side} = {truth!r}")
        for n in (MINIMUM["mean gate"], 50, 100):
            random = np.random.default_rng(SEED)
            passed = [judge(criteria, study(draw(random, n), metric), seed=number).passed for number in range(draws)]
            yield Found("gate on a mean, false passes", name, str(n), float(np.mean(passed)), *false_share(0.025, draws))
    criteria = parse("[[criterion]]\nmetric = 'dice'\nmargin = 0.02\nthan = 'baseline'")
    for n in (MINIMUM["mean gate"], 100):
        random, passed = np.random.default_rng(SEED), 0
        for number in range(draws):            # worse than the baseline by exactly the margin
            base = random.beta(20, 3, n)
            worse = base - 0.02 + random.normal(0, 0.03, n)
            passed += judge(criteria, study(worse, "dice", base), seed=number).passed
        yield Found("gate on a margin, false passes", "worse by the margin", str(n), passed / draws,
                    *false_share(0.025, draws))
    criteria = parse("[[criterion]]\nmetric = 'dice'\nat_least = 0.7\nshare = 0.9")
    for n in (40, 100):                        # a verdict goes by the number of patients alone
        passes = [judge(criteria, study(np.r_[np.ones(count), np.zeros(n - count)], "dice"), seed=1).passed
                  for count in range(n + 1)]  # fmt: skip
        drawn = np.random.default_rng(SEED).binomial(n, 0.9, draws)
        yield Found("gate on a share, false passes", "share 0.9", str(n), float(np.mean([passes[one] for one in drawn])),
                    *false_share(0.025, draws))


# Detectors: how far lesions score above the rest, how many are never found, false findings per scan, how alike a
# patient's scores are.
DETECTORS = {"fair": (1.2, 0.1, 2.0, 0.7), "good": (2.0, 0.05, 2.0, 0.5), "alike": (2.5, 0.02, 2.0, 1.0), "high": (3.0, 0.02, 2.0, 0.3)}
# Classifiers: spread of the true log odds, their middle, by how much they are overstated.
CLASSIFIERS = {"calibrated": (2.0, 0.0, 1.0), "overconfident": (1.5, 0.0, 2.0), "rare finding": (1.5, -2.0, 1.3)}


def detector(random: np.random.Generator, n: int, kind: tuple[float, ...]) -> tuple[ScanFindings, ...]:
    """Scans of which every second one has one to three lesions."""
    apart, missed, false, alike = kind
    found = []
    for number in range(n):
        own, count = random.normal(0, alike), number % 2 * int(random.integers(1, 4))
        scores = [float(random.normal(apart, 1) + own) if random.random() >= missed else None for _ in range(count)]
        other = (random.normal(0, 1, random.poisson(false * random.gamma(2, 0.5))) + own / 2).tolist()
        found.append(ScanFindings(f"c{number}", f"p{number}", (1.0,) * count, tuple(scores), tuple(other), (1.0,) * len(other)))
    return tuple(found)


def classifier(random: np.random.Generator, n: int, kind: tuple[float, ...]) -> tuple[Rated, ...]:
    spread, middle, overstated = kind
    odds = random.normal(middle, spread, n)
    truth = random.random(n) < 1 / (1 + np.exp(-odds))
    return tuple(Rated(f"c{i}", f"p{i}", float(1 / (1 + np.exp(-odds[i] * overstated))), bool(truth[i])) for i in range(n))


def passes(toml: str, whole: Whole, seed: int) -> bool:
    return judge(parse(f"[[criterion]]\n{toml}"), Study((), None, None, Groups(), whole), seed=seed).passed


def wholes(draws: int) -> Iterator[Found]:
    """A model that is exactly as good as the threshold, over all cases at once: each pass is a false one."""
    allowed = false_share(0.025, draws)
    for truth, spread in ((0.8, 1.0), (0.9, 1.0), (0.95, 1.0), (0.8, 2.0), (0.9, 2.0), (0.95, 2.0)):
        apart = sqrt(1 + spread**2) * NormalDist().inv_cdf(truth)
        for with_it, without in ((MINIMUM["auc gate"], MINIMUM["auc gate"]), (30, 100), (100, 30), (100, 100)):
            random, has = np.random.default_rng(SEED), np.arange(with_it + without) < with_it
            passed = 0
            for number in range(draws):
                scores = random.normal(has * apart, np.where(has, spread, 1.0))
                rated = tuple(Rated(f"c{i}", f"p{i}", float(one), bool(there)) for i, (one, there) in enumerate(zip(scores, has, strict=True)))
                passed += passes(f"metric = 'auc'\nat_least = {truth}", Whole(rated=rated), number)
            yield Found("gate on an AUC, false passes", f"AUC {truth}, spread of those with it {spread:g}", f"{with_it} + {without}",
                        passed / draws, *allowed)
    for name, kind in DETECTORS.items():
        truth = froc(detector(np.random.default_rng(SEED), 40_000, kind), rates=(1.0,)).at_rates[0]
        for n in (2 * MINIMUM["froc gate"], 100):
            random = np.random.default_rng(SEED + 1)
            toml = f"metric = 'froc_sensitivity'\nfalse_positives = 1\nat_least = {truth}"
            passed = sum(passes(toml, Whole(detector(random, n, kind)), number) for number in range(draws))
            yield Found("gate on FROC at 1 per scan, false passes", f"{name}, sensitivity {truth:.3f}", str(n), passed / draws, *allowed)
    for name, kind in CLASSIFIERS.items():
        many = classifier(np.random.default_rng(SEED), 200_000, kind)
        whole = calibration([one.value for one in many], [one.truth for one in many])
        for metric, limit in (("brier", whole.brier), ("ece", whole.ece)):
            for n in (MINIMUM[f"{metric} gate"], 100) if metric == "brier" or limit > 0.02 else ():
                random = np.random.default_rng(SEED + 1)
                passed = sum(passes(f"metric = '{metric}'\nat_most = {limit}", Whole(rated=classifier(random, n, kind)), number)
                             for number in range(draws))
                yield Found(f"gate on {metric}, false passes", f"{name}, {limit:.3f}", str(n), passed / draws, *allowed)


def apart(draws: int) -> Iterator[Found]:
    """Two datasets of different patients, of unequal spread: the difference of the means (`record.compare_reports`)."""
    def rows(values: np.ndarray, whose: str) -> list[CaseScores]:
        return [CaseScores(f"{whose}{i}", f"{whose}{i}", "wall", {"dice": float(value)}) for i, value in enumerate(values)]

    for name, first, second, truth in (("normal", (0.8, 0.1), (0.8, 0.05), 0.0), ("beta(8, 2) and beta(20, 3)", (8, 2), (20, 3), 20 / 23 - 0.8)):
        random, covered, n = np.random.default_rng(SEED), 0, MINIMUM["mean"]
        draw = random.normal if name == "normal" else random.beta
        for number in range(draws):
            _, (one,) = compared([{"wall": rows(draw(*part, n), whose)} for part, whose in ((first, "a"), (second, "b"))], "dice", number)
            covered += one.low <= truth <= one.high
        yield Found("two datasets, BCa", name, f"{n} and {n}", covered / draws, *approximate(draws))


FAMILIES = {family.__name__: family for family in (shares, means, areas, tests, gates, wholes, apart)}

if __name__ == "__main__":
    sys.stdout.write("| what | simulated | n | found | allowed |\n|---|---|---|---|---|\n")
    for family in FAMILIES.values():
        for one in family(FULL):
            sys.stdout.write(f"| {one.what} | {one.population} | {one.n} | {one.share:.1%} | {one.low:.1%} to "
                             f"{one.high:.2%} |{'' if one.kept else ' MISSED'}\n")
            sys.stdout.flush()
