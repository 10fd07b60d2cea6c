"""What another threshold would have given: Dice at each, and what validation would have chosen."""

from collections.abc import Sequence

import numpy as np

from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.calibration import LEVELS, counts_by_threshold
from chaos_seg.reporting.comparison import arm_column
from chaos_seg.reporting.runs import Run, by_arm, scored_sides
from chaos_seg.reporting.tables import Column, Table


def dice_by_threshold(runs: Sequence[Run], side: str) -> np.ndarray:
    """Volume Dice at the thresholds 0 to 254, mean over the patients with liver of a side; float64 (255,).

    NaN without any. A patient counts once, as the mean over its runs.
    """
    curves = _curves(runs, side)
    return np.mean(list(curves.values()), axis=0) if curves else np.full(LEVELS - 1, np.nan)


def _curves(runs: Sequence[Run], side: str) -> dict[str, np.ndarray]:
    """dice_by_threshold() of each patient. Dice of one without liver is 0 or none at all, as the threshold goes."""
    curves_of: dict[str, list[np.ndarray]] = {}
    for run in runs:
        for patient in run.patients(side):
            if run.levels[patient][1].any():
                curves_of.setdefault(patient, []).append(score.dice(counts_by_threshold(run.levels[patient])))
    return {patient: np.mean(curves, axis=0) for patient, curves in curves_of.items()}


def threshold_table(runs: Sequence[Run]) -> Table:
    """Volume Dice of the last side at the threshold of the runs, and at the one that validation would have chosen.

    Each fold chooses on its own validation patients: those of the other folds are its test patients.
    """
    last = scored_sides(runs)[-1]
    rows: list[list[object]] = []
    for arm, members in by_arm(runs).items():
        used = float(members[0].summary["threshold"])
        chosen: list[int] = []
        pairs = []  # of each patient of the last side: Dice at the threshold used, and at its fold's choice
        for fold in sorted({run.fold for run in members}):
            of_fold = [run for run in members if run.fold == fold]
            validation = dice_by_threshold(of_fold, "val")
            if np.isnan(validation).all():
                continue
            chosen.append(int(np.argmax(validation)))
            pairs += [(curve[int(used)], curve[chosen[-1]]) for curve in _curves(of_fold, last).values()]
        at_used = dice_by_threshold(members, last)[int(used)]
        if not pairs:
            rows.append([arm, used, at_used, None, None, None])
            continue
        before, after = np.mean(pairs, axis=0)
        best = chosen[0] if len(chosen) == 1 else ", ".join(map(str, chosen))
        rows.append([arm, used, at_used, best, after, after - before])
    columns = [
        arm_column(by_arm(runs)),
        Column("threshold used"),
        Column(f"{last} Dice", 4),
        Column("best on validation"),
    ]
    columns += [Column(f"{last} Dice there", 4), Column("gain", 4)]
    note = (
        "Thresholds are of 255 times the probability; volume Dice, mean over patients with liver. Each fold's own "
        "validation patients choose."
    )
    return Table("thresholds", "The threshold, and the one that validation would choose", columns, rows, note)
