"""The mask of a scan: any number of slices in little memory."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np


class Planes(Sequence[np.ndarray]):
    """Slices (rows, columns) that are not arrays yet: `planes[rank]` makes one."""

    @abstractmethod
    def plane(self, rank: int) -> np.ndarray:
        """Slice `rank`, from 0 to below their number."""

    @overload
    def __getitem__(self, rank: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, rank: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, rank: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        ranks = range(len(self))[rank]  # raises IndexError
        return self.plane(ranks) if isinstance(ranks, int) else [self.plane(k) for k in ranks]


class PackedMask(Planes):
    """A mask of any number of slices at a bit a pixel: `mask[rank]` is bool (rows, columns)."""

    def __init__(self, planes: Iterable[np.ndarray] = ()):
        self._bits: list[np.ndarray] = []
        self.plane_shape = (0, 0)
        for plane in planes:
            self.append(plane)

    def append(self, plane: np.ndarray) -> None:
        """Add a slice of bool (rows, columns)."""
        self.plane_shape = plane.shape
        self._bits.append(np.packbits(plane))

    def __len__(self) -> int:
        return len(self._bits)

    def plane(self, rank: int) -> np.ndarray:
        rows, columns = self.plane_shape
        return np.unpackbits(self._bits[rank], count=rows * columns).reshape(rows, columns).view(bool)

    def pixels(self) -> np.ndarray:
        """How many pixels of each slice are liver, int64 (slices,)."""
        return np.array([int(np.bitwise_count(bits).sum()) for bits in self._bits])
