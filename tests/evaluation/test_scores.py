import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from chaos_seg.errors import UserError
from chaos_seg.evaluation.metrics import Case
from chaos_seg.evaluation.scores import (
    ChallengeScore,
    PatientScore,
    averages,
    challenge_averages,
    challenge_scores,
    check_metrics,
    largest_fits,
    patient_score,
)
from chaos_seg.registry import METRICS


def scored(patient: str, side: str, counts: np.ndarray) -> PatientScore:
    return patient_score(patient, side, Case(counts, (), (), (1.0, 1.0, 1.0)))


COUNTS = np.array([[0, 0, 0, 100], [10, 0, 10, 80], [30, 10, 0, 60], [0, 0, 0, 100]])
# The study's own table: average Dice by patient.
STUDY = {
    "train": [0.963, 0.959, 0.950, 0.964, 0.952, 0.980, 0.965, 0.945, 0.977, 0.960, 0.969, 0.951, 0.965, 0.972, 0.973],
    "val": [0.867, 0.845, 0.939, 0.943],
    "test": [0.944],
}


def study_scores() -> list:
    blank = scored("0", "train", COUNTS)
    return [
        replace(blank, patient=f"{side}{k}", side=side, values={"volume_dice": value})
        for side, values in STUDY.items()
        for k, value in enumerate(values)
    ]


def test_volume_and_slice_dice_of_a_patient_by_hand() -> None:
    score = scored("7", "val", COUNTS)
    assert (score.slices, score.both_empty, score.tp, score.fp, score.fn, score.tn) == (4, 2, 40, 10, 10, 340)
    assert score.values["volume_dice"] == pytest.approx(80 / 100)
    assert score.values["slice_dice"] == pytest.approx((20 / 30 + 60 / 70) / 2)  # both-empty slices left out
    assert score.values["precision"] == pytest.approx(40 / 50) and score.values["accuracy"] == pytest.approx(380 / 400)
    lopsided = scored("7", "val", np.array([[6, 2, 6, 86], [0, 0, 0, 100]]))
    assert (lopsided.values["precision"], lopsided.values["recall"]) == pytest.approx((6 / 8, 6 / 12))


def test_averages_of_the_study_are_its_published_ones() -> None:
    means = averages(study_scores())["volume_dice"]
    # The study prints 0.965 and 0.899; its own figures make 0.963 and 0.8985.
    assert [round(means[side], 3) for side in ("train", "val", "test")] == [0.963, 0.898, 0.944]
    assert means["sides"] == pytest.approx((means["train"] + means["val"] + means["test"]) / 3)
    assert round(means["sides"], 3) == 0.935 and round(means["patients"], 3) == 0.949


def test_undefined_scores_stay_out_of_averages() -> None:
    empty = scored("9", "test", np.array([[0, 0, 0, 5]]))
    assert math.isnan(empty.values["volume_dice"]) and empty.both_empty == 1
    scores = [scored("7", "test", COUNTS), empty]
    assert averages(scores)["volume_dice"]["test"] == pytest.approx(0.8)


def test_challenge_with_and_without_what_hangs_apart() -> None:
    reference = np.zeros((4, 10, 10), bool)
    reference[1:3, 2:6, 2:6] = True
    predicted = reference.copy()
    predicted[3, 9, 9] = True  # a speck
    whole, largest = challenge_scores("7", "test", predicted, reference, (2.0, 1.0, 1.0))
    assert (whole.masks, largest.masks) == ("as predicted", "largest component")
    assert whole.dice == 2 * 32 / 65 and whole.ravd_percent == pytest.approx(100 / 32)
    assert whole.mssd_mm == pytest.approx(math.sqrt(2**2 + 4**2 + 4**2))
    assert (largest.dice, largest.ravd_percent, largest.assd_mm, largest.mssd_mm, largest.score) == (1, 0, 0, 0, 100)

    bridged = np.zeros((3, 30, 60), bool)
    bridged[:, 2:28, 2:28] = bridged[:, 4:24, 36:50] = True
    bridged[1, 10:14, 28:36] = True  # 4 rows: 4 mm are cut, 12 mm not
    for rows_mm, kept in ((1.0, False), (3.0, True)):
        _, cut = challenge_scores("9", "test", bridged, bridged, (2.0, rows_mm, 1.0))
        assert (cut.dice > 0.95) == kept

    missed = challenge_scores("8", "test", np.zeros_like(reference), reference, (2.0, 1.0, 1.0))
    means = challenge_averages([whole, largest, *missed])
    assert means["as predicted"]["test"]["mssd_mm"] == whole.mssd_mm  # no distance to nothing
    assert means["largest component"]["test"]["score"] == 50  # but no points for it either


def test_monai_measures_stand_beside_the_challenges() -> None:
    reference = np.zeros((4, 40, 12), bool)
    reference[1:3, 2:6, 2:6] = True
    predicted = reference.copy()
    predicted[1:3, 30:34, 2:6] = True  # 28 rows away
    whole, largest = challenge_scores("7", "test", predicted, reference, (2.0, 1.0, 1.0))
    assert whole.hd95_mm > 20 and whole.surface_dice == pytest.approx(2 / 3, abs=0.02)
    assert (largest.hd95_mm, largest.surface_dice) == (0, 1)


@pytest.fixture
def theirs() -> Iterator[Callable[[object], None]]:
    yield lambda metric: METRICS._entries.update(theirs=metric)  # type: ignore[call-overload]
    METRICS._entries.pop("theirs", None)


def test_a_metric_that_fails_or_takes_a_columns_name_is_refused_before_training(
    theirs: Callable[[object], None],
) -> None:
    check_metrics()
    METRICS._entries["tp"] = lambda case: 0.5
    with pytest.raises(UserError, match=r"metric tp: expected another name, since a column of per_patient.csv has it"):
        check_metrics()
    del METRICS._entries["tp"]
    theirs(lambda case: case.predicted - case.true)
    with pytest.raises(UserError, match="metric theirs: expected a number, found TypeError: unsupported operand"):
        check_metrics()
    theirs(lambda case: None)
    with pytest.raises(UserError, match="metric theirs: expected a number, found TypeError"):
        check_metrics()


def test_the_largest_component_is_chosen_by_the_mean_dice_of_validation_patients_alone() -> None:
    true = np.zeros((3, 20, 20), bool)
    true[:, 2:12, 2:12] = True
    with_island, two_parts = true.copy(), true.copy()
    with_island[1, 15:19, 15:19] = True  # better without
    two_parts[:, :, 6:8] = False  # half of the liver is lost without the smaller part

    def scored(side: str, predicted: np.ndarray, true: np.ndarray = true) -> list[ChallengeScore]:
        return challenge_scores("a", side, predicted, true, (9.0, 9.0, 9.0))  # mm: no pixel is a thin bridge

    assert largest_fits(scored("val", with_island)) and not largest_fits(scored("val", two_parts))
    assert not largest_fits(scored("test", with_island))  # nobody vouches for it
    assert not largest_fits(scored("val", ~true))  # nor does who found no liver
    assert largest_fits(scored("val", true))  # nothing to lose: the liver is one organ
    for lost, fits in ((7, True), (10, False)):  # 0.0041 and 0.0059 of the Dice
        islet = np.zeros_like(true)
        islet[:, :, :14] = True
        islet[1, 5 : 5 + lost, 16] = True
        assert largest_fits(scored("val", islet, islet)) is fits
    assert not largest_fits(scored("val", two_parts) + scored("val", with_island))
