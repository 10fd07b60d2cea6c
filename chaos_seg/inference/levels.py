"""The probabilities of one scan, kept on disk until they are written."""

from pathlib import Path

import numpy as np

from chaos_seg.inference.formats import Levels
from chaos_seg.inference.mask import Planes


class KeptLevels(Planes):
    """Probabilities as whole numbers in a file of their own: `kept[rank]` is uint16 (rows, columns)."""

    def __init__(self, path: Path, levels: Levels):
        self.levels, self.path, self._shape, self._count = levels, path, (0, 0), 0
        path.write_bytes(b"")

    def append(self, probability: np.ndarray) -> None:
        """Add a slice, float (rows, columns)."""
        plane = np.rint(probability * np.float32(self.levels.highest)).astype("<u2")
        self._shape, self._count = plane.shape, self._count + 1
        with self.path.open("ab") as file:
            file.write(plane.tobytes())

    def replace(self, volume: np.ndarray) -> None:
        """Take other slices, uint16 (slices, rows, columns)."""
        self._count, self._shape = len(volume), volume.shape[1:]
        self.path.write_bytes(volume.tobytes())

    def __len__(self) -> int:
        return self._count

    def plane(self, rank: int) -> np.ndarray:
        pixels = self._shape[0] * self._shape[1]
        return np.fromfile(self.path, "<u2", pixels, offset=2 * pixels * rank).reshape(self._shape)
