"""What seeds and patients each contribute: how often one loss beats another, which rank it has, where scores spread."""

from dataclasses import dataclass

import numpy as np

from chaos_seg.evaluation.statistics import DECIMALS, Interval

RESAMPLES = 5000


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the scores of one loss, by what they come from.

    `patients`: a patient's mean over seeds; `seeds`: a seed's mean over patients; `rest`: what a seed does to one
    patient alone. NaN where one seed or one patient leaves them unknown.
    """

    patients: float
    seeds: float
    rest: float


def probability_better(first: np.ndarray, second: np.ndarray, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The chance that a run of `first` scores a patient higher than one of `second`, ties half, and its interval.

    All pairs of runs of a patient, then the mean over patients: rliable's probability of improvement (Agarwal et al.,
    NeurIPS 2021). The interval is the bootstrap's percentiles over patients and, of each loss by itself, over seeds; a
    seed is drawn for all its patients, for it is one network. From one seed it speaks of these networks alone. Of 95 %
    intervals this share held the true chance at 1, 2, 3, 5 and 10 seeds of 20 patients (benchmarks/claims.py): 78, 91,
    94, 95, 96 % where seeds move all patients by half of what they do to each, 43, 79, 84, 91, 93 % where by the
    triple. Below 3 patients there is none: NaN.

    Args:
        first, second: scores (seeds, patients), of the same patients.
    """
    first, second = np.round(first, DECIMALS), np.round(second, DECIMALS)
    n = first.shape[1]
    higher = np.sign(first[:, None] - second[None]) / 2 + 0.5  # (seeds, seeds, patients)
    value = float(higher.mean())
    if n < 3:
        return Interval(value, np.nan, np.nan, confidence, n)
    rng = np.random.default_rng(seed)
    of_patients, of_first, of_second = (
        rng.multinomial(k, np.full(k, 1 / k), RESAMPLES) / k for k in (n, len(first), len(second))
    )
    by_seeds = (of_patients @ higher.reshape(-1, n).T).reshape(-1, len(first), len(second))
    resampled = np.einsum("rij,ri,rj->r", by_seeds, of_first, of_second)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), confidence, n)


def rank_shares(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """How often each loss has each rank by its mean when patients are drawn anew: float64 (losses, ranks).

    Rank 0 is the highest mean; losses that tie share the better rank, as in challengeR (Wiesenfarth et al., Scientific
    Reports 11 (2021) 2369).

    Args:
        scores: (losses, patients), higher is better.
    """
    losses, n = scores.shape
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    means = np.round(drawn @ scores.T / n, DECIMALS)  # (resamples, losses)
    ranks = (means[:, None, :] > means[:, :, None]).sum(axis=2)
    shares: np.ndarray = (ranks[:, :, None] == np.arange(losses)).mean(axis=0)
    return shares


def spread(scores: np.ndarray) -> Spread:
    """The variance of scores (seeds, patients) split by the analysis of variance of two crossed random factors without
    repeats (Searle, Casella and McCulloch, Variance Components, 4.3); a share below 0 is 0.
    """
    seeds, patients = scores.shape
    if min(seeds, patients) < 2:
        return Spread(float(np.std(scores, ddof=1)) if patients > 1 and seeds == 1 else np.nan, np.nan, np.nan)
    of_seed, of_patient = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
    rest = float(((scores - of_seed - of_patient + scores.mean()) ** 2).sum() / ((seeds - 1) * (patients - 1)))
    return Spread(
        patients=float(np.sqrt(max(0.0, of_patient.var(ddof=1) - rest / seeds))),
        seeds=float(np.sqrt(max(0.0, of_seed.var(ddof=1) - rest / patients))),
        rest=float(np.sqrt(rest)),
    )
