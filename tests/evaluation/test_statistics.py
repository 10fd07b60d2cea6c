import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import PermutationMethod, norm, rankdata, wilcoxon
from scipy.stats import t as student

from chaos_seg.evaluation.pairing import Paired
from chaos_seg.evaluation.statistics import (
    compare_pairs,
    detectable,
    holm,
    mean_interval,
    median_interval,
    patients_needed,
    sentence,
    signed_rank_p,
    smallest_p,
    too_few,
)

# Hollander and Wolfe's depression scores of 9 patients, the example of R's wilcox.test.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
# Pingouin's example, with ties and a zero; p and interval as Julia's HypothesisTests prints them.
TIED = np.array([20, 22, 19, 20, 22, 18, 24, 20, 19, 24, 26, 13]) - [38, 37, 33, 29, 14, 12, 20, 22, 17, 25, 26, 16]
# Darwin's maize, the example of scipy.stats.wilcoxon.
MAIZE = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def paired(**by_loss: list[float] | np.ndarray) -> Paired:
    n = len(next(iter(by_loss.values())))
    arrays = {loss: np.array(values) for loss, values in by_loss.items()}
    return Paired(tuple(map(str, range(n))), arrays, {loss: values[None] for loss, values in arrays.items()}, {})


def p_of_every_sign(differences: np.ndarray) -> float:
    """The definition: the share of all sign patterns whose rank sum is as far from its middle as the one seen."""
    ranks = rankdata(np.abs(differences[differences != 0]))
    seen = abs(ranks @ np.sign(differences[differences != 0]))
    return float(np.mean([abs(ranks @ signs) >= seen - 1e-9 for signs in product((-1, 1), repeat=len(ranks))]))


def test_published_p_values() -> None:
    assert signed_rank_p(BEFORE - AFTER) == pytest.approx(0.03906, abs=5e-6)
    assert signed_rank_p(TIED) == pytest.approx(0.288086, abs=5e-7)
    assert signed_rank_p(MAIZE) == 0.041259765625


def test_p_by_hand() -> None:
    assert signed_rank_p([1, 2, 3, 4, 5]) == 2 / 32
    assert signed_rank_p([-1, 2, 3, 4, 5]) == 4 / 32  # rank sums 0 and 1, on both sides
    assert signed_rank_p([1, 1, -1]) == 1  # mean ranks 2 2 2: sums 2 and 4 are in the middle
    assert signed_rank_p([0, 0, 0]) == 1
    assert signed_rank_p([0, 1, 2, 3]) == signed_rank_p([1, 2, 3]) == 0.25


def test_p_is_the_share_of_sign_patterns_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 8, 10):
        for d in (rng.normal(0.5, 1, n), rng.integers(-3, 5, n).astype(float)):
            assert signed_rank_p(d) == pytest.approx(p_of_every_sign(d), abs=1e-12)


def test_p_agrees_with_scipy_where_scipy_is_exact() -> None:
    rng = np.random.default_rng(1)
    for n in (6, 20, 60):
        d = rng.normal(0.3, 1, n)
        assert signed_rank_p(d) == pytest.approx(wilcoxon(d, method="exact").pvalue, rel=1e-9)
    tied = np.array([1, 1, 2, 2, -2, 3, 3, -1, 4.0])
    every = wilcoxon(tied, method=PermutationMethod(n_resamples=np.inf))
    assert signed_rank_p(tied) == pytest.approx(every.pvalue)
    assert wilcoxon(tied, method="exact").pvalue != pytest.approx(every.pvalue)  # why scipy's exact is not used


def test_ties_are_found_through_rounding_errors() -> None:
    d = np.array([0.95, 0.93, 0.94]) - np.array([0.94, 0.94, 0.93])
    assert len(set(np.abs(d))) > 1 and signed_rank_p(d) == signed_rank_p([1, -1, 1])
    assert signed_rank_p([0.1 + 0.2 - 0.3, 1, 2]) == signed_rank_p([1, 2])


def test_published_median_and_interval() -> None:
    found = median_interval(AFTER - BEFORE)
    assert (found.value, found.low, found.high) == pytest.approx((-0.46, -0.786, -0.010))
    assert found.level == pytest.approx(0.961, abs=5e-4) and found.n == 9
    tied = median_interval(TIED)
    assert (tied.low, tied.high) == (-9, 2.5)


def test_the_interval_holds_what_the_test_does_not_reject() -> None:
    d = np.random.default_rng(2).normal(0.2, 1, 11)
    found = median_interval(d)
    for edge, outwards in ((found.low, -1), (found.high, 1)):
        assert signed_rank_p(d - edge + outwards * 1e-6) > 0.05
        assert signed_rank_p(d - edge - outwards * 1e-6) <= 0.05


def test_few_patients_have_no_95_percent_interval() -> None:
    for n, level in ((1, 0), (2, 0.5), (4, 0.875), (5, 0.9375), (6, 0.96875)):
        found = median_interval(np.arange(n) ** 2.0)
        assert (found.low, found.high, found.level) == (0, (n - 1) ** 2, level)
    assert 0.95 <= median_interval(np.arange(7.0)).level < 0.96


def test_coverage_of_the_median_interval_is_its_level() -> None:
    rng = np.random.default_rng(3)
    found = [median_interval(rng.normal(1, 1, 7)) for _ in range(2000)]
    assert np.mean([f.low <= 1 <= f.high for f in found]) == pytest.approx(found[0].level, abs=0.015)


def test_coverage_of_the_mean_interval_is_what_its_docstring_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos_seg.evaluation.statistics.RESAMPLES", 999)
    rng = np.random.default_rng(4)
    for n, share in ((5, 0.84), (20, 0.93)):
        found = [mean_interval(rng.normal(0.95, 0.02, n), seed=k) for k in range(400)]
        assert np.mean([f.low <= 0.95 <= f.high for f in found]) == pytest.approx(share, abs=0.05)


def test_mean_interval_of_a_large_sample_is_the_textbook_one() -> None:
    values = np.random.default_rng(5).normal(0.9, 0.05, 400)
    found, half = mean_interval(values), 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean()) and (found.n, found.level) == (400, 0.95)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)
    narrow = mean_interval(values, confidence=0.8)
    assert found.low < narrow.low < narrow.high < found.high


def test_mean_interval_of_skewed_scores_is_efrons_bca() -> None:
    """By its formula: percentiles moved by the bias z0 and by the acceleration, from leaving out one patient each."""
    values = np.array([0.95, 0.94, 0.96, 0.95, 0.93, 0.96, 0.90, 0.55])
    means = np.random.default_rng(0).choice(values, (100_000, 8)).mean(axis=1)
    z0 = norm.ppf((means < values.mean()).mean())
    without = np.array([np.delete(values, k).mean() for k in range(8)])
    apart = without.mean() - without
    z = z0 + norm.ppf([0.025, 0.975])
    share = norm.cdf(z0 + z / (1 - z * (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)))
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, share)), abs=0.004)
    assert found.low < np.quantile(means, 0.025) - 0.02  # plain percentiles


def test_mean_interval_is_the_same_for_the_same_seed_in_any_order() -> None:
    values = np.random.default_rng(6).normal(0.9, 0.05, 20)
    assert mean_interval(values) == mean_interval(values[::-1]) != mean_interval(values, seed=1)


def test_mean_interval_of_few_or_equal_values() -> None:
    two = mean_interval([0.8, 0.9])
    assert two.value == pytest.approx(0.85) and math.isnan(two.low) and math.isnan(two.high)
    equal = mean_interval([0.1 + 0.2, 0.3, 0.3])
    assert equal.value == equal.low == equal.high == pytest.approx(0.3)
    lopsided = mean_interval([0, 0, 0, 0, 0, 0, 0, 1])
    assert 0 <= lopsided.low <= 0.125 < lopsided.high <= 1


@pytest.mark.parametrize("values", [[], [0.9, math.nan, 0.8], [0.9, math.inf, 0.8]])
def test_undefined_scores_never_reach_a_statistic_unseen(values: list[float]) -> None:
    for statistic in (mean_interval, median_interval, signed_rank_p):
        with pytest.raises(ValueError, match="all finite"):
            statistic(values)


def test_holm_by_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06] * 3)


def test_what_n_patients_can_tell() -> None:
    assert [smallest_p(n) for n in (0, 1, 4, 5, 6, 7)] == [1, 1, 0.125, 0.0625, 0.03125, 0.015625]
    assert all(smallest_p(n) == signed_rank_p(np.ones(n)) for n in (1, 5, 20))  # ties do not change it
    assert [patients_needed(pairs) for pairs in (1, 3, 6, 10)] == [6, 7, 8, 9]


def test_every_pair_once_first_minus_second() -> None:
    bce = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    dice = [b + 0.01 * k for k, b in enumerate(bce, 1)]
    pairs = compare_pairs(paired(bce=bce, dice=dice, focal=bce))
    assert [(p.first, p.second) for p in pairs] == [("bce", "dice"), ("bce", "focal"), ("dice", "focal")]
    assert [p.difference.value for p in pairs] == pytest.approx([-0.04, 0, 0.04])
    assert [(p.higher, p.equal) for p in pairs] == [(0, 0), (0, 7), (7, 0)]
    assert [p.p for p in pairs] == [1 / 64, 1, 1 / 64]
    assert [p.holm_p for p in pairs] == pytest.approx([3 / 64, 1, 3 / 64])
    assert {(p.smallest_p, p.smallest_holm_p, p.pairs) for p in pairs} == {(1 / 64, 3 / 64, 3)}
    assert compare_pairs(paired(bce=bce)) == []


def test_scores_that_differ_by_rounding_alone_are_equal() -> None:
    (pair,) = compare_pairs(paired(bce=[0.1 + 0.2, 0.7 - 0.4, 0.5], dice=[0.3, 0.3, 0.4]))
    assert (pair.higher, pair.equal) == (1, 2)


def test_seven_patients_can_tell_three_losses_apart_and_the_better_one_is_named() -> None:
    low = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    high = [value + 0.01 for value in low]
    pair = compare_pairs(paired(bce=low, dice=high, focal=low))[0]
    assert sentence(pair) == (
        "Dice is higher under dice than under bce by 0.010 in the median (95.3 % interval 0.010 to 0.010; higher under "
        "dice for 7 of 7 patients); p 0.0156, 0.0469 after Holm over 3 pairs: dice is better at 5 %."
    )
    swapped = compare_pairs(paired(dice=high, bce=low, focal=low))[0]
    assert sentence(swapped) == sentence(pair)


def test_four_patients_can_not_tell_and_the_sentence_says_so() -> None:
    pair = compare_pairs(paired(bce=[0.9, 0.8, 0.7, 0.6], dice=[0.92, 0.84, 0.76, 0.68], focal=[0.0] * 4))[0]
    assert too_few(4, 3) == (
        "4 patients can not show a difference at 5 %: the smallest possible p is 0.125, 0.375 after "
        "Holm over 3 pairs; it takes 7 patients."
    )
    assert sentence(pair) == (
        "Dice is higher under dice than under bce by 0.050 in the median (87.5 % interval 0.020 to 0.080, the widest "
        "that 4 patients give; higher under dice for 4 of 4 patients); p 0.125, 0.375 after Holm over 3 pairs: "
        "4 patients are too few to tell."
    )
    one = sentence(compare_pairs(paired(bce=[0.9], dice=[0.8]))[0])
    assert "no interval" in one and "Holm" not in one and one.endswith("1 patient is too few to tell.")
    assert too_few(1, 1) == (
        "1 patient can not show a difference at 5 %: the smallest possible p is 1; it takes 6 patients."
    )
    assert too_few(6, 1) is None and too_few(7, 3) is None and too_few(6, 3) is not None


def test_enough_patients_without_a_difference() -> None:
    d = [0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.0]
    text = sentence(compare_pairs(paired(bce=[0.5 + v for v in d], dice=[0.5] * 7))[0])
    assert "higher under dice for 3 of 7 patients, the same for 1" in text
    assert text.endswith(
        "p 0.844: these patients can not tell, neither a difference at 5 % nor equality within ±0.005; 7 that spread "
        "like them show a difference of 0.052 in 80 % of studies."
    )
    same = sentence(compare_pairs(paired(bce=[0.5] * 7, dice=[0.5] * 7))[0])
    assert same.startswith("Dice is the same under bce and dice in the median (95.3 % interval 0.000 to 0.000;")


def test_the_better_loss_is_named_when_most_patients_do_not_differ() -> None:
    """Zeros hold the median at 0 but are no part of the test."""
    pair = compare_pairs(paired(bce=[0.5] * 107, dice=[0.5] * 100 + [0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66]))[0]
    assert (
        pair.difference.value == 0
        and pair.p == 1 / 64
        and sentence(pair).endswith(
            "dice is better at 5 %, but equal for practice: the whole interval lies within ±0.005."
        )
    )


def test_the_verdict_goes_by_holm_not_by_the_pair_alone() -> None:
    zeros, six, seven = [0.0] * 7, [0.01 * k for k in range(1, 7)], [0.01 * k for k in (-1, 2, 3, 4, 5, 6, 7)]
    few = compare_pairs(paired(bce=zeros[:6], dice=six, focal=zeros[:6]))[0]
    assert few.p == few.smallest_p == 1 / 32 and sentence(few).endswith("6 patients are too few to tell.")
    enough = compare_pairs(paired(bce=zeros, dice=seven, focal=zeros))[0]
    assert enough.p == 1 / 32 and sentence(enough).endswith(
        "p 0.0312, 0.0938 after Holm over 3 pairs: these patients can not tell, neither a difference at 5 % nor "
        "equality within ±0.005; 7 that spread like them show a difference of 0.050 in 80 % of studies."
    )


def test_equal_is_what_lies_within_the_margin_at_its_level() -> None:
    d = np.array([0.001, -0.001, 0.002, -0.002, 0.003, -0.003, 0.004])
    (pair,) = compare_pairs(paired(bce=0.9 + d, dice=[0.9] * 7))
    assert pair.verdict() == "equal" and pair.verdict(margin=0.002) == "can not tell"
    assert sentence(pair).endswith("p 0.656: equal for practice, the whole interval lies within ±0.005.")
    (few,) = compare_pairs(paired(bce=[0.9] * 5, dice=[0.9] * 5))
    assert few.difference.low == few.difference.high == 0 and few.verdict() == "can not tell"  # 93.75 % at most
    (both,) = compare_pairs(paired(bce=[0.901 + 0.0001 * k for k in range(8)], dice=[0.9] * 8))
    assert both.verdict() == "bce better, equal"


def test_losses_that_differ_by_the_margin_are_seldom_called_equal_and_close_ones_often() -> None:
    rng = np.random.default_rng(9)

    def equal(true: float) -> float:
        found = [compare_pairs(paired(a=rng.normal(true, 0.005, 16), b=[0.0] * 16))[0] for _ in range(250)]
        return float(np.mean(["equal" in pair.verdict() for pair in found]))

    assert equal(0.005) <= 0.025 + 3 * (0.025 * 0.975 / 250) ** 0.5 and equal(0) > 0.8


def test_a_detectable_difference_is_found_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(8)
    for n, pairs in ((8, 1), (20, 3)):
        unit = np.arange(n) - (n - 1) / 2
        unit /= unit.std(ddof=1)
        size = detectable(0.01 * unit, pairs)
        found = [signed_rank_p(rng.normal(size, 0.01, n)) <= 0.05 / pairs for _ in range(400)]
        assert np.mean(found) == pytest.approx(0.8, abs=0.06)
    # Of many patients it is that of the t test, whose efficiency is pi / 3 times as high.
    of_t = (student.ppf(0.975, 99) + student.ppf(0.8, 99)) / 10
    many = np.arange(100.0)
    assert detectable(many) == pytest.approx(many.std(ddof=1) * of_t * (np.pi / 3) ** 0.5, rel=0.03)
    assert math.isnan(detectable(np.array([0.1, 0.2, 0.3]))) and math.isnan(detectable(np.array([0.1])))
