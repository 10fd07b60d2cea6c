"""What a study may claim, made by hand from scores."""

import math
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.evaluation.metrics import Case
from chaos_seg.evaluation.scores import patient_score
from chaos_seg.reporting.claims import guesses_table, pairs_table, placed_table, seeds_tables
from chaos_seg.reporting.runs import Run, paired
from chaos_seg.reporting.tables import Table


def run(loss: str, dice: dict[str, float], seed: int = 0) -> Run:
    """A run that scored test patients."""
    scores = [patient_score(patient, "test", Case(np.zeros((1, 4), int), (), (), (1.0, 1.0, 1.0))) for patient in dice]
    for score, value in zip(scores, dice.values(), strict=True):
        score.values["volume_dice"] = value
    return Run(Path(loss), loss, {"loss.name": loss, "seed": seed}, {}, {}, scores, [])


def test_pairs_say_when_patients_are_too_few_and_who_is_left_out() -> None:
    def pairs(bce: dict[str, float], iou: dict[str, float], margin: float = 0.005) -> tuple[Table | None, list[str]]:
        return pairs_table([run("bce", bce), run("iou", iou)], "test", "volume_dice", margin)

    many = {str(k): 0.9 + k / 1000 for k in range(8)}
    better = {patient: dice + 0.01 for patient, dice in many.items()}
    table, told = pairs(many, better)
    assert table is not None and table.rows[0][:3] == ["bce - iou", 8, pytest.approx(-0.01)]
    assert table.rows[0][6:9] == ["0 of 8", 2 / 2**8, 2 / 2**8] and table.rows[0][-1] == "iou better"
    table, told = pairs(many, better, margin=0.02)
    assert table is not None and table.rows[0][-1] == "iou better, equal" and "±0.02" in table.note + told[0]
    _, told = pairs(many, better)
    assert len(told) == 1 and told[0].endswith("iou is better at 5 %.")
    _, told = pairs(many, {**better, "3": math.nan})
    assert told[-1] == "Patient 3 is left out: no score is defined under iou."
    few = dict(list(many.items())[:2])
    table, told = pairs(few, few)
    assert table is not None and told[0].startswith("2 patients can not show a difference")
    table, told = pairs(few, many)
    assert table is None and "no comparison until all runs" in told[0] and "finish those runs" in told[1]
    assert pairs_table([run("bce", few)], "test", "volume_dice")[0] is None


def test_seeds_have_their_tables_where_all_scored_the_same_patients() -> None:
    dice = {"a": 0.90, "b": 0.92, "c": 0.94}
    more = {patient: value + 0.01 for patient, value in dice.items()}
    runs = [run("bce", dice), run("bce", more, seed=1), run("iou", more), run("iou", more, seed=1)]
    chances, spreads = seeds_tables(paired(runs, "test", "volume_dice"), "test", "volume_dice")
    assert chances.rows[0][:4] == ["bce over iou", 2, 3, 0.25] and "patients and seeds" in chances.note
    assert spreads.rows[0][:5] == ["bce", 2, 3, pytest.approx(0.02), pytest.approx(0.01 / 2**0.5)]
    assert spreads.rows[1][4] == pytest.approx(0)
    one_seed, _ = seeds_tables(paired([runs[0], runs[2]], "test", "volume_dice"), "test", "volume_dice")
    assert "these networks" in one_seed.note
    uneven = [run("bce", dice), run("bce", {"a": 0.9}, 1), run("iou", more), run("iou", {"a": 0.9}, 1)]
    assert seeds_tables(paired(uneven, "test", "volume_dice"), "test", "volume_dice") == []


def test_the_printed_averages_overlap_and_the_table_says_what_it_assumes() -> None:
    table = placed_table()
    (bce, low, high), (*_, iou_low, _) = (row[1:] for row in table.rows[:: len(table.rows) - 1])
    assert (bce, low, high) == (0.908, pytest.approx(0.892, abs=5e-4), pytest.approx(0.924, abs=5e-4))
    assert iou_low < high and "Assumed" in table.note and "iou over dice, 0.005" in table.note


def test_guesses_are_judged_patient_by_patient_over_the_runs() -> None:
    guessed = {"a": (0.9, 0.95), "b": (0.8, 0.69), "c": (0.85, 0.85), "d": (0.6, 0.5), "e": (0.7, 0.75)}
    one = run("bce", dict.fromkeys(guessed, 0.9))
    one.__dict__["guesses"] = [
        {"side": "test", "patient": patient, "guess": str(guess), "dice": str(dice)}
        for patient, (guess, dice) in guessed.items()
    ] + [{"side": "val", "patient": "f", "guess": "0", "dice": "1"}]
    table = guesses_table([one, one], "test")
    assert table is not None and len(table.rows) == 1
    loss, n, error, aurc, oracle, chance, holds, width = table.rows[0]
    assert (loss, n, error, chance) == ("bce", 5, pytest.approx(0.062), pytest.approx(0.252))
    assert oracle < aurc < chance  # b is kept before e, which is better
    # The largest error of the other four: for b it is that of d, 0.1, else that of b itself; that of a ends at 1.
    assert holds == "4 of 5" and width == pytest.approx(np.mean([0.21, 0.2, 0.22, 0.22, 0.22]))
    one.__dict__["guesses"] = []
    assert guesses_table([one], "test") is None
