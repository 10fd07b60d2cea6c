"""A Dice for a scan without a true mask, with a promise: split-conformal intervals about a guess."""

import math

import numpy as np


def dice_interval(guess: float, guesses: np.ndarray, dice: np.ndarray, level: float) -> tuple[float, float]:
    """Where the Dice of a new scan lies with a chance of at least `level`: the guess, more or less its error on scans
    that the model did not see (Vovk et al. 2005; Lei et al., JASA 113 (2018) 1094-1111).

    The promise is over scans drawn like those, of the same scanners and phases too; it does not hold for others. Too
    few of them, n + 1 < 1 / (1 - level), give 0 to 1.

    Args:
        guess: of the new scan's Dice.
        guesses: of the scans with a true mask, (n,).
        dice: their Dice, (n,).
    """
    errors = np.sort(np.abs(np.asarray(dice) - guesses))
    rank = math.ceil((len(errors) + 1) * level - 1e-9)
    if rank > len(errors):
        return 0.0, 1.0
    error = float(errors[rank - 1])
    return max(0.0, guess - error), min(1.0, guess + error)
