"""What another threshold would have given, and whether a probability is what it says: from counts of 8-bit levels.

The level of a probability p is ceil(255 p), 0 to 255: for every whole threshold t, 255 p > t just when the level is
above t. Counts of levels therefore hold the masks' overlap at every threshold, without the probabilities.
"""

import numpy as np

LEVELS = 256
MIDDLES = (np.arange(LEVELS) - 0.5).clip(0) / 255  # a level holds the probabilities of the 1/255 below it


def count_levels(probability: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How many pixels of each level are liver, and how many are not.

    Args:
        probability: float, any shape, 0 to 1.
        true: boolean, the same shape.

    Returns:
        int64 (2, 256): pixels outside, then inside the true mask.
    """
    level = np.clip(np.ceil(probability * 255), 0, LEVELS - 1).astype(np.int64)
    return np.bincount((level + LEVELS * true).ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)


def counts_by_threshold(levels: np.ndarray) -> np.ndarray:
    """(tp, fp, fn, tn) at the thresholds 0, 1, ..., 254, from count_levels(): int64 (..., 2, 256) -> (..., 255, 4)."""
    above = np.flip(np.cumsum(np.flip(levels, -1), -1), -1)[..., 1:]  # of a level above t
    other, liver = above[..., 0, :], above[..., 1, :]
    all_other, all_liver = (levels[..., k, :].sum(-1, keepdims=True) for k in (0, 1))
    return np.stack([liver, other, all_liver - liver, all_other - other], axis=-1)


def reliability(
    counts: np.ndarray, probability: np.ndarray = MIDDLES, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted against observed share of liver in `bins` bins of equal width.

    Args:
        counts: (2, n) pixels outside and inside the true mask, as of count_levels().
        probability: (n,) that of each column.

    Returns:
        float64 (bins,) mean predicted probability, observed share of liver, and int64 (bins,) pixels; NaN without any.
    """
    group = np.minimum((probability * bins).astype(int), bins - 1)
    weights = (counts.sum(0), counts[1], counts.sum(0) * probability)
    pixels, liver, predicted = (np.bincount(group, weights=one, minlength=bins) for one in weights)
    with np.errstate(invalid="ignore"):
        return predicted / pixels, liver / pixels, pixels.astype(np.int64)
