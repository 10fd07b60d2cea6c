"""Overlap scores from counted pixels.

Counts are int64 arrays whose last axis is (true positive, false positive, false negative, true negative). They are
summed over what belongs together (a patient's slices) and divided once. A score that is 0/0 is NaN, and the means
below leave it out: never silently 1 or 0.
"""

import warnings

import numpy as np

FIELDS = ("tp", "fp", "fn", "tn")


def count(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Counts of one slice from two boolean masks of the same shape; int64 (4,).

    Raises:
        ValueError: shapes differ.
    """
    if predicted.shape != true.shape:
        raise ValueError(f"predicted {predicted.shape} and true {true.shape} differ in shape")
    tp = np.count_nonzero(predicted & true)
    positive, liver = np.count_nonzero(predicted), np.count_nonzero(true)
    return np.array([tp, positive - tp, liver - tp, true.size - positive - liver + tp], dtype=np.int64)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    undefined = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN); NaN where both masks are empty. Shape (..., 4) -> (...)."""
    tp, fp, fn, _ = np.moveaxis(counts, -1, 0)
    return _divide(2 * tp, 2 * tp + fp + fn)


def precision(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP); NaN where nothing was predicted."""
    tp, fp, _, _ = np.moveaxis(counts, -1, 0)
    return _divide(tp, tp + fp)


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FN); NaN where there is no liver."""
    tp, _, fn, _ = np.moveaxis(counts, -1, 0)
    return _divide(tp, tp + fn)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """(TP + TN) / all pixels."""
    tp, _, _, tn = np.moveaxis(counts, -1, 0)
    return _divide(tp + tn, counts.sum(axis=-1))


def per_group(counts: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sum counts (slices, 4) over the slices of each group (slices,) 0, 1, ...; returns (groups, 4)."""
    total = np.zeros((int(group.max()) + 1, 4), dtype=np.int64)
    np.add.at(total, group, counts)
    return total


def mean_defined(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN when there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values)) if len(values) else float("nan")
