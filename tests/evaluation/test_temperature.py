import numpy as np
import pytest
from scipy.special import expit, logit

from chaos_seg.evaluation.temperature import (
    BINS,
    LOGITS,
    brier,
    by_temperature,
    calibration_error,
    count_logits,
    fitted_temperature,
    reliability_at,
)


def drawn(temperature: float, pixels: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a model, and a truth in which its logits are too large by a factor."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 3, pixels)
    return expit(logits).astype(np.float32), rng.random(pixels) < expit(logits / temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_the_truth_was_drawn_with_is_found(temperature: float) -> None:
    probability, true = drawn(temperature)
    counts = count_logits(probability, true)
    found = fitted_temperature(counts)
    assert found == pytest.approx(temperature, rel=0.03)
    assert calibration_error(counts, found) < 0.005
    if temperature != 1:
        assert calibration_error(counts) > 0.05 and brier(counts, found) < brier(counts)


def test_scores_from_counts_are_those_of_the_pixels() -> None:
    probability, true = drawn(2.0)
    counts = count_logits(probability, true)
    for temperature in (1.0, 2.0):
        p = expit(logit(probability.astype(float)) / temperature)
        assert brier(counts, temperature) == pytest.approx(((p - true) ** 2).mean(), rel=1e-3)
        group = np.minimum((p * 10).astype(int), 9)
        ece = sum(abs((p - true)[group == k].mean()) * (group == k).mean() for k in range(10))
        assert calibration_error(counts, temperature) == pytest.approx(ece, abs=2e-3)


def test_ece_by_hand() -> None:
    """3 of 4 pixels at 0.9 are liver, none of 4 at 0.2: |0.9 - 0.75| / 2 + |0.2 - 0| / 2."""
    counts = count_logits(np.array([0.9] * 4 + [0.2] * 4), np.array([True] * 3 + [False] * 5))
    assert calibration_error(counts) == pytest.approx(0.175, abs=0.01)
    assert brier(counts) == pytest.approx((3 * 0.01 + 0.81 + 4 * 0.04) / 8, abs=0.005)


def test_certain_pixels_are_counted_at_the_ends() -> None:
    counts = count_logits(np.array([0.0, 1.0, 0.5], np.float32), np.array([False, True, True]))
    assert counts.shape == (2, BINS) and counts[0, 0] == 1 and counts[1, -1] == 1 and counts[1, BINS // 2] == 1
    assert LOGITS[BINS // 2] == 1 / 32


def test_no_liver_has_no_temperature() -> None:
    assert fitted_temperature(count_logits(np.array([0.1, 0.9]), np.array([False, False]))) is None
    predicted, observed, pixels = reliability_at(np.zeros((2, BINS), np.int64))
    assert np.isnan(predicted).all() and np.isnan(observed).all() and pixels.sum() == 0


def test_a_temperature_keeps_the_order_and_one_half_and_certainty_is_finite() -> None:
    given = np.array([0, 0.2, 0.5, 0.8, 1], np.float32)
    scaled = by_temperature(given, 3.0)
    assert scaled.dtype == np.float32 and (np.diff(scaled) > 0).all() and scaled[2] == 0.5
    assert scaled[3] == pytest.approx(expit(logit(0.8) / 3)) and 0 < scaled[0] < scaled[-1] < 1
    assert by_temperature(given, 1.0)[1:4] == pytest.approx(given[1:4])
