"""True masks that may be wrong themselves: how suspicious an outline is to a model that never saw it."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

TEMPERATURE = 0.1
HALF_CM2 = 1.0  # so much that neither the slices beside it nor the model would draw halves what trust is left
_CROSS = ndimage.generate_binary_structure(2, 1)


def outline_suspicion(
    true: np.ndarray, beside: Sequence[np.ndarray], probability: np.ndarray, predicted: np.ndarray, pixel_cm2: float
) -> float:
    """How suspicious the true mask of a slice is, 0 to 1; a rank among slices, no probability.

    Two guesses joined as if independent. One is the soft minimum of the probabilities of the pixels' labels (Lad and
    Mueller, arXiv 2307.05080, cleanlab's score), for what the model is sure of. The other is the area at which the
    slice differs both from the masks before and after it, where these agree, and from the prediction: an error in one
    slice, which a model's errors, that go on from slice to slice, are not.

    Args:
        true: bool (rows, columns).
        beside: the true masks of the slices before and after, (rows, columns); with fewer than two that guess is left
            out.
        probability: of liver, float (rows, columns), by a model that did not train on the patient.
        predicted: bool (rows, columns).
        pixel_cm2: area of a pixel.
    """
    trust = np.where(true, probability, 1 - probability)
    weight = np.exp(-trust / TEMPERATURE)
    softest = float((trust * weight).sum() / weight.sum())
    if len(beside) < 2:
        return 1 - softest
    one, other = (mask > 0 for mask in beside)
    alone = np.where(true, ~(one | other), one & other) & (true != predicted)
    cm2 = np.count_nonzero(ndimage.binary_opening(alone, _CROSS)) * pixel_cm2
    return 1 - softest * HALF_CM2 / (HALF_CM2 + cm2)
