"""The choice of a threshold, on counts of levels made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.splits import SIDES, k_fold_split
from chaos_seg.evaluation.calibration import LEVELS, counts_by_threshold
from chaos_seg.evaluation.counts import dice
from chaos_seg.evaluation.metrics import Case
from chaos_seg.evaluation.scores import patient_score
from chaos_seg.reporting.runs import Run
from chaos_seg.reporting.thresholds import threshold_table

BLANK = patient_score("0", "test", Case(np.array([[10, 0, 10, 80]]), (), (), (1.0, 1.0, 1.0)))


def run(sides: dict[str, tuple[str, ...]], levels: dict[str, np.ndarray], fold: int = 0, seed: int = 0) -> Run:
    config = {"loss.name": "bce", "seed": seed, "data.split.fold": fold}
    scores = [replace(BLANK, patient=patient, side=side) for side, patients in sides.items() for patient in patients]
    made = Run(Path(f"bce_{seed}_{fold}"), "bce", config, {}, {"threshold": 100}, scores, [])
    made.__dict__["levels"] = levels
    return made


def row(*runs: Run) -> dict[str, object]:
    table = threshold_table(runs)
    return dict(zip([column.title for column in table.columns], table.rows[0], strict=True))


def best_at(threshold: int) -> np.ndarray:
    """Levels of a patient whose Dice is highest at `threshold`, and falls off slowly on both sides."""
    level = np.arange(LEVELS)
    weight = np.exp(-np.abs(level - threshold) / 60)
    return np.round(1000 * np.stack([weight * (level <= threshold), weight * (level > threshold)])).astype(np.int64)


def test_the_threshold_is_chosen_on_each_folds_own_validation_patients() -> None:
    """Every patient's best threshold is its own chance: no choice on others can gain, but one that has seen it can."""
    assert np.argmax(dice(counts_by_threshold(best_at(70)))) == 70
    gains = []
    for study in range(20):
        rng = np.random.default_rng(study)
        patients = [f"{k}" for k in range(20)]
        levels = {patient: best_at(int(rng.integers(40, 161))) for patient in patients}
        splits = [k_fold_split(patients, 5, fold, study) for fold in range(5)]
        runs = [run({side: split[side] for side in SIDES}, levels, fold) for fold, split in enumerate(splits)]
        gains.append(row(*runs)["gain"])
    assert np.mean(gains) < 0 and np.mean(np.array(gains) < 0) > 0.5  # chosen on all folds together: above 0


def test_each_folds_choice_is_applied_to_its_own_test_patients() -> None:
    def fold(number: int, val: int, test: int, seed: int = 0) -> Run:
        levels = {f"v{number}": best_at(val), f"t{number}": best_at(test)}
        return run({"val": (f"v{number}",), "test": (f"t{number}",)}, levels, number, seed)

    def at(best: int, threshold: int) -> float:
        return float(dice(counts_by_threshold(best_at(best)))[threshold])

    both = row(fold(0, val=60, test=60), fold(1, val=140, test=120))
    assert both["best on validation"] == "60, 140"  # by fold
    used, there = (at(60, 100) + at(120, 100)) / 2, (at(60, 60) + at(120, 140)) / 2
    assert both["test Dice"] == pytest.approx(used) and both["test Dice there"] == pytest.approx(there)
    assert both["gain"] == pytest.approx(there - used)
    seeds = row(fold(0, val=60, test=60, seed=0), fold(0, val=60, test=60, seed=1))
    assert seeds["best on validation"] == 60  # they share their validation patients


def test_patients_without_liver_choose_no_threshold_and_are_in_no_mean() -> None:
    """Their Dice is 0 or undefined, as the threshold goes."""
    sound, no_liver = best_at(60), best_at(60) * [[1], [0]]
    sides = {"val": ("v",), "test": ("t", "n")}
    curve = dice(counts_by_threshold(sound))
    found = row(run(sides, {"v": sound, "t": sound, "n": no_liver}))
    assert found["test Dice"] == pytest.approx(curve[100]) and found["gain"] == pytest.approx(curve[60] - curve[100])
    found = row(run(sides, {"v": no_liver, "t": sound, "n": no_liver}))
    assert found["best on validation"] is None and found["gain"] is None and found["test Dice"] == curve[100]
