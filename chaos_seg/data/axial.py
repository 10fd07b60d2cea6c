"""A scan turned as the network was trained, and its mask turned back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from chaos_seg.data.scan import Scan


@dataclass(frozen=True)
class Axial:
    """A scan seen as the network was trained: slices along the body, rows to the back, columns to the left."""

    axes: tuple[int, int, int]  # the scan's axis that is the slices', the rows' and the columns'
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, scan: Scan) -> "Axial":
        """From the scan's directions; an oblique scan takes the nearest axes."""
        step = scan.origin_mm[-1] - scan.origin_mm[0] if scan.shape[0] > 1 else np.cross(scan.column_mm, scan.row_mm)
        directions = np.stack([d / np.linalg.norm(d) for d in (step, scan.row_mm, scan.column_mm)])  # (axis, xyz)
        axes = [-1, -1, -1]  # of z, y, x
        left = {0, 1, 2}
        for _ in range(3):  # the clearest first, each axis once
            axis, along = max(
                ((a, b) for a in left for b in range(3) if axes[2 - b] < 0), key=lambda p: abs(directions[p])
            )
            axes[2 - along] = axis
            left.remove(axis)
        z, y, x = axes
        return cls((z, y, x), (False, bool(directions[y, 1] < 0), bool(directions[x, 0] < 0)))

    @property
    def streams(self) -> bool:
        """Whether the scan's slices are axial, so that they can be read one by one."""
        return self.axes[0] == 0

    def slices(self, scan: Scan) -> Iterator[np.ndarray]:
        """HU of each axial slice, as the network wants it."""
        if self.streams:
            yield from (self.plane(scan.hu(rank)) for rank in range(scan.shape[0]))
        else:
            yield from np.flip(
                np.stack([scan.hu(rank) for rank in range(scan.shape[0])]).transpose(self.axes), self._flipped
            )

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)

    def plane(self, plane: np.ndarray) -> np.ndarray:
        """A slice of the scan as the network wants it, where it streams."""
        turned = plane.T if self.axes[1] == 2 else plane
        return np.ascontiguousarray(np.flip(turned, tuple(axis - 1 for axis in self._flipped)))

    def plane_back(self, plane: np.ndarray) -> np.ndarray:
        """An axial slice in the scan's own axes again, where it streams."""
        turned = np.flip(plane, tuple(axis - 1 for axis in self._flipped))
        return turned.T if self.axes[1] == 2 else turned

    def back(self, mask: np.ndarray) -> np.ndarray:
        """A volume of axial slices in the scan's own axes again."""
        return np.flip(mask, self._flipped).transpose(np.argsort(self.axes))


def upright(scan: Scan) -> Scan:
    """An evenly spaced scan in the axes of CHAOS, with its masks: axial slices from the head down, rows to the back,
    columns to the left. One whose own slices are not axial is read into memory as a whole.
    """
    axial, n = Axial.of(scan), scan.shape[0]
    across = (scan.origin_mm[-1] - scan.origin_mm[0]) / (n - 1) if n > 1 else scan.normal * scan.thickness_mm
    order = list(axial.axes)
    steps, sizes = np.stack([across, scan.row_mm, scan.column_mm])[order], np.array(scan.shape)[order]
    flips = np.array([steps[0, 2] > 0, *axial.flips[1:]])
    origin = scan.origin_mm[0] + ((sizes - 1) * flips) @ steps
    steps[flips] *= -1
    slices = int(sizes[0])

    def turned(read: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
        own = replace(scan, read=read)
        volume = cache(lambda: [np.ascontiguousarray(plane) for plane in axial.slices(own)])

        def plane(rank: int) -> np.ndarray:
            rank = slices - 1 - rank if flips[0] else rank
            return axial.plane(read(rank)) if axial.streams else volume()[rank]

        return plane

    return replace(
        scan,
        shape=(slices, int(sizes[1]), int(sizes[2])),
        origin_mm=origin + np.arange(slices)[:, None] * steps[0],
        row_mm=steps[1],
        column_mm=steps[2],
        read=turned(scan.read),
        read_mask=None if scan.read_mask is None else turned(scan.read_mask),
        thickness_mm=float(np.linalg.norm(steps[0])),
    )
