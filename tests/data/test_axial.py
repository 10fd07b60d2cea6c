from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from chaos_seg.data.axial import Axial
from chaos_seg.data.scans import find_scans

Write = Callable[..., list[Path]]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("tilt", [0, 12])
def test_the_network_sees_every_orientation_as_it_was_trained(
    write_series: Write, tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...], tilt: int
) -> None:
    """HU rise with the patient's left and back; so must they along the columns and rows of what the network gets."""
    size = np.array([2.0, 0.8, 0.6])
    axes = np.eye(3)[list(order)] * np.array(signs)[:, None]  # directions of slices, rows, columns
    if np.linalg.det(axes) > 0:  # any DICOM slice order can be written, the order of files decides
        axes[0] = -axes[0]
    steps = axes @ Rotation.from_euler("xyz", [tilt, tilt, tilt], degrees=True).as_matrix() * size[:, None]
    shape = (4, 6, 5)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    x, y, _ = np.moveaxis(index @ steps, -1, 0)
    write_series(tmp_path, np.rint(10 * x + 20 * y), np.zeros(3), steps)
    scan = find_scans(tmp_path).scans[0].open()
    axial = Axial.of(scan)
    turned = axial.scan(scan)
    seen = np.stack([turned.hu(rank) for rank in range(turned.slices)]).astype(float)
    assert (np.diff(seen, axis=1) > 0).all() or tilt  # to the back
    assert np.diff(seen, axis=1).mean() > 0 and np.diff(seen, axis=2).mean() > 0
    if not tilt:
        assert (np.diff(seen, axis=2) > 0).all() and np.diff(seen, axis=0).max() == 0
    assert (axial.back(seen) == np.stack([scan.hu(rank) for rank in range(scan.shape[0])])).all()
    across, down = turned.column_mm, turned.row_mm
    away = [np.degrees(np.arccos(step[axis] / np.linalg.norm(step))) for step, axis in ((down, 1), (across, 0))]
    assert axial.turned_deg(scan) == pytest.approx(max(away)) and (axial.turned_deg(scan) > 10) == bool(tilt)
    assert across[0] > 0 < down[1] and turned.normal[2] > 0.9
    corner = turned.origin_mm[0]  # HU are 10 x + 20 y of a pixel's place
    assert seen[0, 2, 3] == pytest.approx((corner + 3 * across + 2 * down) @ (10, 20, 0), abs=1)
    assert axial.streams == (order[0] == 2)
