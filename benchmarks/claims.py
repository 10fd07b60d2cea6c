"""What the report's statistics are worth, by simulations whose truth is known: error rates, power, coverage.

    python benchmarks/claims.py

A loss adds its difference to each patient, a seed what it does to all of them and to each. Differences
are normal or, as beside a ceiling, skewed (a gamma distribution's). Three minutes on a core.
"""

import numpy as np
from scipy.stats import norm

from chaos_seg.evaluation.conformal import dice_interval
from chaos_seg.evaluation.pairing import Paired
from chaos_seg.evaluation.repeats import probability_better, rank_shares, spread
from chaos_seg.evaluation.statistics import EQUAL_DICE, POWER, compare_pairs, detectable, signed_rank_p
from chaos_seg.reporting.reference import LOSS_AVERAGES, PATIENTS, placed

STUDIES = 2000


def differences(rng: np.random.Generator, n: int, mean: float, sd: float, skewed: bool) -> np.ndarray:
    """(n,) with this mean and standard deviation; skewed ones have the long tail of gamma(2) to the left."""
    shape = (2 - rng.gamma(2.0, 1.0, n)) / np.sqrt(2) if skewed else rng.normal(size=n)
    return mean + sd * shape


def verdicts(rng: np.random.Generator) -> None:
    print("\nVerdicts of one pair, % of studies (better / equal / can not tell); Dice differences of SD s")
    for n, sd in ((8, 0.005), (20, 0.005), (20, 0.01), (60, 0.01)):
        for truth in (0.0, EQUAL_DICE, 0.01):
            for skewed in (False, True):
                said = []
                for _ in range(STUDIES):
                    d = differences(rng, n, truth, sd, skewed)
                    found = Paired(tuple("p" * n), {"a": 0.9 + d, "b": np.full(n, 0.9)}, {}, {})
                    (pair,) = compare_pairs(found)
                    said.append(pair.verdict())
                shares = [100 * np.mean([word in one for one in said]) for word in ("better", "equal", "can not")]
                kind = "skewed" if skewed else "normal"
                print(f"  n={n:<3} s={sd:<5} true {truth:<5} {kind}: " + " / ".join(f"{x:5.1f}" for x in shares))


def powers(rng: np.random.Generator) -> None:
    print(f"\nShare of studies in which a true difference of the size called detectable is found; expected {POWER}")
    for n, pairs in ((6, 1), (8, 3), (20, 1), (20, 3)):
        unit = np.arange(n) - (n - 1) / 2
        size = detectable(unit / unit.std(ddof=1), pairs)
        found = [signed_rank_p(differences(rng, n, size, 1, False)) <= 0.05 / pairs for _ in range(STUDIES)]
        print(f"  n={n:<3} pairs={pairs}: {size:.2f} SD, {np.mean(found):.3f}")


def chances(rng: np.random.Generator) -> None:
    print("\nCoverage of the 95 % interval of P(A better than B), %; SD of what seeds do to all patients, and to each")
    for to_all, to_each in ((0.5, 1.0), (1.0, 0.3)):
        truth = norm.cdf(0.7 / np.sqrt(2 * (1 + to_all**2 + to_each**2)))
        for n in (8, 20):
            covered = []
            for seeds in (1, 2, 3, 5, 10):
                inside = []
                for k in range(STUDIES // 4):
                    runs = [  # each loss does something to each patient, too
                        mean
                        + rng.normal(0, 1, n)
                        + rng.normal(0, to_all, (seeds, 1))
                        + rng.normal(0, to_each, (seeds, n))
                        for mean in (0.7, 0.0)
                    ]
                    found = probability_better(runs[0], runs[1], seed=k)
                    inside.append(found.low <= truth <= found.high)
                covered.append(f"{seeds}: {100 * np.mean(inside):.0f}")
            print(f"  {to_all}, {to_each}; {n} patients, by seeds: {', '.join(covered)}")


def ranks(rng: np.random.Generator) -> None:
    print("\nShare of bootstrap samples that give the first rank to the truly best of three losses, mean over studies,")
    print("beside how often the best has the best mean of new patients")
    for n in (8, 20, 60):
        shares, best = [], []
        for k in range(STUDIES // 4):
            scores = np.array([[0.9], [0.904], [0.908]]) + rng.normal(0, 0.01, (3, n))
            shares.append(rank_shares(scores, seed=k)[2, 0])
            best.append(scores.mean(axis=1).argmax() == 2)
        print(f"  n={n:<3}: {np.mean(shares):.3f} beside {np.mean(best):.3f}")


def spreads(rng: np.random.Generator) -> None:
    print("\nVariance components, SD of patients, seeds, rest: root of the mean estimated variance beside the true SD")
    true = (0.03, 0.005, 0.01)
    for seeds, n in ((2, 8), (3, 8), (3, 20)):
        found = []
        for _ in range(STUDIES):
            scores = rng.normal(0, true[0], n) + rng.normal(0, true[1], (seeds, 1)) + rng.normal(0, true[2], (seeds, n))
            one = spread(scores)
            found.append([one.patients, one.seeds, one.rest])
        means = np.sqrt((np.array(found) ** 2).mean(axis=0))
        print(
            f"  {seeds} seeds, {n} patients: " + ", ".join(f"{a:.4f} of {b}" for a, b in zip(means, true, strict=True))
        )


def published(rng: np.random.Generator) -> None:
    printed = np.array([dice for side in PATIENTS.values() for dice in side.values()])
    low, high = placed(next(iter(LOSS_AVERAGES.values())))
    half = (high - low) / 2
    inside = [abs(rng.choice(printed, 20).mean() - printed.mean()) <= half for _ in range(10 * STUDIES)]
    print(
        f"\nThe interval of a published mean (+-{half:.4f}) holds the true one; patients drawn from the study's table"
    )
    print(f"  {100 * np.mean(inside):.1f} % of {10 * STUDIES} studies")


def promises(rng: np.random.Generator) -> None:
    print("\nCoverage of the conformal interval of a new scan's Dice; guesses are 0.05 too high, off by 0.04, skewed")
    for n in (5, 8, 20):
        for level in (0.8, 0.9):
            inside, widths = [], []
            for _ in range(STUDIES):
                true = np.clip(differences(rng, n + 1, 0.9, 0.05, True), 0, 1)
                guess = np.clip(true + differences(rng, n + 1, 0.05, 0.04, True), 0, 1)
                low, high = dice_interval(float(guess[-1]), guess[:-1], true[:-1], level)
                inside.append(low <= true[-1] <= high)
                widths.append(high - low)
            print(f"  n={n:<3} promised {level:.0%}: {100 * np.mean(inside):.1f} %, width {np.mean(widths):.3f}")


def main() -> None:
    rng = np.random.default_rng(0)
    for part in (verdicts, powers, chances, ranks, spreads, published, promises):
        part(rng)


if __name__ == "__main__":
    main()
