"""A scan as everyone takes it, whatever it came from: its slices in HU, one by one, and where they lie."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GRID_MM = 0.1  # slices that lie further off the places of a regular grid are on none
MISSING, MAX_GAP = 0.05, 50  # gaps a slice that a grid may have, and steps of one
TILT_MM = 0.1  # from the straight line of a tilted gantry
UNEVEN = 0.02  # of the step between slices: more is a gap to warn of


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume of CT, or MR, whose slices are read one by one; millimetres in DICOM patient coordinates (LPS).

    `origin_mm` (slices, 3) is the centre of each slice's first pixel; `row_mm` and `column_mm` (3,) are the steps to
    the next row and to the next column. A scan that is trained on or scored has masks too, and then `name` is its
    patient's.
    """

    name: str
    files: tuple[Path, ...]  # the DICOM slices in their order, or one NIfTI
    shape: tuple[int, int, int]  # slices, rows, columns
    origin_mm: np.ndarray
    row_mm: np.ndarray
    column_mm: np.ndarray
    read: Callable[[int], np.ndarray]
    warnings: tuple[str, ...] = ()
    synthetic: bool = False  # SyntheticData (0008,001C)
    thickness_mm: float = 1.0  # of a single slice, which has no distance to another
    instances: tuple[str, ...] = ()  # of DICOM slices: their SOPInstanceUIDs, which may be empty or repeat
    nifti_header: Any = None  # of a NIfTI: its masks are placed by the same header
    read_mask: Callable[[int], np.ndarray] | None = None
    liver_pixels: tuple[int, ...] | None = None  # of each slice's mask; None without masks
    content: str = ""  # a hash of all slices and masks, where it is known
    modality: str = "CT"  # or MR, whose slices are grey values without a unit where "HU" stands

    @property
    def is_dicom(self) -> bool:
        return self.nifti_header is None

    @property
    def slices(self) -> int:
        return self.shape[0]

    def hu(self, rank: int) -> np.ndarray:
        """Slice `rank` as int16 HU (rows, columns)."""
        return self.read(rank)

    def mask(self, rank: int) -> np.ndarray:
        """The true mask of slice `rank`, uint8 {0, 1} (rows, columns), of a scan that has one."""
        assert self.read_mask is not None
        return self.read_mask(rank)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slices: the direction of a row x that of a column, (3,)."""
        normal = np.cross(self.column_mm, self.row_mm)
        return normal / np.linalg.norm(normal)

    @property
    def z_mm(self) -> np.ndarray:
        """Position of each slice along the normal of the slices, float64 (slices,)."""
        return self.origin_mm @ self.normal

    @property
    def step_mm(self) -> float:
        """The usual distance between slices; the thickness of a single one."""
        return float(np.median(np.diff(np.sort(self.z_mm)))) if self.shape[0] > 1 else self.thickness_mm

    @property
    def in_order(self) -> bool:
        """Whether the slices follow one another along the body."""
        steps = np.diff(self.z_mm)
        return bool((steps > 0).all() or (steps < 0).all())

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows and columns."""
        return self.step_mm, float(np.linalg.norm(self.row_mm)), float(np.linalg.norm(self.column_mm))

    @property
    def mean_spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows and columns; slices from the first to the last, as in the official evaluation. Of one
        slice 0.
        """
        z_mm = self.z_mm
        step = abs(float(z_mm[-1] - z_mm[0])) / (len(z_mm) - 1) if len(z_mm) > 1 else 0.0
        return step, *self.spacing_mm[1:]

    def volume_ml(self, liver_pixels: np.ndarray) -> float:
        """Volume of a mask with so many pixels in each slice (slices,).

        Slices of a regular grid are a step thick, and where slices are missing nothing counts, as in a NIfTI; others
        reach half-way to their neighbours.
        """
        area = np.linalg.norm(np.cross(self.column_mm, self.row_mm))
        if (grid := self.grid()) is not None:
            return float(liver_pixels.sum() * grid[0] * area / 1000)
        order = np.argsort(self.z_mm)
        steps = np.diff(self.z_mm[order])
        ends = np.full(1, self.step_mm)
        thickness = (np.concatenate([ends, steps]) + np.concatenate([steps, ends])) / 2
        return float((liver_pixels[order] * thickness).sum() * area / 1000)

    def grid(self) -> tuple[float, np.ndarray] | None:
        """The regular grid along the normal on which all slices lie within GRID_MM: its step and each slice's place,
        int64 (slices,), counted from the lowest. Places may be free, where slices are missing. None where there is
        none: the gantry is tilted, slices move to the side, or steps vary.
        """
        if self.shape[0] == 1:
            return self.step_mm, np.zeros(1, np.int64)
        z = np.sort(self.z_mm)
        steps = np.diff(z)
        like = steps[np.abs(steps - np.median(steps)) <= 0.2 * np.median(steps)]
        usual = float((like if len(like) else steps).mean())
        for places in (np.arange(len(z)), np.rint((z - z[0]) / usual).astype(np.int64)):
            step = float((z[-1] - z[0]) / max(int(places[-1]), 1))
            wide = np.diff(places) > 1
            # Here and there slices are missing; gaps side by side are another step.
            missing = wide.sum() <= max(1, MISSING * len(z)) and not (wide[1:] & wide[:-1]).any()
            missing = missing and np.diff(places).max() <= MAX_GAP
            if np.abs(z - z[0] - step * places).max() <= GRID_MM and np.diff(places).min() > 0 and missing:
                straight = np.abs(self._sideways()).max() <= GRID_MM
                return (step, places[np.argsort(np.argsort(self.z_mm))]) if straight else None
        return None

    def irregularities(self) -> list[str]:
        """Where slices do not follow one another straight and at one distance, a sentence each."""
        if self.shape[0] == 1:
            return []
        return [*self._tilt(), *self._uneven()]

    def _sideways(self) -> np.ndarray:
        """How far each slice lies beside the straight line across the lowest one, mm (slices, 3)."""
        away = self.origin_mm - self.origin_mm[np.argmin(self.z_mm)]
        return away - np.outer(away @ self.normal, self.normal)

    def _tilt(self) -> list[str]:
        sideways, order = self._sideways(), np.argsort(self.z_mm)
        off = np.linalg.norm(sideways, axis=1)
        if off.max() <= GRID_MM:
            return []
        height = self.z_mm - self.z_mm.min()
        slope = height @ sideways / (height @ height)  # (3,), mm to the side a mm along the normal
        if np.linalg.norm(sideways - np.outer(height, slope), axis=1).max() <= TILT_MM:
            return [f"gantry tilt: slices move sideways along z by {np.degrees(np.arctan(np.linalg.norm(slope))):.1f}°"]
        jumps = np.linalg.norm(np.diff(sideways[order], axis=0), axis=1)
        low, high = self.origin_mm[order][[jumps.argmax(), jumps.argmax() + 1]] @ self.normal
        return [
            f"slices move sideways by up to {off.max():.1f} mm, most between {low:.1f} and {high:.1f} mm; masks are "
            "placed where they are"
        ]

    def _uneven(self) -> list[str]:
        """Where the distance between neighbours is not the usual one."""
        z = np.sort(self.z_mm)
        steps = np.diff(z)
        usual = float(np.median(steps))
        uneven = np.flatnonzero(np.abs(steps - usual) > UNEVEN * usual)
        if not len(uneven):
            return []
        places = ", ".join(f"{z[k]:.1f} to {z[k + 1]:.1f} mm" for k in uneven[:5])
        more = f" and {len(uneven) - 5} more" if len(uneven) > 5 else ""
        return [
            f"uneven: slices are {usual:.2f} mm apart, but not from {places}{more}; masks are placed where they are"
        ]
