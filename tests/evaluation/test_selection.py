import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from chaos_seg.evaluation.selection import risk_coverage


def test_areas_by_hand() -> None:
    found = risk_coverage(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.1, 0.0, 0.5]))
    assert found.coverage.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.selective == pytest.approx([0, 0, 0.05, 0.1 / 3, 0.15])
    assert found.generalized == pytest.approx([0, 0, 0.025, 0.025, 0.15])
    assert found.aurc == pytest.approx((0.025 + (0.05 + 0.1 / 3) / 2 + (0.1 / 3 + 0.15) / 2) / 4)
    assert found.augrc == pytest.approx((0.0125 + 0.025 + 0.0875) / 4)


def test_equal_suspicion_is_kept_or_taken_out_together() -> None:
    """As in fd-shifts, which gives the same for two blocks of a good and a bad one each."""
    found = risk_coverage(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    assert found.coverage.tolist() == [0, 0.5, 1] and found.aurc == 0.5 and found.augrc == 0.25


def test_no_ranking_is_better_than_the_oracle_and_chance_is_the_mean_risk() -> None:
    rng = np.random.default_rng(0)
    risk = rng.gamma(1, 0.1, 30)
    oracle, chance = risk_coverage(risk, risk), risk_coverage(np.zeros(30), risk)
    assert chance.aurc == pytest.approx(risk.mean()) and chance.augrc == pytest.approx(risk.mean() / 2)
    orders = [risk_coverage(rng.permutation(30), risk) for _ in range(200)]
    assert all(oracle.aurc < one.aurc and oracle.augrc < one.augrc for one in orders)
    assert np.mean([one.augrc for one in orders]) == pytest.approx(chance.augrc, rel=0.05)
    # Of failures that are yes or no, the area is (1 - AUROC) a (1 - a) + a^2 / 2 (Traub et al., equation 9).
    suspicion, bad = rng.permutation(1000), rng.random(1000) < 0.2
    a = bad.mean()
    auroc = mannwhitneyu(suspicion[bad == 1], suspicion[bad == 0]).statistic / (bad == 1).sum() / (bad == 0).sum()
    known = (1 - auroc) * a * (1 - a) + a**2 / 2
    assert risk_coverage(suspicion, bad).augrc == pytest.approx(known, abs=1e-3)


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        risk_coverage(np.array([np.nan]), np.array([0.1]))
