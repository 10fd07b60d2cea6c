import numpy as np
import pytest

from chaos_seg.evaluation.outlines import outline_suspicion

BLANK = np.zeros((20, 20), bool)


def square(low: int, high: int) -> np.ndarray:
    mask = BLANK.copy()
    mask[low:high, low:high] = True
    return mask


def test_the_soft_minimum_by_hand_and_as_cleanlab_has_it() -> None:
    true, probability = np.array([[True, False]]), np.array([[0.9, 0.3]])
    trust, weight = np.array([0.9, 0.7]), np.exp((1 - np.array([0.9, 0.7])) / 0.1)  # cleanlab's weights
    expected = 1 - (trust * weight).sum() / weight.sum()
    assert outline_suspicion(true, [], probability, true, 0.01) == pytest.approx(expected)
    assert outline_suspicion(true, [true, true], probability, true, 0.01) == pytest.approx(expected)


def test_an_area_that_nothing_else_would_draw_halves_the_trust_at_1_cm2() -> None:
    true, others = square(5, 15), square(5, 10)
    true[0, 0] = True  # a speck is opened away
    probability = np.full(true.shape, 0.5)
    alone = np.count_nonzero(true & ~others) - 1 - 2  # the opening takes two corners of the L
    found = outline_suspicion(true, [others, others], probability, others, 1 / alone)
    assert found == pytest.approx(1 - 0.5 / 2, abs=0.01)
    # Where the prediction or a slice beside it draws the same, there is no such area.
    for beside, predicted in (([others, true], others), ([others, others], true)):
        assert outline_suspicion(true, beside, probability, predicted, 1 / alone) == pytest.approx(0.5)
    missing = outline_suspicion(others, [true, true], probability, true, 1 / alone)
    assert missing == pytest.approx(found, abs=0.02)
