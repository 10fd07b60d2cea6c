"""Whether a probability is what it says on slices with liver, and the temperature that makes it so.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017: logits are divided by one number, which is fitted by
the likelihood of validation data. It changes no order, hence no mask: thresholds stay on the probabilities as they are.
Pixels are counted by their logit in bins of 1/16; that is fine enough for all of it without the probabilities.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from chaos_seg.evaluation.calibration import reliability

LIMIT, PER_UNIT = 16, 16
BINS = 2 * LIMIT * PER_UNIT
LOGITS = (np.arange(BINS) + 0.5) / PER_UNIT - LIMIT  # the middle of each bin
T_RANGE = (0.05, 20.0)


def by_temperature(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logits are divided by `temperature`; float32, any shape."""
    tiny = np.finfo(np.float32).eps
    clipped = np.clip(probability, tiny, 1 - tiny).astype(np.float32)
    scaled: np.ndarray = expit(np.log(clipped / (1 - clipped)) / np.float32(temperature))
    return scaled


def count_logits(probability: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How many pixels of each bin of logits are liver, and how many are not.

    Args:
        probability: float, any shape, 0 to 1.
        true: boolean, the same shape.

    Returns:
        int64 (2, BINS): pixels outside, then inside the true mask.
    """
    with np.errstate(divide="ignore"):
        logit = np.log(probability) - np.log1p(-probability)
    place = np.clip(np.floor((logit + LIMIT) * PER_UNIT), 0, BINS - 1).astype(np.int64)
    return np.bincount((place + BINS * true).ravel(), minlength=2 * BINS).reshape(2, BINS)


def fitted_temperature(counts: np.ndarray) -> float | None:
    """The temperature of the greatest likelihood, from count_logits() (2, BINS); None without a pixel of liver."""
    other, liver = counts
    if not liver.any():
        return None

    def loss(log_t: float) -> float:
        scaled = LOGITS / np.exp(log_t)
        return float((liver * np.logaddexp(0, -scaled) + other * np.logaddexp(0, scaled)).sum() / counts.sum())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(T_RANGE), method="bounded").x))


def brier(counts: np.ndarray, temperature: float = 1.0) -> float:
    """The mean of (probability - truth)^2 over pixels, from count_logits() (2, BINS)."""
    other, liver = counts
    p = expit(LOGITS / temperature)
    return float((liver * (1 - p) ** 2 + other * p**2).sum() / counts.sum())


def calibration_error(counts: np.ndarray, temperature: float = 1.0, bins: int = 10) -> float:
    """The expected calibration error: the mean over pixels of |mean probability - share of liver| of their bin, of
    `bins` of equal width, from count_logits() (2, BINS).
    """
    predicted, observed, pixels = reliability_at(counts, temperature, bins)
    filled = pixels > 0
    return float((pixels * np.abs(predicted - observed))[filled].sum() / pixels.sum())


def reliability_at(
    counts: np.ndarray, temperature: float = 1.0, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of bins of equal width the mean probability and the share of liver, NaN without pixels, and their pixels."""
    return reliability(counts, expit(LOGITS / temperature), bins)
