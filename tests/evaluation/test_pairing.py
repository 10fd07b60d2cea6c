import math

import numpy as np
import pytest

from chaos_seg.errors import UserError
from chaos_seg.evaluation.pairing import Score, per_patient
from chaos_seg.evaluation.statistics import compare_pairs, mean_interval


def scores(loss: str, values: dict[str, list[float]]) -> list[Score]:
    """Patient k of fold k, tested once a seed."""
    return [
        Score(loss, seed, fold, patient, value)
        for fold, (patient, of_seeds) in enumerate(values.items())
        for seed, value in enumerate(of_seeds)
    ]


def test_a_patient_tested_under_three_seeds_counts_once() -> None:
    values = {"10": [0.9, 0.9, 0.6], "9": [0.5, 0.6, 0.4], "2": [1.0, 1.0, 1.0]}  # of 10 the median is 0.9
    paired = per_patient(scores("dice", values) + scores("bce", {p: [v - 0.1 for v in of] for p, of in values.items()}))
    assert paired.patients == ("2", "9", "10") and paired.left_out == {}
    assert paired.by_loss["dice"].tolist() == pytest.approx([1, 0.5, 0.8])
    assert paired.by_seed["dice"].tolist() == [[1, 0.5, 0.9], [1, 0.6, 0.9], [1, 0.4, 0.6]]
    (pair,) = compare_pairs(paired)
    assert pair.difference.n == 3 and pair.p == 0.25  # nine runs would give 2 / 2^9
    assert mean_interval(paired.by_loss["dice"]).n == 3


def test_a_patient_weighs_the_same_however_often_it_was_tested() -> None:
    paired = per_patient(scores("dice", {"1": [0.5], "2": [0.9, 0.9, 0.9]}))
    assert paired.by_loss["dice"].mean() == pytest.approx(0.7)  # over runs: 0.8
    assert np.isnan(paired.by_seed["dice"]).tolist() == [[False, False], [True, False], [True, False]]


def test_the_order_of_the_scores_does_not_matter() -> None:
    flat = scores("dice", {"1": [0.5, 0.6], "2": [0.9, 0.8], "3": [0.7, 0.71]})
    one, other = per_patient(flat), per_patient(flat[::-1])
    assert one.patients == other.patients and np.array_equal(one.by_loss["dice"], other.by_loss["dice"])


@pytest.mark.parametrize("undefined", [math.nan, math.inf])
def test_a_patient_without_a_defined_score_is_left_out_everywhere_and_named(undefined: float) -> None:
    whole = {"1": [0.9, 0.9], "2": [0.8, 0.8], "3": [0.7, 0.7]}
    paired = per_patient(scores("dice", whole) + scores("bce", {**whole, "2": [0.8, undefined]}))
    assert paired.patients == ("1", "3") and paired.left_out == {"2": ("bce",)}
    assert paired.by_loss["dice"].tolist() == pytest.approx([0.9, 0.7])


def test_losses_scored_on_other_patients_or_runs_are_refused() -> None:
    whole = {"1": [0.9, 0.9], "2": [0.8, 0.8]}
    with pytest.raises(UserError, match=r"bce: .*no score for patient 2 \(seed 0, fold 1\) and 1 more"):
        per_patient(scores("dice", whole) + scores("bce", {"1": [0.9, 0.9]}))
    with pytest.raises(UserError, match=r"dice: .*no score for patient 2 \(seed 1, fold 1\);"):
        per_patient(scores("dice", {**whole, "2": [0.8]}) + scores("bce", whole))
    # The same patients, but in each other's folds: other networks tested them.
    with pytest.raises(UserError, match=r"dice: .*no score for patient 2"):
        per_patient(scores("dice", whole) + scores("bce", dict(reversed(whole.items()))))


def test_what_can_not_be_averaged_is_refused() -> None:
    with pytest.raises(UserError, match=r"dice: patient 1 \(seed 0, fold 0\) is scored twice"):
        per_patient(scores("dice", {"1": [0.9]}) * 2)
    with pytest.raises(UserError, match="found none"):
        per_patient([])
    with pytest.raises(UserError, match="No patient has a defined score"):
        per_patient(scores("dice", {"1": [math.nan]}))
