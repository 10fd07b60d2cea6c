"""A mask as NIfTI, whose affine puts it where the scan is."""

from pathlib import Path

import numpy as np

from chaos_seg.data.scans import Scan


def write_nifti(mask: np.ndarray, scan: Scan, path: Path) -> None:
    """`mask` (slices, rows, columns) as uint8 NIfTI (columns, rows, slices) in `path`, .nii.gz.

    NIfTI has one step between slices. Where the scan's are uneven, each place of a regular grid takes the slice that is
    nearest, if one is within half a step, and is empty otherwise.
    """
    import nibabel as nib

    first, last = scan.origin_mm[0], scan.origin_mm[-1]
    if scan.shape[0] == 1:
        normal = np.cross(scan.column_mm, scan.row_mm)
        step, places = normal / np.linalg.norm(normal), np.zeros(1, int)
    else:
        along = (last - first) / np.linalg.norm(last - first)
        distance = (scan.origin_mm - first) @ along
        size = float(np.median(np.abs(np.diff(distance))))
        count = round(float(np.abs(distance).max()) / size) + 1
        step = (last - first) / (count - 1) if count > 1 else along
        grid = np.arange(count) * np.linalg.norm(step)
        gaps = np.abs(grid[:, None] - distance[None, :])
        places = np.where(gaps.min(axis=1) <= size / 2 + 1e-6, gaps.argmin(axis=1), -1)
    affine = np.eye(4)
    affine[:3] = np.stack([scan.column_mm, scan.row_mm, step, first], axis=1)
    affine[:2] *= -1  # LPS to RAS
    regular = np.where((places >= 0)[:, None, None], mask[places], False)
    image = nib.Nifti1Image(np.ascontiguousarray(regular.transpose(2, 1, 0)).astype(np.uint8), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"liver, chaos_seg; not a medical device"
    nib.save(image, path)
