"""A liver drawn by hand, and its alarms."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from chaos_seg.inference.alarms import SliceAlarm, alarms
from chaos_seg.inference.confidence import Confidence

SPACING_MM = (6.0, 2.5, 2.5)
SIZE, SLICES, MIDDLE = 96, 30, 15
ROWS, COLUMNS = np.indices((SIZE, SIZE))


def ball(row: float, column: float, radius: float) -> np.ndarray:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 < radius**2


def blunt_liver() -> np.ndarray:
    """1.3 l over slices 5 to 24, blunter than a sphere as livers are; areas are those of true sections."""
    z = (np.arange(SLICES) - 14.5) / 10.5
    radii = 22 * np.sqrt(np.clip(1 - z**4, 0, None))
    return np.stack([ball(48, 40, radius) for radius in radii])


Scan = tuple[np.ndarray, Callable[[int], np.ndarray]]


def looked_at(hu: Callable[[int], np.ndarray], spacing_mm: tuple[float, ...], millilitres: float) -> Any:
    """Stands for a scan."""
    z_mm = np.arange(SLICES) * spacing_mm[0]
    return SimpleNamespace(hu=hu, spacing_mm=spacing_mm, z_mm=z_mm, volume_ml=lambda pixels: millilitres, modality="CT")


def sure(mask: Any) -> Confidence:
    """Of a network without any doubt."""
    return Confidence.of([Confidence.row(plane.astype(np.float32), plane) for plane in mask])


def slice_alarms(
    mask: np.ndarray,
    hu: Callable[[int], np.ndarray],
    spacing_mm: tuple[float, ...],
    confidence: Confidence | None = None,
) -> list[SliceAlarm]:
    return alarms(mask, looked_at(hu, spacing_mm, 1500), confidence or sure(mask)).slices


def scan_alarms(mask: np.ndarray, hu: Callable[[int], np.ndarray], spacing_mm: tuple[float, ...]) -> list[str]:
    millilitres = float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000)
    return alarms(mask, looked_at(hu, spacing_mm, millilitres), sure(mask)).findings


def first(mask: np.ndarray, hu: Callable[[int], np.ndarray]) -> tuple[int, str, float]:
    """Rank and costliest reason of the first alarm, and how far its score is ahead of the second."""
    alarms = slice_alarms(mask, hu, SPACING_MM)
    return alarms[0].rank, alarms[0].reasons[0], alarms[0].score - alarms[1].score
