"""Per-patient tables: from counted slices and whole masks to rows, and rows in the layout of study and challenge."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.evaluation.counts import mean_defined
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.evaluation.surface import hd95_mm, surface_dice

SURFACE_TOLERANCE_MM = 3.0
SYNTHETIC = "SYNTHETIC phantom data: these numbers say nothing about patients."
# What the study's layout shows of a row, line by line.
LINES = {
    "volume_dice": "Volume Dice",
    "slice_dice": "Slice-mean Dice",
    "precision": "Precision",
    "recall": "Recall",
}


@dataclass(frozen=True)
class PatientScore:
    """One patient's scores. `volume_dice` pools all slices; `slice_dice` is the mean over slices that have liver in
    the true or the predicted mask: the `both_empty` others have no Dice and are left out."""

    patient: str
    side: str
    slices: int
    both_empty: int
    tp: int
    fp: int
    fn: int
    tn: int
    volume_dice: float
    slice_dice: float
    accuracy: float
    precision: float
    recall: float


def patient_score(patient: str, side: str, counts: np.ndarray) -> PatientScore:
    """Scores of one patient from the counts of its slices, (slices, 4)."""
    total = counts.sum(axis=0)
    by_slice = score.dice(counts)
    return PatientScore(
        patient=patient,
        side=side,
        slices=len(counts),
        both_empty=int(np.isnan(by_slice).sum()),
        **{name: int(value) for name, value in zip(score.FIELDS, total, strict=True)},
        volume_dice=float(score.dice(total)),
        slice_dice=mean_defined(by_slice),
        accuracy=float(score.accuracy(total)),
        precision=float(score.precision(total)),
        recall=float(score.recall(total)),
    )


def averages(scores: Sequence[PatientScore]) -> dict[str, dict[str, float]]:
    """For each score: its mean by side, over all patients, and the mean of the side means.

    The reference study reports the last, (0.965 + 0.899 + 0.944) / 3 = 0.936, in which its one test patient weighs as
    much as its 15 training patients.
    """
    result = {}
    for name in LINES:
        by_side = {
            side: mean_defined(np.array([getattr(s, name) for s in scores if s.side == side]))
            for side in dict.fromkeys(s.side for s in scores)
        }
        result[name] = {
            **by_side,
            "patients": mean_defined(np.array([getattr(s, name) for s in scores])),
            "sides": mean_defined(np.array(list(by_side.values()))),
        }
    return result


def as_rows(scores: Sequence[PatientScore], synthetic: bool) -> list[dict[str, Any]]:
    """Rows of per_patient.csv; their last column says whether the patient is a phantom."""
    return [{**asdict(s), "synthetic": synthetic} for s in scores]


def study_tables(scores: Sequence[PatientScore], synthetic: bool) -> str:
    """One table for each side in the study's layout: patients across, their average last; then both averages."""
    means = averages(scores)
    titles = {"train": "Train data", "val": "Validation data", "test": "Test data"}
    parts = [SYNTHETIC] if synthetic else []
    for side in dict.fromkeys(s.side for s in scores):
        rows = [s for s in scores if s.side == side]
        width = max(6, *(len(s.patient) + 1 for s in rows))
        lines = [titles.get(side, side), _line("Patient id", [s.patient for s in rows], width, "Average")]
        for name, label in LINES.items():
            values = [_number(getattr(s, name)) for s in rows]
            lines.append(_line(label, values, width, _number(means[name][side])))
        empty = sum(s.both_empty for s in rows)
        lines.append(_line("Both-empty slices", [str(s.both_empty) for s in rows], width, f"{empty} in all"))
        parts.append("\n".join(lines))
    total = [f"{'':<20}{'over patients':>16}{'of split means':>16}"]
    for name, label in LINES.items():
        total.append(f"{'Mean ' + label:<20}{_number(means[name]['patients']):>16}{_number(means[name]['sides']):>16}")
    parts.append("\n".join(total))
    parts.append(
        "Volume Dice pools a patient's slices; slice-mean Dice averages over slices and leaves out those whose "
        "true and predicted\nmasks are both empty. '-' is a score that is 0/0; averages leave it out."
    )
    return "\n\n".join(parts)


# Metrics of ChallengeScore: heading and decimals in tables.
CHALLENGE = {
    "dice": ("DICE", 3),
    "ravd_percent": ("RAVD %", 2),
    "assd_mm": ("ASSD mm", 2),
    "mssd_mm": ("MSSD mm", 1),
    "score": ("score", 1),
    "hd95_mm": ("HD95 mm", 2),
    "surface_dice": ("surf. Dice", 3),
}


@dataclass(frozen=True)
class ChallengeScore:
    """One patient's metrics of the challenge; `masks` is "as predicted" or "largest component".

    `hd95_mm` and `surface_dice` (at SURFACE_TOLERANCE_MM) are MONAI's and no part of the score; NaN without MONAI.
    """

    patient: str
    side: str
    masks: str
    dice: float
    ravd_percent: float
    assd_mm: float
    mssd_mm: float
    score: float
    hd95_mm: float
    surface_dice: float


def challenge_scores(
    patient: str,
    side: str,
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    with_monai: bool,
) -> list[ChallengeScore]:
    """The challenge's metrics of the masks as predicted, and of their largest component alone.

    Args:
        predicted, reference: bool or {0, 1}, (slices, rows, columns).
        spacing_mm: between slices, rows and columns.
        with_monai: HD95 and surface Dice too.
    """
    scores: list[ChallengeScore] = []
    for masks, volume in (("as predicted", predicted), ("largest component", largest_component(predicted))):
        if scores and (volume == predicted).all():
            scores.append(replace(scores[0], masks=masks))
            continue
        metrics = chaos_scores(volume, reference, spacing_mm)
        surface = (math.nan, math.nan)
        if with_monai:
            surface = (
                hd95_mm(volume, reference, spacing_mm),
                surface_dice(volume, reference, spacing_mm, SURFACE_TOLERANCE_MM),
            )
        scores.append(
            ChallengeScore(
                patient,
                side,
                masks,
                **asdict(metrics),
                score=metrics.score,
                hd95_mm=surface[0],
                surface_dice=surface[1],
            )
        )
    return scores


def challenge_averages(scores: Sequence[ChallengeScore]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over the patients of each side, by masks and metric; what has no value is left out, but scores 0 there."""
    return {
        masks: {
            side: {
                name: mean_defined(np.array([getattr(s, name) for s in scores if (s.masks, s.side) == (masks, side)]))
                for name in CHALLENGE
            }
            for side in dict.fromkeys(s.side for s in scores)
        }
        for masks in dict.fromkeys(s.masks for s in scores)
    }


def challenge_table(scores: Sequence[ChallengeScore]) -> str:
    """The means of challenge_averages(), a line for each side and choice of masks."""
    shown = {name: told for name, told in CHALLENGE.items() if any(not np.isnan(getattr(s, name)) for s in scores)}
    head = "".join(f"{heading:>11}" for heading, _ in shown.values())
    lines = [f"{'CHAOS metrics, means':<28}{head}"]
    for masks, sides in challenge_averages(scores).items():
        for side, means in sides.items():
            numbers = (
                "-" if np.isnan(means[name]) else f"{means[name]:.{decimals}f}" for name, (_, decimals) in shown.items()
            )
            lines.append(f"{side + ', ' + masks:<28}" + "".join(f"{number:>11}" for number in numbers))
    return "\n".join(lines)


def comparison_table(runs: Mapping[str, Mapping[str, Mapping[str, float]]], synthetic: bool) -> str:
    """Runs line by line, each with its averages() of volume and slice-mean Dice."""
    width = max(len("Run"), *(len(name) for name in runs)) + 2
    columns = ("train", "val", "test", "patients", "sides")
    head = f"{'Run':<{width}}" + "".join(f"{c:>10}" for c in ("train", "val", "test", "patients", "splits"))
    parts = [SYNTHETIC] if synthetic else []
    for score_name in ("volume_dice", "slice_dice"):
        lines = [f"{LINES[score_name]}, mean over the patients of each side", head]
        for name, means in runs.items():
            values = [means[score_name].get(column, float("nan")) for column in columns]
            lines.append(f"{name:<{width}}" + "".join(f"{_number(v):>10}" for v in values))
        parts.append("\n".join(lines))
    parts.append("patients: mean over all patients; splits: mean of the three side means, as in the study.")
    return "\n\n".join(parts)


def _line(label: str, values: Sequence[str], width: int, average: str) -> str:
    return f"{label:<20}" + "".join(f"{value:>{width}}" for value in values) + f"{average:>12}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
