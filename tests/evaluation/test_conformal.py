import numpy as np
import pytest

from chaos_seg.evaluation.conformal import dice_interval


def test_the_error_is_the_one_of_its_rank() -> None:
    guesses, dice = np.array([0.9, 0.9, 0.9, 0.9]), np.array([0.88, 0.93, 0.8, 0.94])
    assert dice_interval(0.7, guesses, dice, 0.8) == pytest.approx((0.6, 0.8))  # the 4th of 4
    assert dice_interval(0.7, guesses, dice, 0.6) == pytest.approx((0.66, 0.74))  # the 3rd
    assert dice_interval(0.98, guesses, dice, 0.8) == (pytest.approx(0.88), 1.0)
    assert dice_interval(0.7, guesses, dice, 0.9) == (0.0, 1.0)  # of 4 no more than 80 %


def test_the_promise_holds_for_scans_alike_however_bad_the_guesses_and_not_for_others() -> None:
    rng = np.random.default_rng(0)
    inside, elsewhere = [], []
    for _ in range(2000):
        dice = rng.beta(20, 2, 10)
        guesses = np.clip(dice + 0.05 + rng.normal(0, 0.04, 10), 0, 1)
        low, high = dice_interval(guesses[-1], guesses[:-1], dice[:-1], 0.9)
        inside.append(low <= dice[-1] <= high)
        elsewhere.append(low <= dice[-1] - 0.1 <= high)  # a scanner on which the guess is off by more
    assert 0.9 - 0.02 <= np.mean(inside) <= 0.9 + 0.02 and np.mean(elsewhere) < 0.8
