"""The network's input from MR."""

from dataclasses import dataclass

import numpy as np

from chaos_seg.data.greys import percentiles
from chaos_seg.data.preprocessing import Window, resize_image, resize_mask
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.registry import PREPROCESSINGS


@PREPROCESSINGS.register("percentiles")
@dataclass(frozen=True)
class Percentiles:
    """A window between two percentiles of all pixels of a scan, for MR, whose greys have no unit."""

    image_size: int
    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise UserError(
                f"preprocessing.low={self.low} and high={self.high}: expected percentages, the first below the second."
            )

    def of(self, scan: Scan) -> Window:
        """That of one scan. The first time it reads the scan."""
        return self._between(*percentiles(scan, (self.low, self.high)).tolist())

    def image(self, hu: np.ndarray) -> np.ndarray:
        """Of a slice that is all of its scan."""
        return self._between(*np.percentile(hu, (self.low, self.high)).tolist()).image(hu)

    def _between(self, low: float, high: float) -> Window:
        return Window(self.image_size, (low + high) / 2, max(high - low, 1.0))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        return resize_mask(mask, (self.image_size, self.image_size))

    def back(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        return resize_image(probability, shape)

    def in_words(self) -> list[str]:
        steps = Window(self.image_size, 0, 1).in_words()
        return [
            f"p and q are the {self.low:g}th and {self.high:g}th percentile of all pixels of all slices of the scan.",
            "x = clip(2 * (value - p) / max(q - p, 1) - 1, -1, 1), float32.",
            *steps[1:],
        ]

    def back_in_words(self) -> str:
        return Window(self.image_size, 0, 1).back_in_words()
