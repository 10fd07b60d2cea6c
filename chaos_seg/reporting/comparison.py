"""Tables that set runs side by side: in the study's layout, over patients, and by the challenge."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from chaos_seg.data.splits import SIDES
from chaos_seg.evaluation.counts import mean_defined
from chaos_seg.evaluation.metrics import heading
from chaos_seg.evaluation.scores import (
    CHALLENGE_METRICS,
    SURFACE_TOLERANCE_MM,
    ChallengeScore,
    PatientScore,
    averages,
)
from chaos_seg.evaluation.statistics import mean_interval
from chaos_seg.reporting import reference
from chaos_seg.reporting.runs import Run, arm_words, by_arm, scored_sides, unbalanced
from chaos_seg.reporting.tables import Column, Table

SYNTHETIC = "SYNTHETIC phantom data: these numbers say nothing about patients."
DICES = ("volume_dice", "slice_dice")  # which have tables of their own
UNBALANCED = (
    "What is compared was not scored on the same patients, seeds and folds: the means are no comparison until all runs "
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


def arm_column(arms: Iterable[str]) -> Column:
    """The column that names what is compared."""
    return Column(arm_words(arms)[0].capitalize())


def patient_values(scores: Iterable[PatientScore | ChallengeScore], metric: str) -> dict[str, float]:
    """A metric of each patient, the mean over the runs that scored it; NaN when one of them has none."""
    values_of: dict[str, list[float]] = {}
    for row in scores:
        values_of.setdefault(row.patient, []).append(row.values.get(metric, np.nan))
    return {patient: float(np.mean(values)) for patient, values in values_of.items()}


def shared_values(
    scores: Mapping[str, Sequence[PatientScore | ChallengeScore]], metric: str
) -> tuple[dict[str, dict[str, float]], dict[str, list[str]]]:
    """patient_values() under every arm of the patients that have one under all: means then rest on the same patients.

    An arm that has none at all has nobody to share. The second value names the arms that gave a patient none: one that
    finds no liver would gain by leaving the patient out unseen.
    """
    values = {arm: patient_values(rows, metric) for arm, rows in scores.items()}
    defined = {arm: {p for p, value in of_patient.items() if not np.isnan(value)} for arm, of_patient in values.items()}
    left_out: dict[str, list[str]] = {}
    for arm, of_patient in values.items():
        for patient in of_patient if defined[arm] else ():
            if patient not in defined[arm]:
                left_out.setdefault(patient, []).append(arm)
    shared = {
        arm: {p: value for p, value in of_patient.items() if p in defined[arm] and p not in left_out}
        for arm, of_patient in values.items()
    }
    return shared, left_out


def _notes(
    scores: Mapping[str, Sequence[PatientScore | ChallengeScore]],
    left_out: Mapping[str, Mapping[str, Sequence[str]]],
    *more: str,
) -> str:
    """What a reader of means must know first: arms on other patients, and who is left out of which mean."""
    counted = [Counter((row.side, row.patient) for row in rows) for rows in scores.values()]
    who = []
    for name, names_of in left_out.items():
        if names_of:
            patients = ", ".join(f"{patient} ({' and '.join(arms)})" for patient, arms in names_of.items())
            who.append(f"{name}: {patients}")
    every = f"under every {arm_words(scores)[0]}"
    words = f"Left out of means, {every}, for want of a value under the one in brackets: {'; '.join(who)}."
    unequal = any(one != counted[0] for one in counted)
    return " ".join([*([UNBALANCED] if unequal else []), *([words] if who else []), *more])


def study_tables(scores: Mapping[str, Sequence[PatientScore]], metrics: Sequence[str], synthetic: bool) -> list[Table]:
    """A table for each side in the study's layout: patients across, their average last, a line an arm and metric.

    The numbers that the study printed stand below when patients and split are the study's.
    """
    tables = []
    apart = reference.why_apart([row for rows in scores.values() for row in rows], synthetic)
    for side in SIDES:
        members = {arm: [row for row in rows if row.side == side] for arm, rows in scores.items()}
        patients = list(dict.fromkeys(row.patient for rows in members.values() for row in rows))
        if not patients:
            continue
        lines: list[list[object]] = []
        shared = {metric: shared_values(members, metric) for metric in metrics}
        for arm, rows in members.items():
            for metric in metrics:
                values, average = patient_values(rows, metric), _mean(shared[metric][0][arm])
                label = heading(metric) if len(members) == 1 else f"{arm}, {heading(metric)}"
                lines.append([label, *map(values.get, patients), average])
        if len(members) == 1:
            empty = {row.patient: row.both_empty for row in next(iter(members.values()))}
            lines.append(["Both-empty slices", *map(empty.get, patients), None])
        if apart is None:
            published = reference.PATIENTS[side]
            lines.append(["study, published", *map(published.get, patients), reference.AVERAGES[side]])
        columns = [Column("Patient id"), *(Column(patient, 3) for patient in patients), Column("Average", 3)]
        note = _notes(members, {heading(metric): left_out for metric, (_, left_out) in shared.items()})
        tables.append(Table(f"patients_{side}", SIDE_NAMES[side], columns, lines, note))
    return tables


def run_tables(loss: str, scores: Sequence[PatientScore], challenge: Sequence[ChallengeScore], synthetic: bool) -> str:
    """What one run shows on the terminal: the study's tables, both averages, and the challenge's metrics."""
    means = averages(scores)
    metrics = [metric for metric in means if metric != "accuracy"]
    sides = study_tables({loss: scores}, metrics, synthetic)
    total = Table(
        "averages",
        "Averages",
        [Column(""), Column("over patients", 3), Column("of split means", 3)],
        [[heading(metric), means[metric]["patients"], means[metric]["sides"]] for metric in metrics],
        f"{TWO_DICES} Dashes are scores that are 0/0; averages leave them out.",
    )
    tables = [*sides, total, challenge_table({loss: challenge})]
    return "\n\n".join([*([SYNTHETIC] if synthetic else []), *(table.as_text() for table in tables)])


def means_table(runs: Sequence[Run], metric: str) -> Table:
    """A line an arm: the mean over the patients of each side, over all patients, and of the side means.

    The interval is that of the mean over the last side, the test patients where there are any. The study's numbers are
    beside ours when patients and split are the study's; else they have published_table().
    """
    arms = by_arm(runs)
    sides = scored_sides(runs)
    shared = {side: shared_values(_scores(runs, side), metric) for side in sides}
    everyone, _ = shared_values(_scores(runs), metric)
    rows = []
    for arm, members in arms.items():
        means = [_mean(shared[side][0][arm]) for side in sides]
        values = list(shared[sides[-1]][0][arm].values())
        last = mean_interval(values) if values else None
        interval = [last and last.low, last and last.high, len(values)]
        rows.append([arm, len(members), *means, *interval, _mean(everyone[arm]), mean_defined(np.array(means))])
    named = [Column(side, 3) for side in sides]
    named += [Column(f"{sides[-1]} from", 3), Column("to", 3), Column("n")]
    columns = [arm_column(arms), Column("runs"), *named, Column("patients", 3), Column("splits", 3)]
    if metric.endswith("dice") and _why_apart(runs) is None:
        columns.append(Column("study", 3))
        for row, members in zip(rows, arms.values(), strict=True):
            row.append(reference.LOSS_AVERAGES.get(members[0].config["loss.name"]))
        printed = [reference.AVERAGES[side] for side in sides]
        rows.append(["study's tables", None, *printed, None, None, None, None, reference.AVERAGES["splits"], None])
    note = _notes(
        _scores(runs),
        {side: left_out for side, (_, left_out) in shared.items()},
        f"From, to: 95 % bootstrap interval of the mean over the n {sides[-1]} patients. Patients: mean over all "
        "patients, each counted once. Splits: mean of the side means, as in the study.",
    )
    if unbalanced(runs) and not note.startswith(UNBALANCED):
        note = f"{UNBALANCED} {note}"
    return Table(f"means_{metric}", f"{heading(metric)}, mean over the patients of each side", columns, rows, note)


def published_table(runs: Sequence[Run]) -> Table | None:
    """The study's averages by themselves, and why; None where they stand beside ours, and for phantoms."""
    apart = _why_apart(runs)
    if apart is None or any(run.summary["synthetic"] for run in runs):
        return None
    rows = [[loss, None, None, None, average] for loss, average in reference.LOSS_AVERAGES.items()]
    rows.append(["its tables", *(reference.AVERAGES[key] for key in (*SIDES, "splits"))])
    columns = [Column("Loss"), *(Column(side, 3) for side in SIDES), Column("average", 3)]
    note = f"Not to be compared with the runs here: {apart}."
    return Table("study", "What the reference study printed, average Dice of its own patients", columns, rows, note)


def metrics_table(runs: Sequence[Run]) -> Table:
    """Binary accuracy, precision, recall and whatever else is measured, means over the patients of each side."""
    measured = dict.fromkeys(metric for run in runs for row in run.scores for metric in row.values)
    metrics = [metric for metric in measured if metric not in DICES]
    rows: list[list[object]] = []
    left_out: dict[str, dict[str, list[str]]] = {}
    for side in scored_sides(runs):
        shared = {metric: shared_values(_scores(runs, side), metric) for metric in metrics}
        left_out |= {f"{heading(metric)}, {side}": names for metric, (_, names) in shared.items()}
        rows += [
            [arm, side, *(_mean(values[arm]) for values, _ in shared.values())]
            for arm, listed in _scores(runs, side).items()
            if listed
        ]
    columns = [arm_column(by_arm(runs)), Column("side"), *(Column(heading(metric), 3) for metric in metrics)]
    *some, last = map(heading, metrics)
    caption = f"{', '.join(some)} and {last}, means over patients" if some else f"{last}, means over patients"
    return Table("metrics", caption, columns, rows, _notes(_scores(runs), left_out))


def challenge_table(scores: Mapping[str, Sequence[ChallengeScore]]) -> Table:
    """The challenge's metrics, means over the patients of each side, with and without the largest component."""
    everything = [row for rows in scores.values() for row in rows]
    shown = {
        metric: column
        for metric, column in _CHALLENGE_COLUMNS.items()
        if any(not np.isnan(row.values[metric]) for row in everything)
    }
    rows: list[list[object]] = []
    left_out: dict[str, dict[str, list[str]]] = {}
    for masks in dict.fromkeys(row.masks for row in everything):
        for side in SIDES:
            members = {arm: [r for r in listed if (r.masks, r.side) == (masks, side)] for arm, listed in scores.items()}
            shared = {metric: shared_values(members, metric) for metric in shown}
            left_out |= {f"{shown[metric].title}, {side}, {masks}": names for metric, (_, names) in shared.items()}
            rows += [
                [arm, side, masks, *(_mean(values[arm]) for values, _ in shared.values())]
                for arm, listed in members.items()
                if listed
            ]
    note = _notes(
        scores,
        left_out,
        "What has no value scores 0."
        + (" HD95 and surface Dice are MONAI's and no part of the score." if "hd95_mm" in shown else ""),
    )
    columns = [arm_column(scores), Column("side"), Column("masks"), *shown.values()]
    return Table("challenge", "CHAOS metrics and score, means over patients", columns, rows, note)


def _scores(runs: Sequence[Run], side: str | None = None) -> dict[str, list[PatientScore]]:
    """The scores of each arm, of one side or of all."""
    return {
        arm: [row for run in members for row in run.scores if side in (None, row.side)]
        for arm, members in by_arm(runs).items()
    }


def _why_apart(runs: Sequence[Run]) -> str | None:
    scores = [row for run in runs for row in run.scores]
    return reference.why_apart(scores, any(run.summary["synthetic"] for run in runs))


def _mean(values: Mapping[str, float]) -> float:
    return mean_defined(np.array(list(values.values())))
