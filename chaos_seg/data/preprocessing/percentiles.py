"""The network's input from MR."""

from dataclasses import dataclass, field

import numpy as np

from chaos_seg.data.greys import AS_HU, in_hu
from chaos_seg.data.preprocessing import Window
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.registry import PREPROCESSINGS


@PREPROCESSINGS.register("percentiles")
@dataclass(frozen=True)
class Percentiles(Window):
    """A window between two percentiles of all pixels of a scan, for MR, whose greys have no unit."""

    level_hu: float = field(init=False, default=(AS_HU[0] + AS_HU[1]) / 2)
    width_hu: float = field(init=False, default=AS_HU[1] - AS_HU[0])
    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.low < self.high <= 100:
            raise UserError(
                f"preprocessing.low={self.low} and high={self.high}: expected percentages, the first below the second."
            )

    def hu(self, scan: Scan, rank: int) -> np.ndarray:
        """The first time it reads the scan."""
        return super().hu(in_hu(scan, (self.low, self.high)), rank)

    def in_words(self) -> list[str]:
        low, high = AS_HU
        return [
            f"p and q are the {self.low:g}th and {self.high:g}th percentile of all pixels of all slices of the scan; "
            f"take {low} + {high - low} * (value - p) / max(q - p, 1), rounded, for HU.",
            *super().in_words(),
        ]
