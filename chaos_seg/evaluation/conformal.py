"""A Dice for a scan without a true mask, with a promise: split-conformal intervals about a guess."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = (0.9, 0.8)  # the highest that the number of scans allows is promised


@dataclass(frozen=True)
class DicePromise:
    """A guess of a scan's Dice and where it lies with a chance of at least `level`, by so many held-out scans."""

    guess: float
    low: float
    high: float
    level: float
    scans: int


def promised(guess: float, held_out: Sequence[Sequence[float]]) -> DicePromise | None:
    """`held_out`: guessed and true Dice of each scan. None where they are too few for any of LEVELS."""
    level = next((level for level in LEVELS if _rank(len(held_out), level) <= len(held_out)), None)
    if level is None:
        return None
    guesses, dice = np.array(held_out).T
    return DicePromise(guess, *dice_interval(guess, guesses, dice, level), level, len(held_out))


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
    rank = _rank(len(errors), level)
    if rank > len(errors):
        return 0.0, 1.0
    error = float(errors[rank - 1])
    return max(0.0, guess - error), min(1.0, guess + error)


def _rank(n: int, level: float) -> int:
    """Which of n errors, smallest first from 1, bounds the next one with this chance."""
    return math.ceil((n + 1) * level - 1e-9)
