"""Losses compared patient by patient: means with intervals, exact paired tests, and what so few patients can tell.

The patient is the unit (pairing.per_patient: one value a patient). Intervals and p speak of other patients under the
same training runs, not of other seeds. Patients tested in different folds are taken as independent, which holds only
roughly: their networks share training patients.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, count

import numpy as np
from scipy.stats import bootstrap, rankdata

from chaos_seg.evaluation.pairing import Paired

RESAMPLES = 9999
# 0.95 - 0.94 and 0.94 - 0.93 differ in their last bit: differences are equal, or zero, after rounding to this.
DECIMALS = 10
EQUAL_DICE = 0.005  # a difference that doesn't matter in practice, unless the user says another
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A value of `n` patients and its interval; `level` is the share of such intervals that hold the true value."""

    value: float
    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True)
class PairComparison:
    """`first` minus `second`: its median over patients with interval, p, and the smallest p that n patients can give.

    `higher` and `equal` count the patients whose score under `first` is higher than, or the same as, under `second`;
    `pairs` is the size of the family that Holm's p is adjusted for; the interval is this pair's own, not adjusted.
    `detectable` is of patients that spread like these: see detectable().
    """

    first: str
    second: str
    higher: int
    equal: int
    difference: Interval
    p: float
    holm_p: float
    smallest_p: float
    smallest_holm_p: float
    pairs: int
    detectable: float

    def verdict(self, margin: float = EQUAL_DICE, alpha: float = 0.05) -> str:
        """`A better`, `equal` for practice, `A better, equal` or `can not tell`.

        Better goes by Holm's p. Equal: the whole interval lies within +-`margin`, the region of practical equivalence
        (Kruschke, AMPPS 1 (2018) 270-280), at a level of at least 1 - alpha: of pairs that differ by the margin at most
        alpha / 2 are called equal, each end of the interval being a one-sided test.
        """
        d, said = self.difference, []
        if self.holm_p <= alpha:
            ahead = d.value > 0 or (d.value == 0 and 2 * self.higher > d.n - self.equal)
            said.append(f"{self.first if ahead else self.second} better")
        if d.level >= 1 - alpha and -margin <= d.low and d.high <= margin:
            said.append("equal")
        return ", ".join(said) or "can not tell"


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean of values (patients,) and its BCa bootstrap interval over patients (Efron 1987, scipy.stats.bootstrap).

    The interval is too narrow for few patients. Of 95 % intervals this share held the true mean in a simulation, first
    for normal scores, then for scores as skewed as Dice near 1: n=5 84 %, 78 %; n=7 88 %, 82 %; n=20 93 %, 89 %.
    Below 3 patients there is none: NaN. Equal values have one without width.

    Raises:
        ValueError: no values, or one that is not finite; per_patient leaves those out.
    """
    values = np.sort(_finite(values))
    mean, n = float(values.mean()), len(values)
    if n < 3:
        return Interval(mean, np.nan, np.nan, confidence, n)
    if np.ptp(values) < 10.0**-DECIMALS:
        return Interval(mean, mean, mean, confidence, n)
    # random_state is what scipy calls rng before 1.15, and still takes.
    resampled = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=confidence, random_state=np.random.default_rng(seed)
    )
    return Interval(
        mean, float(resampled.confidence_interval.low), float(resampled.confidence_interval.high), confidence, n
    )


def compare_pairs(paired: Paired, confidence: float = 0.95) -> list[PairComparison]:
    """Every pair of losses, in the order of the losses; p adjusted over all of them."""
    pairs = list(combinations(paired.by_loss, 2))
    differences = [np.round(paired.by_loss[a] - paired.by_loss[b], DECIMALS) for a, b in pairs]
    p_values = [signed_rank_p(d) for d in differences]
    least = smallest_p(len(paired.patients))
    return [
        PairComparison(
            first=first,
            second=second,
            higher=int((d > 0).sum()),
            equal=int((d == 0).sum()),
            difference=median_interval(d, confidence),
            p=p,
            holm_p=adjusted,
            smallest_p=least,
            smallest_holm_p=min(1.0, len(pairs) * least),
            pairs=len(pairs),
            detectable=detectable(d, len(pairs)),
        )
        for (first, second), d, p, adjusted in zip(pairs, differences, p_values, holm(p_values), strict=True)
    ]


def signed_rank_p(differences: Sequence[float] | np.ndarray) -> float:
    """Exact two-sided p of Wilcoxon's signed-rank test (Wilcoxon 1945) for differences (patients,).

    Zeros are dropped and equal sizes share their mean rank; the distribution is that of these very ranks over all 2^n
    signs, so that ties leave it exact. (scipy's method='exact' takes the ranks 1..n and is not exact with ties.)

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    d = np.round(_finite(differences), DECIMALS)
    d = d[d != 0]
    doubled = np.rint(2 * rankdata(np.abs(d))).astype(int)  # mean ranks are whole or half numbers
    positive, total = int(doubled[d > 0].sum()), int(doubled.sum())
    return min(1.0, 2 * float(_rank_sums(doubled)[max(positive, total - positive) :].sum()))


def median_interval(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Median difference of differences (patients,) and its exact interval, both of the signed-rank test.

    The median is Hodges and Lehmann's (1963): of the means of all pairs of differences, each paired with itself too;
    where differences are symmetric, as the test assumes, it estimates their plain median. The interval is Tukey's, from
    the same means in order (Hollander and Wolfe, Nonparametric Statistical Methods, 3.3). `level` is what it achieves:
    at least `confidence` where n allows, else that of the widest interval, 1 - 2 / 2^n: below 95 % for n < 6. With
    ties it is a lower bound.

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    d = _finite(differences)
    n = len(d)
    rows, columns = np.triu_indices(n)
    walsh = np.sort(np.round((d[rows] + d[columns]) / 2, DECIMALS))
    tail = np.cumsum(_rank_sums(range(1, n + 1)))  # P(rank sum <= 0, 1, ...)
    cut = max(0, int(np.count_nonzero(2 * tail <= 1 - confidence + 1e-12)) - 1)
    return Interval(float(np.median(walsh)), float(walsh[cut]), float(walsh[-1 - cut]), float(1 - 2 * tail[cut]), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p adjusted for all of p_values, in their order (Holm 1979): the k-th smallest of m, k = 0.., times m - k."""
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = so_far
    return adjusted


def smallest_p(n: int) -> float:
    """The smallest two-sided signed-rank p of n patients, all differing in one direction: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - n))


def patients_needed(pairs: int, alpha: float = 0.05) -> int:
    """The fewest patients with which one of `pairs` can reach alpha after Holm: 6 for one pair, 7 for three."""
    return next(n for n in count(1) if pairs * smallest_p(n) <= alpha)


def detectable(differences: np.ndarray, pairs: int = 1, alpha: float = 0.05) -> float:
    """The least true difference that the test finds with probability POWER, after Bonferroni over `pairs`.

    For as many new patients, whose differences spread normally with the standard deviation of `differences`
    (patients,). NaN where so few can show none.
    """
    n = len(differences)
    return float(np.std(differences, ddof=1) * _detectable(n, alpha / pairs)) if n > 1 else float("nan")


@lru_cache
def _detectable(n: int, alpha: float) -> float:
    """detectable() in standard deviations: the test rejects when the median's interval lies above 0, whose lower end
    moves with the shift, so that its POWER quantile over simulated patients is the shift that is asked for.
    """
    cut = int(np.count_nonzero(2 * np.cumsum(_rank_sums(range(1, n + 1))) <= alpha + 1e-12)) - 1
    if cut < 0:
        return float("nan")
    rows, columns = np.triu_indices(n)
    samples = np.random.default_rng(0).normal(size=(max(500, 400_000 // len(rows)), n))
    low = [np.partition((one[rows] + one[columns]) / 2, cut)[cut] for one in samples]
    return float(-np.quantile(low, 1 - POWER))


def too_few(n: int, pairs: int, alpha: float = 0.05) -> str | None:
    """That n patients can not show a difference, whatever their scores, and how many could; None when they can."""
    if pairs * smallest_p(n) <= alpha:
        return None
    family = f", {_p(min(1.0, pairs * smallest_p(n)))} after Holm over {pairs} pairs" if pairs > 1 else ""
    return (
        f"{n} patient{'s' if n > 1 else ''} can not show a difference at {100 * alpha:g} %: the "
        f"smallest possible p is {_p(smallest_p(n))}{family}; it takes {patients_needed(pairs, alpha)} patients."
    )


def sentence(
    pair: PairComparison,
    score: str = "Dice",
    alpha: float = 0.05,
    margin: float = EQUAL_DICE,
) -> str:
    """What a pair shows, in plain English: the effect, its interval, p, and the verdict."""
    d, n = pair.difference, pair.difference.n
    up, down, low, high, above = pair.first, pair.second, d.low, d.high, pair.higher
    lower = n - pair.higher - pair.equal
    if d.value < 0 or (d.value == 0 and lower > pair.higher):
        up, down, low, high, above = down, up, -high, -low, lower
    patients = f"{n} patient{'s' if n > 1 else ''}"
    interval = f"{100 * d.level:.1f} % interval {low + 0:.3f} to {high + 0:.3f}" if n > 1 else "no interval"
    if n > 1 and d.level < 1 - alpha:
        interval += f", the widest that {patients} give"
    same = f", the same for {pair.equal}" if pair.equal else ""
    effect = (
        f"{score} is higher under {up} than under {down} by {abs(d.value):.3f} in the median "
        if d.value
        else f"{score} is the same under {up} and {down} in the median "
    ) + f"({interval}; higher under {up} for {above} of {patients}{same})"
    family = f" after Holm over {pair.pairs} pairs"
    p = f"p {_p(pair.p)}" + (f", {_p(pair.holm_p)}{family}" if pair.pairs > 1 else "")
    verdict = pair.verdict(margin, alpha)
    if pair.smallest_holm_p > alpha and verdict == "can not tell":
        return f"{effect}; {p}: {patients} {'are' if n > 1 else 'is'} too few to tell."
    return f"{effect}; {p}: {_told(pair, verdict, alpha, margin)}"


def _told(pair: PairComparison, verdict: str, alpha: float, margin: float) -> str:
    """The verdict in a sentence."""
    level, within = f"{100 * alpha:g} %", f"the whole interval lies within ±{margin:g}"
    if verdict == "can not tell":
        return (
            f"these patients can not tell, neither a difference at {level} nor equality within ±{margin:g}; "
            f"{pair.difference.n} that spread like them show a difference of {pair.detectable:.3f} in "
            f"{100 * POWER:.0f} % of studies."
        )
    if verdict == "equal":
        return f"equal for practice, {within}."
    better, *equal = verdict.split(" better")
    return f"{better} is better at {level}" + (f", but equal for practice: {within}." if equal[0] else ".")


def _rank_sums(ranks: Iterable[int]) -> np.ndarray:
    """Chance of each sum 0, 1, ... of the ranks that get a plus when every sign is equally likely; float64."""
    chances = np.ones(1)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return chances


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, float)
    if not array.size or not np.isfinite(array).all():
        raise ValueError(f"expected at least one value, all finite, found {array.tolist()}")
    return array


def _p(p: float) -> str:
    return "<0.0001" if p < 1e-4 else f"{p:.3g}"
