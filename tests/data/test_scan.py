"""Where the slices of a scan lie: its grid, and the volume of a mask."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans

Write = Callable[..., list[Path]]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def opened(place: Path) -> Scan:
    (scan,) = find_scans(place).scans
    return scan.open()


def volume(slices: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (slices, 6, 5))


@pytest.mark.parametrize(("gap", "has_a_grid"), [(1, True), (50, True), (51, False)])
def test_a_grid_has_no_end_of_empty_places(write_series: Write, tmp_path: Path, gap: int, has_a_grid: bool) -> None:
    places = np.cumsum([0, 1, 1, gap, 1, 1])
    tags = {"ImagePositionPatient": lambda rank: [0, 0, -3.0 * places[rank]]}
    write_series(tmp_path, volume(6), np.zeros(3), STEPS, **tags)
    grid = opened(tmp_path).grid()
    assert (grid is not None) == has_a_grid
    if grid is not None:
        assert grid[0] == pytest.approx(3) and grid[1].tolist() == (places[-1] - places).tolist()


@pytest.mark.parametrize(("wide", "has_a_grid"), [((20, 40), True), ((20, 21), False), ((10, 20, 30, 40), False)])
def test_missing_slices_are_few_and_apart(
    write_series: Write, tmp_path: Path, wide: tuple[int, ...], has_a_grid: bool
) -> None:
    """Gaps side by side are another step, which would leave stripes in a NIfTI."""
    steps = np.ones(59)
    steps[list(wide)] = 2
    places = np.concatenate([[0], np.cumsum(steps)])
    tags = {"ImagePositionPatient": lambda rank: [0, 0, -3.0 * places[rank]]}
    write_series(tmp_path, volume(60), np.zeros(3), STEPS, **tags)
    assert (opened(tmp_path).grid() is not None) == has_a_grid


def test_slices_at_varying_steps_reach_half_way_to_their_neighbours(write_series: Write, tmp_path: Path) -> None:
    z = np.cumsum([0, 5, 5, 1.25, 1.25, 1.25])
    tags = {"ImagePositionPatient": lambda rank: [0, 0, -z[rank]]}
    write_series(tmp_path, volume(6), np.zeros(3), STEPS, **tags)
    pixels, thickness = np.array([9, 1, 50, 2, 0, 7]), np.array([3.125, 5, 3.125, 1.25, 1.25, 1.25])
    scan = opened(tmp_path)
    assert scan.volume_ml(pixels) == pytest.approx((pixels * thickness).sum() * 0.8 * 0.6 / 1000)
