"""A patient's metrics by name: each is one function of a Case, computed for every scored patient.

    @METRICS.register("volume_dice")
    def volume_dice(case: Case) -> float: ...

Its docstring begins with its heading in tables, up to the colon.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
