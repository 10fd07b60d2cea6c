"""What the probabilities of a scan expect of its own mask."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Confidence:
    """Of each slice, float64 (slices,): twice the probability inside its mask; that of the whole slice plus the mask's
    pixels; the largest probability; the mask's pixels, before any post-processing.
    """

    inside: np.ndarray
    total: np.ndarray
    largest: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, rows: "list[tuple[float, float, float, int]]") -> "Confidence":
        """Of the row() of each slice."""
        return cls(*np.array(rows, float).reshape(-1, 4).T)

    @staticmethod
    def row(probability: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, int]:
        """Of a slice: float32 and bool (rows, columns)."""
        pixels = int(np.count_nonzero(mask))
        inside, everywhere = float(probability[mask].sum()), float(probability.sum(dtype=np.float64))
        return 2 * inside, everywhere + pixels, float(probability.max()), pixels

    @property
    def doubt(self) -> np.ndarray:
        """The Dice that each slice may cost: 1 - soft Dice confidence (Borges et al., arXiv 2402.10665), 2 sum(p m) /
        sum(p + m), the Dice that is to be expected where probabilities are right; of an empty mask the largest
        probability that there is liver. float64 (slices,).
        """
        return np.where(self.pixels > 0, 1 - self.inside / np.maximum(self.total, 1e-9), self.largest)

    @property
    def dice(self) -> float:
        """The same of the whole scan, its pixels pooled; NaN without a mask."""
        return float(self.inside.sum() / self.total.sum()) if self.pixels.any() else float("nan")
