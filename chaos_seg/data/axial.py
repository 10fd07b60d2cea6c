"""A scan turned as the network was trained, and its mask turned back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

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

    def turned_deg(self, scan: Scan) -> float:
        """How far the slices' rows and columns are from the body's own axes, the greater of both angles."""
        along = (abs(d[a]) / np.linalg.norm(d) for d, a in zip(self._steps(scan)[1:], (1, 0), strict=True))
        return float(np.degrees(np.arccos(np.clip(min(along), 0, 1))))

    def _steps(self, scan: Scan) -> list[np.ndarray]:
        """In mm, to the next axial slice, row and column of a scan."""
        several = scan.slices > 1
        step = (scan.origin_mm[-1] - scan.origin_mm[0]) / (scan.slices - 1) if several else scan.normal * scan.step_mm
        return [(step, scan.row_mm, scan.column_mm)[axis] for axis in self.axes]

    @property
    def streams(self) -> bool:
        """Whether the scan's slices are axial, so that they can be read one by one."""
        return self.axes[0] == 0

    def scan(self, scan: Scan) -> Scan:
        """The scan in axial slices as the network wants them, without masks; one that doesn't stream is read whole."""
        z, y, x = self.axes
        between, down, right = self._steps(scan)
        if self.streams:
            read, origin_mm = (lambda rank: self._plane(scan.hu(rank))), scan.origin_mm
        else:
            volume = np.stack([scan.hu(rank) for rank in range(scan.slices)]).transpose(self.axes)
            read = np.flip(volume, self._flipped).__getitem__
            origin_mm = scan.origin_mm[0] + np.outer(np.arange(scan.shape[z]), between)
        last_row, last_column = (scan.shape[y] - 1) * down, (scan.shape[x] - 1) * right
        return replace(
            scan,
            shape=(scan.shape[z], scan.shape[y], scan.shape[x]),
            origin_mm=origin_mm + last_row * self.flips[1] + last_column * self.flips[2],
            row_mm=down * (-1) ** self.flips[1],
            column_mm=right * (-1) ** self.flips[2],
            read=read,
            read_mask=None,
        )

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)

    def _plane(self, plane: np.ndarray) -> np.ndarray:
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
    axial = Axial.of(scan)
    turned = axial.scan(scan)
    order = range(turned.slices)
    if turned.slices > 1 and turned.origin_mm[-1, 2] > turned.origin_mm[0, 2]:
        order = order[::-1]

    def from_the_head(read: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
        return lambda rank: np.ascontiguousarray(read(order[rank]))

    masks = None if scan.read_mask is None else from_the_head(axial.scan(replace(scan, read=scan.read_mask)).read)
    return replace(turned, origin_mm=turned.origin_mm[order], read=from_the_head(turned.read), read_mask=masks)
