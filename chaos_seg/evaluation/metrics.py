"""A patient's metrics by name: each is one function of a Case, computed for every scored patient.

@METRICS.register("volume_dice")
def volume_dice(case: Case) -> float:
    \"\"\"Volume Dice: of all slices pooled.\"\"\"      # what stands before the colon is its heading
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from chaos_seg.errors import UserError
from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.counts import mean_defined
from chaos_seg.registry import METRICS


@dataclass(frozen=True)
class Case:
    """A predicted and a true mask of one patient."""

    counts: np.ndarray  # int64 (slices, 4), counts.FIELDS of each slice, in the scan's order
    predicted: Sequence[np.ndarray]  # slices of bool (rows, columns), packed: np.stack() makes an array of them
    true: Sequence[np.ndarray]
    spacing_mm: tuple[float, float, float]  # between slices, rows and columns


def metrics_of(case: Case) -> dict[str, float]:
    """The value of every metric; NaN where it has none."""
    return {name: float(metric(case)) for name, metric in METRICS.entries().items()}


def check_metrics(reserved: Collection[str]) -> None:
    """Try every metric on two small masks, before training and not after it.

    Raises:
        UserError: one that fails or gives no number, or has a name that is `reserved` for another column.
    """
    planes = [np.zeros((4, 4), bool), np.eye(4, dtype=bool)]
    counted = np.array([score.count(one, other) for one, other in zip(planes, planes[::-1], strict=True)])
    for name, metric in METRICS.entries().items():
        if name in reserved:
            raise UserError(f"metric {name}: expected another name, since a column of per_patient.csv has it.")
        try:
            float(metric(Case(counted, planes, planes[::-1], (1.0, 1.0, 1.0))))
        except Exception as error:
            raise UserError(f"metric {name}: expected a number, found {type(error).__name__}: {error}.") from error


def heading(name: str) -> str:
    """What a table calls a metric."""
    words = (getattr(METRICS.entries().get(name), "__doc__", None) or name).split(":")[0]
    return " ".join(words.split()).rstrip(".")


@METRICS.register("volume_dice")
def volume_dice(case: Case) -> float:
    """Volume Dice: of all slices pooled, as the challenge has it."""
    return float(score.dice(case.counts.sum(axis=0)))


@METRICS.register("slice_dice")
def slice_dice(case: Case) -> float:
    """Slice-mean Dice: over the slices that have liver in the true or the predicted mask."""
    return mean_defined(score.dice(case.counts))


@METRICS.register("accuracy")
def accuracy(case: Case) -> float:
    """Binary accuracy: over all pixels."""
    return float(score.accuracy(case.counts.sum(axis=0)))


@METRICS.register("precision")
def precision(case: Case) -> float:
    """Precision: over all pixels."""
    return float(score.precision(case.counts.sum(axis=0)))


@METRICS.register("recall")
def recall(case: Case) -> float:
    """Recall: over all pixels."""
    return float(score.recall(case.counts.sum(axis=0)))
