import math

import numpy as np
import pytest

from chaos_seg.evaluation.counts import accuracy, count, dice, mean_defined, per_group, precision, recall

TRUE = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
PREDICTED = np.array([[0, 1, 1, 1], [1, 0, 0, 0]], bool)


def test_counts_and_scores_by_hand() -> None:
    counts = count(PREDICTED, TRUE)
    assert counts.tolist() == [2, 2, 1, 3]  # tp fp fn tn
    assert (dice(counts), precision(counts), recall(counts), accuracy(counts)) == pytest.approx(
        (4 / 7, 1 / 2, 2 / 3, 5 / 8)
    )


def test_empty_masks_are_undefined_not_1_and_not_0() -> None:
    nothing = np.zeros((2, 4), bool)
    both, missed, invented = count(nothing, nothing), count(nothing, TRUE), count(TRUE, nothing)
    assert math.isnan(dice(both)) and math.isnan(precision(both)) and math.isnan(recall(both)) and accuracy(both) == 1
    assert dice(missed) == 0 and math.isnan(precision(missed)) and recall(missed) == 0
    assert dice(invented) == 0 and precision(invented) == 0 and math.isnan(recall(invented))


def test_scores_of_many_at_once() -> None:
    counts = np.array([[2, 2, 1, 3], [0, 0, 0, 8], [8, 0, 0, 0]])
    assert dice(counts).tolist() == pytest.approx([4 / 7, math.nan, 1], nan_ok=True)
    assert dice(counts[None]).shape == (1, 3)


def test_slices_are_pooled_by_patient_and_divided_once() -> None:
    counts = np.array([[1, 0, 1, 0], [9, 1, 0, 0], [3, 0, 0, 7]])
    pooled = per_group(counts, np.array([0, 0, 1]))
    assert pooled.tolist() == [[10, 1, 1, 0], [3, 0, 0, 7]]
    assert dice(pooled).tolist() == pytest.approx([20 / 22, 1])
    assert dice(counts)[:2].mean() != pytest.approx(20 / 22)  # the slice mean is another number


def test_dice_is_2_iou_over_1_plus_iou() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 6, 6)) > rng.random()
        if (a | b).any():
            iou = (a & b).sum() / (a | b).sum()
            assert dice(count(a, b)) == pytest.approx(2 * iou / (1 + iou))


def test_mean_leaves_out_what_is_undefined() -> None:
    assert mean_defined(np.array([1.0, np.nan, 0.5])) == 0.75
    assert math.isnan(mean_defined(np.array([np.nan]))) and math.isnan(mean_defined(np.array([])))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        count(TRUE, TRUE[:, :2])
