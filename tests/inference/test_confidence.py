import numpy as np
import pytest

from chaos_seg.inference.confidence import Confidence


def test_the_expected_dice_by_hand() -> None:
    probability = np.array([[0.9, 0.6], [0.2, 0.0]], np.float32)
    empty = np.array([[0.3, 0.0], [0.0, 0.1]], np.float32)
    found = Confidence.of([Confidence.row(one, one > 0.4) for one in (probability, empty)])
    assert found.doubt == pytest.approx([1 - 2 * 1.5 / (1.7 + 2), 0.3])
    assert found.dice == pytest.approx(3.0 / (1.7 + 2 + 0.4))


def test_what_is_certain_is_not_doubted_and_nothing_has_no_dice() -> None:
    mask = np.eye(4, dtype=bool)
    sure = Confidence.of([Confidence.row(mask.astype(np.float32), mask)])
    assert sure.doubt.tolist() == [0] and sure.dice == 1
    nothing = Confidence.of([Confidence.row(np.zeros((4, 4), np.float32), ~mask & mask)])
    assert nothing.doubt.tolist() == [0] and np.isnan(nothing.dice)
