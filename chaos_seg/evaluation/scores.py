"""A patient's scores, from counted slices and whole masks, and their averages."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.evaluation.counts import mean_defined
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.evaluation.surface import hd95_mm, surface_dice

SURFACE_TOLERANCE_MM = 3.0
# What is averaged: fields of PatientScore and of ChallengeScore.
STUDY_METRICS = ("volume_dice", "slice_dice", "accuracy", "precision", "recall")
CHALLENGE_METRICS = ("dice", "ravd_percent", "assd_mm", "mssd_mm", "score", "hd95_mm", "surface_dice")


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
    for name in STUDY_METRICS:
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
    largest = np.stack([*largest_component(predicted)])
    for masks, volume in (("as predicted", predicted), ("largest component", largest)):
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
                for name in CHALLENGE_METRICS
            }
            for side in dict.fromkeys(s.side for s in scores)
        }
        for masks in dict.fromkeys(s.masks for s in scores)
    }
