import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from chaos_seg.evaluation.repeats import probability_better, rank_shares, spread


def test_the_chance_to_be_better_is_the_mean_of_mann_and_whitneys() -> None:
    """As rliable computes it: U over all pairs of runs, patient by patient."""
    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(0.92, 0.02, (3, 8)), 2), np.round(rng.normal(0.91, 0.02, (4, 8)), 2)  # some tie
    of_patients = [mannwhitneyu(a[:, k], b[:, k], alternative="greater").statistic / 12 for k in range(8)]
    found = probability_better(a, b)
    assert found.value == pytest.approx(np.mean(of_patients)) and found.n == 8
    assert probability_better(b, a).value == pytest.approx(1 - found.value)
    assert 0 <= found.low < found.value < found.high <= 1


def test_ties_count_half_and_few_patients_have_no_interval() -> None:
    assert probability_better(np.array([[0.3, 0.5, 0.6]]), np.array([[0.1 + 0.2, 0.5, 0.6]])).value == 0.5
    two = probability_better(np.array([[0.9, 0.8]]), np.array([[0.8, 0.7]]))
    assert two.value == 1 and np.isnan([two.low, two.high]).all()


def test_its_interval_is_over_patients_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth known: at five seeds nine intervals of ten hold it, where those over patients alone hold it less often."""
    monkeypatch.setattr("chaos_seg.evaluation.repeats.RESAMPLES", 400)
    rng, truth, inside = np.random.default_rng(1), norm.cdf(0.7 / 4.5**0.5), []
    for k in range(150):
        runs = [
            mean + rng.normal(0, 1, 12) + rng.normal(0, 0.5, (5, 1)) + rng.normal(0, 1, (5, 12)) for mean in (0.7, 0.0)
        ]
        found, fixed = (probability_better(*of, seed=k) for of in (runs, [one[:1] for one in runs]))
        inside.append([one.low <= truth <= one.high for one in (found, fixed)])
    of_both, of_one_seed = np.mean(inside, axis=0)
    assert of_both >= 0.85 and of_one_seed < of_both


def test_ranks_by_hand_and_under_a_bootstrap() -> None:
    scores = np.array([[0.9, 0.9, 0.9], [0.8, 0.8, 0.8], [0.9, 0.9, 0.9]])
    assert rank_shares(scores).tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]  # a tie shares the better rank
    two = rank_shares(np.array([[1.0, 0, 0], [0.0, 0, 0.9]]))
    # The first wins where its patient is drawn as often as the third: all cases of 27 counted by hand.
    draws = np.array(np.meshgrid(*[range(3)] * 3)).reshape(3, -1)
    first = ((draws == 0).sum(axis=0) >= 0.9 * (draws == 2).sum(axis=0)).mean()
    assert two[0, 0] == pytest.approx(first, abs=0.02) and two.sum(axis=1) == pytest.approx(1)


def test_spread_by_hand_and_without_bias() -> None:
    pure = spread(np.array([[0.1, 0.3], [0.2, 0.4]]))
    assert (pure.patients, pure.seeds, pure.rest) == pytest.approx((0.2 / 2**0.5, 0.1 / 2**0.5, 0))
    rng, true = np.random.default_rng(2), (0.03, 0.01, 0.02)
    found = [
        spread(rng.normal(0, true[0], 10) + rng.normal(0, true[1], (4, 1)) + rng.normal(0, true[2], (4, 10)))
        for _ in range(1000)
    ]
    squares = np.mean([[one.patients**2, one.seeds**2, one.rest**2] for one in found], axis=0)
    assert np.sqrt(squares) == pytest.approx(true, rel=0.08)
    alone = spread(np.array([[0.1, 0.3]]))
    assert alone.patients == pytest.approx(0.2 / 2**0.5) and np.isnan([alone.seeds, alone.rest]).all()
