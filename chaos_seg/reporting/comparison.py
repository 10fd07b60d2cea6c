"""Tables that set runs side by side: in the study's layout, over patients, pair by pair, and by the challenge."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from chaos_seg.data.splits import SIDES
from chaos_seg.errors import UserError
from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.calibration import LEVELS, counts_by_threshold
from chaos_seg.evaluation.counts import mean_defined
from chaos_seg.evaluation.scores import (
    CHALLENGE_METRICS,
    SURFACE_TOLERANCE_MM,
    ChallengeScore,
    PatientScore,
    averages,
)
from chaos_seg.evaluation.statistics import compare_pairs, mean_interval, sentence, too_few
from chaos_seg.reporting import reference
from chaos_seg.reporting.runs import Run, by_arm, paired, scored_sides, unbalanced
from chaos_seg.reporting.tables import Column, Table

SYNTHETIC = "SYNTHETIC phantom data: these numbers say nothing about patients."
METRIC_NAMES = {
    "volume_dice": "Volume Dice",
    "slice_dice": "Slice-mean Dice",
    "accuracy": "Binary accuracy",
    "precision": "Precision",
    "recall": "Recall",
}
UNBALANCED = (
    "The losses were not scored on the same patients, seeds and folds: their means are no comparison until all runs "
    "are finished."
)
SIDE_NAMES = {"train": "Train data", "val": "Validation data", "test": "Test data"}
TWO_DICES = (
    "Volume Dice pools a patient's slices; slice-mean Dice averages over slices and leaves out those whose true and "
    "predicted masks are both empty."
)
# Heading and decimals of the challenge's metrics and MONAI's.
_CHALLENGE_COLUMNS = dict(
    zip(
        CHALLENGE_METRICS,
        (
            *(Column("DICE", 3), Column("RAVD %", 2), Column("ASSD mm", 2), Column("MSSD mm", 1), Column("score", 1)),
            *(Column("HD95 mm", 2), Column(f"surface Dice {SURFACE_TOLERANCE_MM:g} mm", 3)),
        ),
        strict=True,
    )
)


def patient_values(scores: Iterable[PatientScore | ChallengeScore], metric: str) -> dict[str, float]:
    """A metric of each patient, the mean over the runs that scored it; NaN when one of them has none."""
    found: dict[str, list[float]] = {}
    for row in scores:
        found.setdefault(row.patient, []).append(getattr(row, metric))
    return {patient: float(np.mean(values)) for patient, values in found.items()}


def study_tables(scores: Mapping[str, Sequence[PatientScore]], metrics: Sequence[str], synthetic: bool) -> list[Table]:
    """A table for each side in the study's layout: patients across, their average last, a line an arm and metric.

    The numbers that the study printed stand below, for the CHAOS patients that it names.
    """
    tables = []
    for side in SIDES:
        members = {arm: [row for row in rows if row.side == side] for arm, rows in scores.items()}
        patients = list(dict.fromkeys(row.patient for rows in members.values() for row in rows))
        if not patients:
            continue
        lines: list[list[object]] = []
        for arm, rows in members.items():
            for metric in metrics:
                values = patient_values(rows, metric)
                label = METRIC_NAMES[metric] if len(members) == 1 else f"{arm}, {METRIC_NAMES[metric]}"
                lines.append([label, *map(values.get, patients), mean_defined(np.array(list(values.values())))])
        if len(members) == 1:
            empty = patient_values(next(iter(members.values())), "both_empty")
            lines.append(["Both-empty slices", *(round(empty[patient]) for patient in patients), None])
        slices = {row.patient: row.slices for rows in members.values() for row in rows}
        published = {} if synthetic else reference.published_patients(slices)
        if published:
            average = reference.AVERAGES[side] if set(published) == set(reference.PATIENTS[side]) else None
            lines.append(["study, published", *map(published.get, patients), average])
        columns = [Column("Patient id"), *(Column(patient, 3) for patient in patients), Column("Average", 3)]
        tables.append(Table(f"patients_{side}", SIDE_NAMES[side], columns, lines))
    return tables


def run_tables(loss: str, scores: Sequence[PatientScore], challenge: Sequence[ChallengeScore], synthetic: bool) -> str:
    """What one run shows on the terminal: the study's tables, both averages, and the challenge's metrics."""
    metrics = [metric for metric in METRIC_NAMES if metric != "accuracy"]
    sides = study_tables({loss: scores}, metrics, synthetic)
    means = averages(scores)
    total = Table(
        "averages",
        "Averages",
        [Column(""), Column("over patients", 3), Column("of split means", 3)],
        [[METRIC_NAMES[metric], means[metric]["patients"], means[metric]["sides"]] for metric in metrics],
        f"{TWO_DICES} Dashes are scores that are 0/0; averages leave them out.",
    )
    tables = [*sides, total, challenge_table({loss: challenge})]
    return "\n\n".join([*([SYNTHETIC] if synthetic else []), *(table.as_text() for table in tables)])


def means_table(runs: Sequence[Run], metric: str) -> Table:
    """A line an arm: the mean over the patients of each side, over all patients, and of the side means.

    The interval is that of the mean over the last side, the test patients where there are any.
    """
    arms = by_arm(runs)
    sides = scored_sides(runs)
    rows = []
    for arm, members in arms.items():
        scores = [row for run in members for row in run.scores]
        values = {side: _defined(patient_values((s for s in scores if s.side == side), metric)) for side in sides}
        means = [mean_defined(values[side]) for side in sides]
        last = mean_interval(values[sides[-1]]) if len(values[sides[-1]]) else None
        everyone = mean_defined(_defined(patient_values(scores, metric)))
        interval = [last and last.low, last and last.high, len(values[sides[-1]])]
        rows.append([arm, len(members), *means, *interval, everyone, mean_defined(np.array(means))])
    named = [Column(side, 3) for side in sides]
    named += [Column(f"{sides[-1]} from", 3), Column("to", 3), Column("n")]
    columns = [Column("Loss"), Column("runs"), *named, Column("patients", 3), Column("splits", 3)]
    if metric.endswith("dice") and not any(run.summary["synthetic"] for run in runs):
        columns.append(Column("study", 3))
        for row, members in zip(rows, arms.values(), strict=True):
            row.append(reference.LOSS_AVERAGES.get(members[0].config["loss.name"]))
        shown = [reference.AVERAGES[side] for side in sides]
        rows.append(["study's tables", None, *shown, None, None, None, None, reference.AVERAGES["splits"], None])
    note = (
        f"From, to: 95 % bootstrap interval of the mean over the n {sides[-1]} patients. Patients: mean over all "
        "patients, each counted once. Splits: mean of the side means, as in the study."
    )
    if unbalanced(runs):
        note = f"{UNBALANCED} {note}"
    return Table(f"means_{metric}", f"{METRIC_NAMES[metric]}, mean over the patients of each side", columns, rows, note)


def metrics_table(runs: Sequence[Run]) -> Table:
    """Binary accuracy, precision and recall, means over the patients of each side."""
    metrics = ("accuracy", "precision", "recall")
    rows = [
        [arm, side, *(mean_defined(_defined(patient_values(scores, metric))) for metric in metrics)]
        for side in SIDES
        for arm, members in by_arm(runs).items()
        if (scores := [row for run in members for row in run.scores if row.side == side])
    ]
    columns = [Column("Loss"), Column("side"), *(Column(METRIC_NAMES[metric], 3) for metric in metrics)]
    return Table("metrics", "Binary accuracy, precision and recall, means over patients", columns, rows)


def pairs_table(runs: Sequence[Run], side: str, metric: str) -> tuple[Table | None, list[str]]:
    """Every pair of arms over the patients of one side, and what each pair shows in plain sentences.

    No table where there is nothing to compare; a sentence then says why.
    """
    name = METRIC_NAMES.get(metric, metric)
    if len(by_arm(runs)) < 2:
        return None, ["One loss alone: nothing to compare it with."]
    try:
        found = paired(runs, side, metric)
    except UserError as error:
        return None, [*([UNBALANCED] if unbalanced(runs) else []), f"No paired comparison: {error}"]
    pairs = compare_pairs(found)
    rows = []
    for pair in pairs:
        d = pair.difference
        interval = (d.low, d.high, 100 * d.level) if d.n > 1 else (None, None, None)
        higher = f"{pair.higher} of {d.n}"
        p = (pair.p, pair.holm_p, pair.smallest_holm_p)
        rows.append([f"{pair.first} - {pair.second}", d.n, d.value, *interval, higher, *p])
    columns = [
        *(Column("Pair"), Column("n"), Column("median difference", 4), Column("from", 4), Column("to", 4)),
        *(Column("level %", 1), Column("first higher"), Column("p", 4), Column("p Holm", 4), Column("least p Holm", 4)),
    ]
    table = Table(f"pairs_{side}_{metric}", f"{name} of the {side} patients, pairs of losses", columns, rows)
    few = too_few(len(found.patients), len(pairs))
    told = [few] if few else [f"{one[0].upper()}{one[1:]}" for one in (sentence(pair, name) for pair in pairs)]
    return table, told + [
        f"Patient {patient} is left out: no score is defined under {', '.join(arms)}."
        for patient, arms in found.left_out.items()
    ]


def challenge_table(scores: Mapping[str, Sequence[ChallengeScore]]) -> Table:
    """The challenge's metrics, means over the patients of each side, with and without the largest component."""
    everything = [row for rows in scores.values() for row in rows]
    shown = {
        metric: column
        for metric, column in _CHALLENGE_COLUMNS.items()
        if any(not np.isnan(getattr(row, metric)) for row in everything)
    }
    rows = []
    for masks in dict.fromkeys(row.masks for row in everything):
        for side in SIDES:
            for arm, listed in scores.items():
                members = [row for row in listed if (row.masks, row.side) == (masks, side)]
                if members:
                    values = [mean_defined(_defined(patient_values(members, metric))) for metric in shown]
                    rows.append([arm, side, masks, *values])
    note = (
        "What has no value is left out of its mean, and scores 0. HD95 and surface Dice are MONAI's and no part of the "
        "score."
        if "hd95_mm" in shown
        else "What has no value is left out of its mean, and scores 0."
    )
    columns = [Column("Loss"), Column("side"), Column("masks"), *shown.values()]
    return Table("challenge", "CHAOS metrics and score, means over patients", columns, rows, note)


def dice_by_threshold(runs: Sequence[Run], side: str) -> np.ndarray:
    """Volume Dice at the thresholds 0 to 254, mean over the patients of a side and then over runs; float64 (255,)."""
    by_run = []
    for run in runs:
        curves = [score.dice(counts_by_threshold(run.levels[patient])) for patient in run.patients(side)]
        by_run.append([mean_defined(column) for column in np.array(curves).reshape(-1, LEVELS - 1).T])
    return np.array([mean_defined(column) for column in np.array(by_run).T])


def threshold_table(runs: Sequence[Run]) -> Table:
    """Volume Dice of the last side at the threshold of the runs, and at the one that validation would have chosen."""
    last = scored_sides(runs)[-1]
    rows = []
    for arm, members in by_arm(runs).items():
        used = float(members[0].summary["threshold"])
        val, held_out = dice_by_threshold(members, "val"), dice_by_threshold(members, last)
        best = int(np.nanargmax(val)) if not np.isnan(val).all() else None
        rows.append(
            [arm, used, held_out[int(used)], best]
            + ([None, None] if best is None else [held_out[best], held_out[best] - held_out[int(used)]])
        )
    columns = [Column("Loss"), Column("threshold used"), Column(f"{last} Dice", 4), Column("best on validation")]
    columns += [Column(f"{last} Dice there", 4), Column("gain", 4)]
    note = "Thresholds are of 255 times the probability; volume Dice, mean over patients and runs."
    return Table("thresholds", "The threshold, and the one that validation would choose", columns, rows, note)


def _defined(values: Mapping[str, float]) -> np.ndarray:
    return np.array([value for value in values.values() if not np.isnan(value)])
