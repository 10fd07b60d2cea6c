from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError
from chaos_seg.inference.formats.nifti import nifti, nifti_refusal, write_nifti

nib = pytest.importorskip("nibabel")
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def opened(folder: Path) -> Scan:
    (found,) = find_scans(folder).scans
    return found.open()


def test_voxels_lie_where_the_slices_do(write_series: Callable[..., list[Path]], tmp_path: Path) -> None:
    write_series(tmp_path / "in", np.zeros((3, 4, 5), int), np.array([7.0, -4, 12]), STEPS)
    mask = np.zeros((3, 4, 5), bool)
    mask[2, 1, 3] = True  # 6 mm below the first slice, a row back, three columns to the left
    write_nifti(mask, opened(tmp_path / "in"), tmp_path / "liver.nii.gz")
    image = nib.load(tmp_path / "liver.nii.gz")
    (index,) = np.argwhere(np.asarray(image.dataobj))
    x, y, z = nib.affines.apply_affine(image.affine, index)
    assert (-x, -y, z) == pytest.approx((7 + 3 * 0.6, -4 + 0.8, 12 - 6))
    assert image.get_data_dtype() == np.uint8 and image.header["sform_code"] == 1


def test_a_scan_of_uneven_steps_is_refused(write_series: Callable[..., list[Path]], tmp_path: Path) -> None:
    def place(rank: int) -> list[float]:
        return [0, 0, -(rank**2) * 1.7]

    write_series(tmp_path / "in", np.zeros((5, 4, 5), int), np.zeros(3), STEPS, ImagePositionPatient=place)
    scan = opened(tmp_path / "in")
    assert str(nifti_refusal(scan)).startswith("NIfTI has one step between slices, straight across them, and here ")
    with pytest.raises(UserError, match="one step between slices"):
        nifti(scan)
