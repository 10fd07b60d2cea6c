"""A patient's scores, from counted slices and whole masks, and their averages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from chaos_seg.errors import UserError
from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.evaluation.counts import mean_defined
from chaos_seg.evaluation.distances import border_distances
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.evaluation.metrics import Case, metrics_of
from chaos_seg.evaluation.surface import hd95_and_surface_dice
from chaos_seg.registry import METRICS

SURFACE_TOLERANCE_MM = 3.0
# Of the mean Dice of validation patients, by the largest component alone. It cost 0.002 where a lobe lay apart, and has
# given 0.09 to 0.16 on whole trunks (docs/recipe.md), which the validation patients may not be.
MAX_LOSS = 0.005
CHALLENGE_METRICS = ("dice", "ravd_percent", "assd_mm", "mssd_mm", "score", "hd95_mm", "surface_dice")


@dataclass(frozen=True)
class PatientScore:
    """One patient's scores: counted pixels, and the `values` of every metric by name.

    `both_empty` slices have liver in neither mask, and hence no Dice.
    """

    patient: str
    side: str
    slices: int
    both_empty: int
    tp: int
    fp: int
    fn: int
    tn: int
    values: Mapping[str, float] = field(default_factory=dict)


FIXED = tuple(field.name for field in fields(PatientScore) if field.name != "values")  # columns beside the metrics


def check_metrics() -> None:
    """Try every metric on two small masks, before training and not after it.

    Raises:
        UserError: one that fails or gives no number, or has the name of another column of per_patient.csv.
    """
    planes = [np.zeros((4, 4), bool), np.eye(4, dtype=bool)]
    counted = np.array([score.count(one, other) for one, other in zip(planes, planes[::-1], strict=True)])
    for name, metric in METRICS.entries().items():
        if name in (*FIXED, "synthetic"):
            raise UserError(f"metric {name}: expected another name, since a column of per_patient.csv has it.")
        try:
            float(metric(Case(counted, planes, planes[::-1], (1.0, 1.0, 1.0))))
        except Exception as error:
            raise UserError(f"metric {name}: expected a number, found {type(error).__name__}: {error}.") from error


def patient_score(patient: str, side: str, case: Case) -> PatientScore:
    """Scores of one patient."""
    return PatientScore(
        patient=patient,
        side=side,
        slices=len(case.counts),
        both_empty=int(np.isnan(score.dice(case.counts)).sum()),
        **{name: int(value) for name, value in zip(score.FIELDS, case.counts.sum(axis=0), strict=True)},
        values=metrics_of(case),
    )


def averages(scores: Sequence[PatientScore]) -> dict[str, dict[str, float]]:
    """For each score: its mean by side, over all patients, and the mean of the side means.

    The reference study reports the last, (0.965 + 0.899 + 0.944) / 3 = 0.936, in which its one test patient weighs as
    much as its 15 training patients.
    """
    result = {}
    for name in dict.fromkeys(name for s in scores for name in s.values):
        by_side = {
            side: mean_defined(np.array([s.values[name] for s in scores if s.side == side]))
            for side in dict.fromkeys(s.side for s in scores)
        }
        result[name] = {
            **by_side,
            "patients": mean_defined(np.array([s.values[name] for s in scores])),
            "sides": mean_defined(np.array(list(by_side.values()))),
        }
    return result


def as_rows(scores: Sequence[PatientScore], synthetic: bool) -> list[dict[str, Any]]:
    """Rows of per_patient.csv; their last column says whether the patient is a phantom."""
    rows = [{**{name: getattr(s, name) for name in FIXED}, **s.values} for s in scores]
    return [{**row, "synthetic": synthetic} for row in rows]


@dataclass(frozen=True)
class ChallengeScore:
    """One patient's metrics of the challenge; `masks` is "as predicted" or "largest component".

    `hd95_mm` and `surface_dice` (at SURFACE_TOLERANCE_MM) are MONAI's and no part of the score.
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

    @property
    def values(self) -> Mapping[str, float]:
        """The metrics by name."""
        return {name: getattr(self, name) for name in CHALLENGE_METRICS}


def challenge_scores(
    patient: str,
    side: str,
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
) -> list[ChallengeScore]:
    """The challenge's metrics of the masks as predicted, and of their largest component alone.

    Args:
        predicted, reference: bool or {0, 1}, (slices, rows, columns).
        spacing_mm: between slices, rows and columns.
    """
    scores, largest = [], np.stack([*largest_component(predicted, spacing_mm[1:])])
    of_both = border_distances([predicted, largest], reference, spacing_mm)
    volumes = ("as predicted", predicted), ("largest component", largest)
    for (masks, volume), borders in zip(volumes, of_both, strict=True):
        metrics = chaos_scores(volume, reference, spacing_mm, borders.mm(ends=False))
        monais = borders.mm(ends=True)
        hd95_mm, near = hd95_and_surface_dice(volume, reference, spacing_mm, SURFACE_TOLERANCE_MM, monais)
        values = asdict(metrics) | {"score": metrics.score, "hd95_mm": hd95_mm, "surface_dice": near}
        scores.append(ChallengeScore(patient, side, masks, **values))
    return scores


def largest_fits(scores: Sequence[ChallengeScore]) -> bool:
    """Whether validation patients speak for the largest component alone: their mean volume Dice gains by it, as
    nnU-Net chooses (Isensee et al. 2021, doi.org/10.1038/s41592-020-01008-z), or loses MAX_LOSS at most. The liver is
    one organ, and scans whose every slice shows it can't tell what would be found elsewhere in a trunk.
    """
    of_validation = [row for row in scores if row.side == "val"]
    whole, largest = (
        [row.dice for row in of_validation if row.masks == masks and not math.isnan(row.dice)]
        for masks in ("as predicted", "largest component")
    )
    return any(whole) and sum(largest) >= sum(whole) - MAX_LOSS * len(whole)


def challenge_averages(scores: Sequence[ChallengeScore]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over the patients of each side, by masks and metric; what has no value is left out, but scores 0 there."""
    return {
        masks: {
            side: {
                name: mean_defined(np.array([s.values[name] for s in scores if (s.masks, s.side) == (masks, side)]))
                for name in CHALLENGE_METRICS
            }
            for side in dict.fromkeys(s.side for s in scores)
        }
        for masks in dict.fromkeys(s.masks for s in scores)
    }
